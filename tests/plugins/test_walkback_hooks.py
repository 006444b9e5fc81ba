"""What the plugin registers, and that listing it does not import torch."""

import subprocess
import sys

from chainkit import ForwardProcess, Objective, Schedule, TransitionOperator
from chainkit.component import Context
from chainkit_walkback import hooks

BASES = {"operators": TransitionOperator, "processes": ForwardProcess, "objectives": Objective, "schedules": Schedule}


def registered():
    return {kind: getattr(hooks, f"chainkit_{kind}")() for kind in BASES}


def test_every_component_is_there():
    assert {kind: [component.name for component in components] for kind, components in registered().items()} == {
        "operators": ["walkback-bernoulli", "walkback-gaussian", "walkback-gaussian-printed"],
        "processes": ["heated"],
        "objectives": ["walkback", "walkback-bound"],
        "schedules": ["geometric", "constant"],
    }


def test_what_needs_no_network_is_built_from_its_example():
    for kind in ("processes", "objectives", "schedules"):
        for component in registered()[kind]:
            assert isinstance(component.make(component.config(**component.example), Context()), BASES[kind])


def test_what_a_component_provides_is_true_of_what_it_builds():
    (heated,) = registered()["processes"]
    assert isinstance(heated.make(heated.config(), Context()), heated.provided(None))


def test_listing_components_does_not_import_torch():
    program = "import chainkit_walkback.hooks as h, sys; h.chainkit_operators(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
