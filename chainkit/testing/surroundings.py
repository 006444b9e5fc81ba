"""A tiny recipe around one component: data, prior, process and operator that it can work with.

Parts are the tiny ones wherever these can do what the component needs; otherwise another registered
component takes the place, built from its own example.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import torch

from chainkit.batch import Batch
from chainkit.capabilities import BinaryStates, Density, Factorial, HasMean, ImageStates, KnownLaw, Labelled, RealStates, Reparametrised
from chainkit.chain import Chain
from chainkit.component import Component, Context, Part
from chainkit.data import Data
from chainkit.operator import TransitionOperator
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.random import seeded
from chainkit.recipe.parts import parts
from chainkit.recipe.problems import problems
from chainkit.recipe.structure import converter
from chainkit.registry import Registry
from chainkit.testing.plain import PlainOperator
from chainkit.testing.tiny import STEPS, TinyBernoulli, TinyChain, TinyGaussian, TinyProcess, tiny_data

VECTOR, IMAGE = (2,), (2, 4, 5)
ROWS = 6
CHOSEN = ("operator", "process", "prior")

_SHARED = (Factorial, Density, HasMean)
_TINY: dict[type, dict[str, tuple[type, ...]]] = {
    RealStates: {"operator": (*_SHARED, Reparametrised), "process": (), "prior": (*_SHARED, Reparametrised)},
    BinaryStates: {"operator": _SHARED, "process": (), "prior": _SHARED},
}


def part_of(kind: str, component: Component, registry: Registry) -> Part:
    """A component with the settings of its example.

    Raises:
        AssertionError: The example is no table of settings that works.
    """
    try:
        config: Any = converter(registry).structure(dict(component.example), component.config)
    except Exception as error:
        raise AssertionError(f"{kind} {component.name}: its example cannot be read: {'; '.join(problems(error, ''))}") from error
    return Part(kind=kind, component=component, config=config, path=component.name)


@attrs.frozen
class Company:
    """Which parts stand around a component; those that are not named are the tiny ones.

    Arguments:
        states: ``RealStates`` or ``BinaryStates``.
        data: All that the dataset must provide.
        parts: Parts that take the place of tiny ones, by kind.
    """

    states: type
    data: frozenset[type]
    parts: dict[str, Part]


def companies(part: Part, registry: Registry) -> Iterator[Company]:
    """The ways to put a part into company that gives it what it needs, for real states and for binary ones.

    Arguments:
        part: The part.
        registry: Where other components are found.
    """
    for states in (RealStates, BinaryStates):
        company = _joined(Company(states, frozenset([states]), {}), part, registry)
        if company is not None:
            yield company


def _joined(company: Company, part: Part, registry: Registry) -> Company | None:
    """The company with all that the part needs, as far as it is not there; None where that cannot be."""
    needs: dict[str, set[type]] = {}
    for inner in parts(part):
        for kind, types in inner.component.needs.items():
            needs.setdefault(kind, set()).update(types)
    data = company.data | needs.get("dataset", set())
    if {RealStates, BinaryStates} <= data or {KnownLaw, BinaryStates} <= data:  # The tiny bits have no closed form.
        return None
    joined: Company | None = attrs.evolve(company, data=data)
    for kind in CHOSEN:
        if joined is not None and kind != part.kind and not _covers(needs.get(kind, set()), _given(joined, kind)):
            joined = _with_another(joined, kind, needs[kind], registry)
    return joined


def may_be_plain(part: Part, company: Company) -> bool:
    """Whether a part states no need of draws that pass a gradient on, and is in company that has them all the same."""
    needed = [capability for inner in parts(part) for capability in inner.component.needs.get("operator", ())]
    tiny = company.states is RealStates and not company.parts
    return tiny and not any(issubclass(Reparametrised, capability) for capability in needed)


def _given(company: Company, kind: str) -> tuple[type, ...]:
    if kind not in company.parts:
        return _TINY[company.states][kind]
    part = company.parts[kind]
    return part.component.provided(part.config) or ()


def _covers(needed: set[type], given: tuple[type, ...]) -> bool:
    return all(any(issubclass(have, want) for have in given) for want in needed)


def _with_another(company: Company, kind: str, needed: set[type], registry: Registry) -> Company | None:
    if kind in company.parts:
        return None
    for entry in registry.entries(kind):
        part = part_of(kind, entry.component, registry)
        if _covers(needed, entry.component.provided(part.config) or ()):
            joined = _joined(attrs.evolve(company, parts={**company.parts, kind: part}), part, registry)
            if joined is not None:
                return joined
    return None


class Surroundings:
    """What is built around a component.

    Arguments:
        company: Which parts.
        conditional: Whether class labels condition the chain; the tiny operator then asks for them.
        plain: Whether draws of the tiny operator pass no gradient on, of real states too.
        steps: K, 1 or more.

    Attributes:
        data: The data.
        context: What a component is built with, the parts before it included.
    """

    def __init__(self, company: Company, *, conditional: bool = False, plain: bool = False, steps: int = STEPS) -> None:
        shape = IMAGE if ImageStates in company.data else VECTOR
        binary = company.states is BinaryStates
        self.company = company
        self.conditional = conditional
        self.steps = steps
        self.data: Data = tiny_data(shape, binary=binary, conditional=conditional or Labelled in company.data)
        self.tiny = TinyChain(shape, binary=binary, steps=steps)
        operator = TinyBernoulli if binary else PlainOperator if plain else TinyGaussian
        self.tiny.operator = operator(steps, self.data.classes)
        self.context = Context(data=self.data.summary, steps=steps)
        self.context = attrs.evolve(self.context, prior=self._or("prior", self.tiny.prior))
        self.context = attrs.evolve(self.context, process=self._or("process", TinyProcess(binary=binary)))
        self.context = attrs.evolve(self.context, operator=self._or("operator", self.tiny.operator))

    def _or(self, kind: str, tiny: Any) -> Any:
        return self.context.build(self.company.parts[kind]) if kind in self.company.parts else tiny

    @property
    def process(self) -> ForwardProcess:
        """The process."""
        process: ForwardProcess = self.context.process
        return process

    def chain(self, *, prior: Prior | None = None, operator: TransitionOperator | None = None) -> Chain:
        """The chain of prior and operator, or of others."""
        if prior is None and operator is None and not self.company.parts.keys() & {"prior", "operator"}:
            return self.tiny
        return Chain(prior or self.context.prior, operator or self.context.operator, self.steps)

    def batch(self, device: torch.device | str = "cpu", rows: int = ROWS) -> Batch:
        """The first training examples."""
        return self.data.batch("train", torch.arange(rows), seeded(device, 0, "batch"), device)
