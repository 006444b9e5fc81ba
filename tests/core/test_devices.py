"""The same code on every device: training, resuming, sampling and log w, here on the CPU and wherever there is CUDA."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from chainkit.bundle import read_bundle, write_bundle
from chainkit.distributions import Bernoulli, Gaussian, Infused, Wrapped
from chainkit.log_weight import log_weights
from chainkit.random import Rows, integers, seeded
from chainkit.statistics import recompute_statistics

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))
devices = pytest.mark.parametrize("device", ["cpu", CUDA])


@devices
@pytest.mark.parametrize("settings", [{}, {"update": "step", "precision": "bfloat16", "ema": 0.9, "clip_norm": 1.0}], ids=["plain", "all"])
def test_training_resumes_bitwise(affine_model, make_trainer, points, tmp_path, device, settings):
    def fresh(seed: int):
        data = points(64)
        data.to(device)
        model = affine_model(batch_norm=True, seed=seed).to(device)
        return make_trainer(model, data, epochs=1, batch_size=8, device=device, **settings)

    first, second = fresh(0), fresh(1)
    list(islice(first.epoch_updates(), 3))
    write_bundle(tmp_path / "state", *first.state())
    second.restore(*read_bundle(tmp_path / "state"))
    assert list(first.epoch_updates()) == list(second.epoch_updates())
    expected, found = first.state()[0], second.state()[0]
    assert all(torch.equal(value, found[group][name]) for group, tensors in expected.items() for name, value in tensors.items())
    assert all(parameter.device.type == device for parameter in second.model.parameters())


@devices
def test_figures_do_not_depend_on_batch_mates(affine_model, points, device):
    model, data = affine_model(batch_norm=True, dtype=torch.float64).to(device), points(30, dtype=torch.float64)
    every = data.examples("train", device=device)
    few = data.examples("train", 3, device=device)
    batch = data.batch("train", every.index, seeded(device, 0), device)
    recompute_statistics(model.chain, model.process, batch, source=seeded(device, 1))
    reference = log_weights(model.chain, model.process, every, 10)
    assert reference.device.type == "cpu"
    torch.testing.assert_close(log_weights(model.chain, model.process, few, 10), reference[few.index], atol=1e-9, rtol=0)
    torch.testing.assert_close(log_weights(model.chain, model.process, every, 10, max_rows=20), reference, atol=1e-9, rtol=0)


@devices
def test_draws_are_made_where_the_parameters_are(device):
    mean = torch.zeros(4, 3, device=device)
    rows = [seeded(device, name) for name in range(4)]
    for distribution in (
        Gaussian(mean, torch.ones_like(mean)),
        Bernoulli(mean),
        Infused(Gaussian(mean, torch.ones_like(mean)), Gaussian(mean, torch.ones_like(mean)), 0.5),
    ):
        assert distribution.sample(Rows(rows)).device.type == device
        assert torch.equal(distribution.sample(seeded(device, 0)), distribution.sample(seeded(device, 0)))
    wrapped = Wrapped(torch.distributions.Laplace(mean, 1.0))
    assert torch.equal(wrapped.sample(seeded(device, 0)), wrapped.sample(seeded(device, 0)))
    assert integers(0, 5, 7, device, seeded(device, 0)).device.type == device


@devices
def test_samples_are_repeatable(affine_model, device):
    chain = affine_model().to(device).chain
    first, second = (chain.sample(5, source=seeded(device, 0), keep_path=True) for _ in range(2))
    assert torch.equal(first.state, second.state)
    assert all(state.device.type == device for state in first.path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_peak_memory_is_flat_in_the_chain_length(affine_model, make_trainer, points, precision):
    def peak(steps: int) -> int:
        data, model = points(4096, dim=64), affine_model(dim=64, steps=steps).cuda()
        data.to("cuda")
        trainer = make_trainer(model, data, epochs=1, batch_size=4096, device="cuda", precision=precision)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        next(trainer.epoch_updates())
        parameters = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        return torch.cuda.max_memory_allocated() - before - 6 * parameters

    peak(2)
    assert peak(40) < 1.5 * peak(4)
