"""Networks as recipes build them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from chainkit.capabilities import RealStates
from chainkit.component import Context
from chainkit.data import Summary
from chainkit.network import Network
from chainkit_networks import hooks
from chainkit_networks.configs import MLPConfig


def context(shape=(1, 8, 8), classes=None, **more) -> Context:
    mean = torch.full(shape, 0.5)
    return Context(data=Summary(shape=shape, states=RealStates, mean=mean, variance=mean / 4, classes=classes), steps=3, heads=2, **more)


@pytest.mark.parametrize("component", hooks.chainkit_networks(), ids=lambda component: component.name)
@pytest.mark.parametrize("classes", [None, 4])
def test_a_component_builds_a_network_for_its_context(component, classes):
    network = component.make(component.config(**component.example), context(classes=classes))
    assert isinstance(network, Network)
    heads = network(torch.rand(5, 1, 8, 8), 3, None if classes is None else torch.arange(5) % classes)
    assert [head.shape for head in heads] == [(5, 1, 8, 8)] * 2


def test_the_settings_of_a_recipe_reach_the_network():
    config = MLPConfig(hidden=[4, 6], norm="per-step", readout="per-step", step="scalar", activation="tanh")
    network = hooks.chainkit_networks()[0].make(config, context((2,)))
    assert [tuple(layer.affine.weight.shape) for layer in (network.first, *network.rest)] == [(4, 2), (6, 4)]
    assert network.first.norm.weight.shape == (3, 4)
    assert network.readout.linear.weight.shape == (3, 4, 6)
    assert network.conditioning.step is not None


def test_knots_of_a_recipe_reach_the_network_and_need_a_readout_per_step():
    network = hooks.chainkit_networks()[0].make(MLPConfig(hidden=[4], readout="per-step", knots=2), context((2,)))
    assert network.readout.linear.weight.shape == (2, 4, 4)
    with pytest.raises(ValueError, match="per-step"):
        MLPConfig(knots=2)


@pytest.mark.parametrize("hidden", [[], [0], [16, -1]])
def test_impossible_widths_are_refused(hidden):
    with pytest.raises(ValueError, match="must"):
        MLPConfig(hidden=hidden)


def test_listing_the_components_does_not_import_torch():
    code = "import sys, chainkit_networks.hooks, chainkit_optim.hooks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
