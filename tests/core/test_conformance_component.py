"""What the check of a registered component asks of it beyond the check of its kind: labels, and no needs that are not stated."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch

from chainkit.batch import Batch
from chainkit.capabilities import Density, Reparametrised
from chainkit.component import HOOKS, Component
from chainkit.errors import DataError
from chainkit.estimator import Estimate, Estimator
from chainkit.host import Host
from chainkit.testing import check_component
from chainkit.testing.parts import Plain, TinyEstimator, TinyObjective


def check(kind: str, build: Any, **more: Any) -> None:
    check_component(kind, Component(name="mine", config=Plain, build=lambda config, context: build(), **more), Host().registry)


@pytest.mark.parametrize("kind", HOOKS)
def test_a_component_that_builds_nothing(kind):
    with pytest.raises(AssertionError, match=rf"^{kind}( mine|.*hook)"):
        check(kind, lambda: None)


class Straying(TinyObjective):
    """Asks for draws with a gradient."""

    def loss(self, transition):
        transition.reverse.rsample(torch.Generator().manual_seed(0))
        return super().loss(transition)


def test_an_objective_states_that_it_needs_draws_with_a_gradient():
    with pytest.raises(AssertionError, match=r"expected no other needs of the operator than it states, seen AttributeError: .*rsample"):
        check("objective", Straying, needs={"operator": (Density,)})
    check("objective", TinyObjective, needs={"operator": (Density, Reparametrised)})
    check("objective", TinyObjective, needs={"operator": (Density,)})


class Unlabelled(TinyObjective):
    """Forgets the labels of a batch."""

    def losses(self, chain, process, batch, *, source=None):
        return super().losses(chain, process, Batch(origin=batch.origin, rows=batch.rows, index=batch.index), source=source)


@attrs.frozen(kw_only=True)
class Sampling(Estimator):
    """The mean of samples.

    Arguments:
        conditioned: Whether they are given labels.
        refusing: Whether labelled data is refused, and where.
    """

    conditioned: bool = False
    refusing: str = ""

    def check(self, chain, examples):
        if self.refusing == "before" and examples.data.classes:
            raise DataError("no labels, please")

    def estimate(self, chain, process, examples) -> Estimate:
        if self.refusing == "late" and examples.data.classes:
            raise DataError("no labels, please")
        condition = examples.data.conditions(12, examples.device) if self.conditioned else None
        state = chain.sample(12, condition=condition, source=torch.Generator().manual_seed(0)).state
        return attrs.evolve(TinyEstimator(walks=1).estimate(chain, process, examples), value=float(state.mean()), likelihood=False)


def test_objectives_and_estimators_hand_labels_on():
    with pytest.raises(AssertionError, match="the tiny operator: expected the labels that condition the chain, seen none"):
        check("objective", Unlabelled)
    with pytest.raises(AssertionError, match="the tiny operator: expected the labels that condition the chain, seen none"):
        check("estimator", Sampling)
    check("estimator", lambda: Sampling(conditioned=True))


@pytest.mark.parametrize("refusing", ["before", "late"])
def test_labels_may_be_refused(refusing):
    check("estimator", lambda: Sampling(refusing=refusing))


def test_labels_may_be_refused_when_the_part_is_built():
    def build(config, context):
        if context.data.classes is not None:
            raise ValueError("no labels, please")
        return Unlabelled()

    check_component("objective", Component(name="mine", config=Plain, build=build), Host().registry)
