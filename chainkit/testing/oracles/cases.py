"""Every registered operator with every registered process that it goes with, as chains that are known exactly.

States are two bits, or one real number, so that all walks can be enumerated. Operators that have a
network get the linear one, and settings that make errors of 1 % show can be given by name; what is
registered later is picked up by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from chainkit.capabilities import BinaryStates, Density, RealStates
from chainkit.chain import Chain
from chainkit.component import Component, Context, Part
from chainkit.data import Data
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.host import Host
from chainkit.objective import Objective
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.random import global_seed
from chainkit.recipe.parts import parts
from chainkit.schedule import Schedule
from chainkit.testing.oracles.enumerated import Enumerated
from chainkit.testing.tiny import tiny_data

Settings = Mapping[str, Mapping[str, Any]]

STEPS: dict[type, int] = {BinaryStates: 3, RealStates: 2}
SHAPE: dict[type, tuple[int, ...]] = {BinaryStates: (2,), RealStates: (1,)}
NETWORK = {"type": "oracle-linear"}


class OraclePrior(Prior):
    """N(0.2, 1.3), or bits with the rates 0.3 and 0.6 in turn: neither standard nor symmetric.

    Arguments:
        states: ``RealStates`` or ``BinaryStates``.
    """

    zero: Tensor

    def __init__(self, states: type) -> None:
        super().__init__()
        self.states = states
        self.register_buffer("zero", torch.zeros(SHAPE[states], dtype=torch.float64))

    def forward(self, rows: int) -> Gaussian | Bernoulli:
        zeros = self.zero.expand(rows, *self.zero.shape)
        if self.states is RealStates:
            return Gaussian(zeros + 0.2, torch.full_like(zeros, 1.3))
        return Bernoulli((zeros + torch.tensor([0.3, 0.6], dtype=zeros.dtype)).logit())


class Rising(Schedule):
    """T_k = 1.25^(k - 1)."""

    def values(self, steps: int) -> Tensor:
        return 1.25 ** torch.arange(steps, dtype=torch.float64)


@attrs.frozen(kw_only=True)
class Case:
    """An operator and a process that go together.

    Arguments:
        states: ``RealStates`` or ``BinaryStates``.
        operator: The operator's component with its settings.
        process: The process's.
        steps: K.
    """

    states: type
    operator: Part
    process: Part
    steps: int

    @property
    def name(self) -> str:
        """The two names, for the id of a test."""
        return f"{self.operator.name}-{self.process.name}-{'bits' if self.states is BinaryStates else 'line'}"

    @property
    def support(self) -> Enumerated:
        """All states, or a line of them, wide and fine enough for kernels of a standard deviation of 0.1 to 2."""
        return Enumerated.bits((2,)) if self.states is BinaryStates else Enumerated.line(-15.0, 15.0, 361)

    def data(self) -> Data:
        """Data of the right kind."""
        return tiny_data(SHAPE[self.states], binary=self.states is BinaryStates)

    def build(self) -> tuple[Chain, ForwardProcess]:
        """The chain and the process, float64, in evaluation mode."""
        prior = OraclePrior(self.states)
        context = Context(data=self.data().summary, steps=self.steps, prior=prior)
        with global_seed(0, "oracles", self.name):
            process = context.build(self.process).double()
            operator = attrs.evolve(context, process=process).build(self.operator)
        chain = Chain(prior, operator, self.steps, temperature=Rising()).double()
        return chain.eval(), process.eval()

    def objective(self, part: Part, chain: Chain, process: ForwardProcess) -> Objective:
        """An objective, built for the chain and the process of this case."""
        context = Context(data=self.data().summary, steps=self.steps, prior=chain.prior, process=process, operator=chain.operator)
        with global_seed(0, "oracles", self.name, part.name):
            built: Objective = context.build(part)
        return built

    def fits(self, part: Part) -> bool:
        """Whether another part, an objective for instance, gets from this case what it needs."""
        return _fits(part, self._given())

    def _given(self) -> dict[str, tuple[type, ...]]:
        given = {
            kind: part.component.provided(part.config) or () for kind, part in (("operator", self.operator), ("process", self.process))
        }
        return {**given, "dataset": (self.states,)}


def cases(host: Host, settings: Settings) -> Iterator[Case]:
    """All cases: operators whose kernels have a density, with processes that both sides' needs allow.

    Arguments:
        host: The plugins, :class:`~chainkit.testing.oracles.OracleParts` among them.
        settings: Settings in place of those of a component's example, by ``kind:name``.
    """
    found = {
        kind: [part(host, kind, entry.component, settings) for entry in host.registry.entries(kind)] for kind in ("operator", "process")
    }
    for states in (BinaryStates, RealStates):
        for operator in found["operator"]:
            for process in found["process"]:
                case = Case(states=states, operator=operator, process=process, steps=STEPS[states])
                dense = Density in {kind for given in operator.component.provided(operator.config) or () for kind in given.__mro__}
                if dense and case.fits(operator) and case.fits(process):
                    yield case


def part(host: Host, kind: str, component: Component, settings: Settings) -> Part:
    """A component with its settings, and the linear network if it has one.

    Arguments:
        host: The plugins.
        kind: Kind of the component.
        component: The component.
        settings: See :func:`cases`.
    """
    chosen = {**component.example, **settings.get(f"{kind}:{component.name}", {})}
    if "network" in attrs.fields_dict(component.config):
        chosen["network"] = NETWORK
    return host.part(kind, component.name, **chosen)


def _fits(part: Part, given: Mapping[str, tuple[type, ...]]) -> bool:
    needs = [(kind, want) for inner in parts(part) for kind, wanted in inner.component.needs.items() for want in wanted]
    return all(any(issubclass(have, want) for have in given[kind]) for kind, want in needs if kind in given)
