"""Sampling from a chain: the right kernels, temperatures and states in the right order."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from chainkit import hold
from chainkit.capabilities import Distribution, Respaceable
from chainkit.chain import Chain, Samples
from chainkit.distributions import Gaussian
from chainkit.kernel import BernoulliKernel, GaussianKernel, Kernel, UntemperedKernel
from chainkit.operator import TransitionOperator
from chainkit.prior import Prior
from chainkit.random import Rows, seeded
from chainkit.schedule import Schedule


class Zeros(Prior):
    def __init__(self, dim: int = 2) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, rows: int) -> Gaussian:
        return Gaussian(torch.zeros(rows, self.dim), torch.tensor(1.0))


class Recorder(TransitionOperator):
    """Adds one to the state with little noise, and writes down what it and its kernels are asked."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Dropout()
        self.asked: list[int] = []
        self.heats: list[float] = []
        self.conditions: list[object] = []
        self.modes: list[bool] = []

    def forward(self, state: Tensor, k: int, condition: object = None) -> Kernel:
        self.asked.append(k)
        self.conditions.append(condition)
        self.modes.append(self.layer.training)
        return RecordedKernel(self, state)


class RecordedKernel(Kernel):
    def __init__(self, operator: Recorder, state: Tensor) -> None:
        self.operator, self.state = operator, state

    def at(self, temperature: float | Tensor = 1.0) -> Gaussian:
        self.operator.heats.append(float(temperature))
        return Gaussian(self.state + 1, torch.tensor(1e-6))


class Doubling(Schedule):
    def values(self, steps: int) -> Tensor:
        return 2.0 ** torch.arange(steps, dtype=torch.float64)


class Learned(Schedule):
    def __init__(self) -> None:
        super().__init__()
        self.ratio = nn.Parameter(torch.tensor(3.0))

    def values(self, steps: int) -> Tensor:
        return self.ratio ** torch.arange(steps)


def make(steps: int = 3, **settings) -> Chain:
    return Chain(Zeros(), Recorder(), steps, **settings)


def test_steps_run_from_noise_to_data_each_at_its_temperature():
    chain = make(temperature=Doubling())
    chain.sample(4, source=seeded("cpu", 0))
    assert chain.operator.asked == [3, 2, 1]
    assert chain.operator.heats == [4.0, 2.0, 1.0]


def test_without_a_schedule_the_temperature_is_one():
    chain = make()
    chain.sample(4)
    assert chain.operator.heats == [1.0] * 3
    assert chain.temperatures(5) == [1.0] * 5


def test_learned_temperatures_keep_their_gradient_and_reach_the_kernels():
    chain = make(temperature=Learned())
    temperatures = chain.temperatures()
    assert isinstance(temperatures, Tensor)
    assert temperatures.requires_grad
    chain.sample(1)
    assert chain.operator.heats == [9.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("rule", "steps", "asked", "heats"),
    [
        ("noise-end", 5, [3, 3, 3, 2, 1], [16, 8, 4, 2, 1]),
        ("noise-end", 2, [2, 1], [2, 1]),
        ("data-end", 5, [3, 2, 1, 1, 1], [4, 2, 1, 1, 1]),
        ("data-end", 1, [3], [4]),
    ],
)
def test_other_numbers_of_steps_follow_the_rule(rule, steps, asked, heats):
    chain = make(temperature=Doubling(), extend=rule)
    samples = chain.sample(2, steps=steps, keep_path=True)
    assert (chain.operator.asked, chain.operator.heats) == (asked, heats)
    assert samples.steps == steps
    assert len(samples.path) == steps + 1


def test_a_way_without_numbers_is_the_whole_one():
    assert list(Samples(state=torch.zeros(1), mean=None, path=[torch.zeros(1)] * 4, steps=3).kept) == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("most", "kept"), [(2, [9, 0]), (4, [9, 6, 3, 0]), (5, [9, 7, 5, 2, 0]), (10, list(range(9, -1, -1))), (99, list(range(9, -1, -1)))]
)
def test_so_many_states_of_the_way_are_kept_evenly_with_both_ends(most, kept):
    def draw(keep_path):
        return make(extend="data-end").sample(2, steps=9, source=seeded("cpu", 0), keep_path=keep_path)

    whole, some = draw(True), draw(most)
    assert (list(whole.kept), list(some.kept)) == (list(range(9, -1, -1)), kept)
    assert len(some.path) == len(kept)
    assert all(torch.equal(state, whole.path[9 - k]) for k, state in zip(kept, some.path, strict=True))
    assert (list(draw(False).kept), draw(False).path) == ([], [])


@pytest.mark.parametrize("most", [1, 0, -2])
def test_a_way_without_its_two_ends_is_refused(most):
    with pytest.raises(ValueError, match=f"at least its two ends are kept, not {most} states"):
        make().sample(2, keep_path=most)


class Spaced(Recorder, Respaceable):
    def respaced(self, steps: list[int]) -> Recorder:
        self.spacing = steps
        self.inner = Recorder()
        return self.inner


def test_respacing_asks_the_operator_for_one_of_fewer_steps():
    operator = Spaced()
    chain = Chain(Zeros(), operator, 8, temperature=Doubling(), extend="respace")
    chain.sample(2, steps=2)
    assert operator.spacing == [4, 8]
    assert operator.inner.asked == [2, 1]
    assert operator.inner.heats == [128.0, 8.0]
    assert operator.asked == []


def test_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match="at least one step, not 0"):
        make(0)
    with pytest.raises(ValueError, match=r"extend is one of .*respace.*, not 'stretch'"):
        make(extend="stretch")
    with pytest.raises(ValueError, match="3 trained steps, not 4"):
        make().sample(1, steps=4)
    with pytest.raises(ValueError, match="Recorder cannot be respaced"):
        make(extend="respace").sample(1, steps=2)
    for rule in ("refuse", "data-end", "noise-end", "respace"):
        for steps in (0, -1):
            with pytest.raises(ValueError, match=f"at least one step, not {steps}"):
                make(extend=rule).sample(1, steps=steps)
    with pytest.raises(ValueError, match="at least one state is drawn, not 0"):
        make().sample(0)


class Line(Schedule):
    """T_1 = 1, and as much more with every step; learned where that is asked for."""

    def __init__(self, rise: float, learned: bool = False) -> None:
        super().__init__()
        self.rise = nn.Parameter(torch.tensor(rise, dtype=torch.float64)) if learned else rise

    def values(self, steps: int) -> Tensor:
        return 1 + self.rise * torch.arange(steps, dtype=torch.float64)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize(
    ("rise", "said"),
    [(-0.5, "T_3 = 0 is"), (-1.0, "T_2 = 0 is"), (-0.75, "T_3 = -0.5 is"), (math.nan, "T_1 = nan is"), (1e308, "T_3 = inf is")],
)
def test_what_is_no_temperature_is_refused_where_the_chain_is_made(rise, said, learned):
    with pytest.raises(ValueError, match=said):
        make(temperature=Line(rise, learned))


def test_temperatures_beyond_the_trained_ones_are_looked_at_where_they_are_used():
    chain = make(temperature=Line(-0.25), extend="noise-end")
    assert chain.sample(2, steps=4).steps == 4
    with pytest.raises(ValueError, match="T_5 = 0 is no temperature"):
        chain.sample(2, steps=5)
    assert make(temperature=Line(-0.25), extend="data-end").sample(2, steps=9).steps == 9


def test_no_steps_have_no_temperatures():
    assert make().temperatures(0) == []
    assert make(temperature=Doubling()).temperatures(0) == []


def test_the_path_goes_from_noise_to_the_state_and_every_step_adds_one():
    samples = make().sample(5, source=seeded("cpu", 0), keep_path=True)
    noise = Zeros()(5).sample(seeded("cpu", 0))
    assert torch.equal(samples.path[0], noise)
    assert torch.equal(samples.path[-1], samples.state)
    for k, state in enumerate(samples.path):
        torch.testing.assert_close(state, noise + k, atol=0.02, rtol=0)
    assert make().sample(5).path == []


def test_the_mean_is_that_of_the_last_kernel():
    samples = make().sample(5, source=seeded("cpu", 0), keep_path=True)
    torch.testing.assert_close(samples.mean, samples.path[-2] + 1)


class Nameless(Distribution):
    def __init__(self, state: Tensor) -> None:
        self.state = state

    def sample(self, source=None) -> Tensor:
        return self.state


class Meanless(TransitionOperator):
    def forward(self, state: Tensor, k: int, condition: object = None) -> Kernel:
        return UntemperedKernel(Nameless(state))


def test_kernels_without_a_mean_give_none():
    assert Chain(Zeros(), Meanless(), 2).sample(3).mean is None


def test_the_condition_reaches_every_step():
    chain, condition = make(), torch.arange(4)
    chain.sample(4, condition=condition)
    assert all(given is condition for given in chain.operator.conditions)


def test_sampling_is_in_evaluation_mode_and_restores_every_mode():
    chain = make()
    chain.train()
    chain.operator.eval()
    chain.operator.layer.train()
    chain.sample(2)
    assert chain.operator.modes == [False] * 3
    assert (chain.training, chain.operator.training, chain.operator.layer.training) == (True, False, True)


def test_equal_sources_give_equal_samples_without_the_global_generator():
    chain, before = make(), torch.get_rng_state()
    first, second = (chain.sample(4, source=seeded("cpu", 1)).state for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, chain.sample(4, source=seeded("cpu", 2)).state)
    assert torch.equal(before, torch.get_rng_state())


def test_a_row_is_sampled_the_same_alone_or_with_others():
    def generators(*names: str) -> Rows:
        return Rows([seeded("cpu", name) for name in names])

    together, alone = make().sample(3, source=generators("a", "b", "c")), make().sample(1, source=generators("b"))
    assert torch.equal(together.state[1:2], alone.state)


def test_hold_keeps_known_values_in_every_state_and_in_the_mean():
    mask = torch.tensor([True, False])
    samples = make().sample(6, clamp=hold(mask, torch.tensor([7.0, 0.0])), source=seeded("cpu", 0), keep_path=True)
    for state in (*samples.path, samples.state, samples.mean):
        assert (state[:, 0] == 7).all()
    free = torch.stack([state[:, 1] for state in samples.path])
    torch.testing.assert_close(free.diff(dim=0), torch.ones(3, 6), atol=0.02, rtol=0)


def test_hold_may_differ_from_row_to_row():
    mask = torch.tensor([[True, False], [False, True]])
    samples = make().sample(2, clamp=hold(mask, torch.full((2, 2), 5.0)), keep_path=True)
    assert all((state[mask] == 5).all() for state in samples.path)
    assert (samples.state[~mask] != 5).all()


def test_a_clamp_is_told_which_state_it_holds():
    seen: list[int] = []

    def clamp(state: Tensor, k: int) -> Tensor:
        seen.append(k)
        return state

    make(extend="noise-end").sample(1, steps=5, clamp=clamp)
    assert seen[:6] == [5, 4, 3, 2, 1, 0]
    assert set(seen[6:]) == {0}


def test_sampling_builds_no_graph(affine_model):
    samples = affine_model().chain.sample(3, keep_path=True)
    assert not any(state.requires_grad for state in samples.path)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_one_evaluation_per_step(affine_model, steps):
    chain = affine_model(steps=steps).chain
    chain.sample(3)
    assert chain.operator.evaluations == steps


def test_samples_of_an_affine_chain_have_its_law(affine_model, law_of):
    model, n = affine_model(temperature=Doubling(), dtype=torch.float64), 50_000
    drawn, law = model.chain.sample(n, source=seeded("cpu", 3)).state, law_of(model)
    assert ((drawn.mean(0) - law.mean).abs() < 4 * (law.variance / n).sqrt()).all()
    spread = law.variance.sqrt()
    assert ((drawn.T.cov() - law.covariance_matrix).abs() < 4 * (2 / n) ** 0.5 * spread[:, None] * spread).all()


@pytest.mark.parametrize("temperature", [1.0, 2.0, torch.tensor(3.0), torch.tensor([1.0, 4.0])])
def test_heating_multiplies_the_variance_and_divides_the_logits(temperature):
    mean = torch.zeros(2, 3)
    heat = torch.as_tensor(temperature).reshape(-1, 1).expand(2, 3)
    torch.testing.assert_close(GaussianKernel(mean, torch.full((3,), 0.5)).at(temperature).variance.expand(2, 3), 0.5 * heat)
    torch.testing.assert_close(BernoulliKernel(mean + 2).at(temperature).logits, 2 / heat)


def test_a_kernel_without_temperature_refuses_others_than_one():
    kernel = UntemperedKernel(Gaussian(torch.zeros(1, 1), torch.tensor(1.0)))
    assert kernel.at() is kernel.at(1) is kernel.distribution
    with pytest.raises(ValueError, match="no temperature other than 1"):
        kernel.at(2.0)


@pytest.mark.parametrize(("value", "steps"), [(1, 1), (2, 2), (5, 4), (8, 4), (8.1, 5)])
def test_the_chain_length_that_reaches_a_temperature(value, steps):
    assert Doubling().steps_to_reach(value, limit=100) == steps


def test_a_temperature_out_of_reach_is_an_error():
    with pytest.raises(ValueError, match="Doubling does not reach 100 within 3 steps"):
        Doubling().steps_to_reach(100, limit=3)
