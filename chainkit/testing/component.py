"""A registered component, built from its example and checked as its kind promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs
import torch

from chainkit.capabilities import Distribution
from chainkit.chain import Chain
from chainkit.component import Component, Context, Part
from chainkit.data import Data, Examples
from chainkit.errors import DataError, MissingPackage, WrongPart
from chainkit.estimator import Estimator
from chainkit.random import global_seed
from chainkit.registry import Registry
from chainkit.schedule import Schedule
from chainkit.testing.dataset import check_dataset
from chainkit.testing.estimator import check_estimator
from chainkit.testing.expect import expect
from chainkit.testing.network import check_network
from chainkit.testing.objective import check_objective
from chainkit.testing.observer import check_observers
from chainkit.testing.operator import check_operator
from chainkit.testing.plain import PlainOperator
from chainkit.testing.prior import check_prior
from chainkit.testing.process import check_process
from chainkit.testing.schedule import check_schedule
from chainkit.testing.surroundings import Surroundings, companies, may_be_plain, part_of
from chainkit.testing.tiny import STEPS, TinyBernoulli, TinyChain
from chainkit.testing.training import check_decay, check_optimizer

HEADS = 2


class Unavailable(Exception):
    """What a component needs is not on this machine: files of a dataset, or a package."""


def check_component(
    kind: str,
    component: Component,
    registry: Registry | None = None,
    *,
    settings: dict[str, Any] | None = None,
    device: torch.device | str = "cpu",
) -> None:
    """Builds a component from its ``example`` in a tiny context and applies the check of its kind.

    The context has real or binary states, or each in turn, as the component's needs allow, and
    takes other registered components where the tiny chain cannot do what is needed. Networks,
    operators, objectives and estimators are checked with and without class labels; objectives and estimators also
    with an operator whose draws pass no gradient on, unless they need it.

    Arguments:
        kind: One of the keys of :data:`chainkit.component.HOOKS`, or a kind that a plugin defined, whose
            components are built and asked for the capabilities that they state.
        component: The component.
        registry: Where nested and neighbouring components are found; all installed plugins unless given.
        settings: Changes to the config that the example gives.
        device: Where to check it.

    Raises:
        AssertionError: It breaks a promise of its kind; the message says which, and what builds it.
        Unavailable: What it needs is not on this machine.
    """
    if registry is None:
        from chainkit.host import load_plugins

        registry = load_plugins().registry
    part = part_of(kind, component, registry)
    part = attrs.evolve(part, config=attrs.evolve(part.config, **(settings or {})))
    where = f"{kind} {component.name}"
    _check_documentation(component, where)
    try:
        with global_seed(0, "check", where):
            _CHECKS.get(kind, _check_part)(part, registry, torch.device(device), where)
    except MissingPackage as error:
        raise Unavailable(str(error)) from error
    except WrongPart as error:
        raise AssertionError(f"{where}: {error}; it is built by {_reference(component)}") from error
    except AssertionError as error:
        raise AssertionError(f"{error}; it is built by {_reference(component)}") from error


def _reference(component: Component) -> str:
    build = component.build
    return build if isinstance(build, str) else f"{build.__module__}:{build.__qualname__}"


def _check_documentation(component: Component, where: str) -> None:
    """The config class says what the component is and what each of its keys means."""
    words = component.config.__doc__ or ""
    expect(bool(words.strip()), f"{where}, its config class", "a docstring", "none")
    missing = [field.name for field in attrs.fields(component.config) if f"{field.name}:" not in words]
    expect(not missing, f"{where}, the docstring of its config class", "every key explained", f"nothing on {', '.join(missing)}")


def _check_provided(part: Part, objects: tuple[Any, ...], where: str) -> None:
    """Each capability that the component states is one of its objects'."""
    for capability in part.component.provided(part.config) or ():
        found = any(isinstance(thing, capability) for thing in objects)
        expect(found, where, f"the stated capability {capability.__name__}", " and ".join(type(thing).__name__ for thing in objects))


def _each(part: Part, registry: Registry, where: str, *, conditional: tuple[bool, ...] = (False,)) -> list[Surroundings]:
    found = [Surroundings(company, conditional=labels) for company in companies(part, registry) for labels in conditional]
    expect(bool(found), where, "components that give it what it needs", "none")
    return found


def _plain(part: Part, registry: Registry) -> list[Surroundings]:
    """Those whose operator can do no more than the part says it needs."""
    return [Surroundings(company, plain=True) for company in companies(part, registry) if may_be_plain(part, company)]


@contextmanager
def _undeclared(around: Surroundings, where: str) -> Iterator[None]:
    """What fails inside for the lack of draws with a gradient needs them, and does not say so."""
    try:
        yield
    except (AttributeError, TypeError) as error:
        if not isinstance(around.context.operator, (PlainOperator, TinyBernoulli)):
            raise
        seen = f"{type(error).__name__}: {error}"
        raise AssertionError(f"{where}: expected no other needs of the operator than it states, seen {seen}") from error


def _accepted(part: Part, around: Surroundings) -> Any:
    """What a part builds; None where it refuses labels."""
    try:
        return around.context.build(part)
    except (ValueError, DataError) as error:
        if around.conditional:
            return None
        if isinstance(error, DataError):
            raise Unavailable(str(error)) from error
        raise


def _goes_with(estimator: Estimator, chain: Chain, examples: Examples, around: Surroundings) -> bool:
    """Whether an estimator does not refuse labels."""
    try:
        estimator.check(chain, examples)
    except (ValueError, DataError):
        return not around.conditional
    return True


def _check_operator(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    for around in _each(part, registry, where, conditional=(False, True)):
        operator = around.context.build(part).to(device)
        around.process.to(device)
        batch = around.batch(device)
        check_operator(operator, batch.origin, steps=around.steps, condition=batch.condition, where=where)
        distribution: Distribution = operator(batch.origin, around.steps, batch.condition).at(1.0)
        _check_provided(part, (operator, distribution), where)


def _check_network(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    for around in _each(part, registry, where, conditional=(False, True)):
        network = around.context.build(part, heads=HEADS).to(device)
        batch = around.batch(device)
        check_network(network, batch.origin, steps=around.steps, heads=HEADS, condition=batch.condition, where=where)


def _check_process(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    for around in _each(part, registry, where):
        process = around.context.build(part).to(device)
        chain, batch = around.chain().to(device), around.batch(device)
        exact = chain.log_prob(batch.origin) if isinstance(chain, TinyChain) else None
        check_process(process, chain, batch, exact=exact, where=where)
        _check_provided(part, (process,), where)


def _check_objective(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    for around in [*_each(part, registry, where, conditional=(False, True)), *_plain(part, registry)]:
        objective = _accepted(part, around)
        if objective is not None:
            with _undeclared(around, where):
                chain, process = around.chain().to(device), around.process.to(device)
                check_objective(objective.to(device), chain, process, around.batch(device), where=where)


def _check_schedule(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    for around in _each(part, registry, where)[:1]:
        schedule: Schedule = around.context.build(part).to(device)
        check_schedule(schedule, STEPS, where=where)


def _check_prior(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    for around in _each(part, registry, where):
        prior = around.context.build(part).to(device)
        check_prior(prior, around.data.shape, device=device, where=where)
        _check_provided(part, (prior, prior(1)), where)


def _check_dataset(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    try:
        data: Data = part.make(Context())
    except DataError as error:
        raise Unavailable(str(error)) from error
    check_dataset(data, where=where)
    stated = part.component.provided(part.config)
    expect(stated is None or set(stated) == set(data.provided()), where, f"states that are {stated}", data.provided())


def _check_estimator(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    for around in [*_each(part, registry, where, conditional=(False, True)), *_plain(part, registry)]:
        around.data.to(device)
        examples, chain = around.data.examples("test", device=device), around.chain().to(device)
        estimator = _accepted(part, around)
        if estimator is not None and _goes_with(estimator, chain, examples, around):
            with _undeclared(around, where), suppress(*([DataError] if around.conditional else [])):  # labels refused late
                check_estimator(estimator, chain, around.process.to(device), examples, where=where)


def _check_optimizer(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    check_optimizer(part.make(Context()), device=device, where=where)


def _check_decay(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    check_decay(part.make(Context()), where=where)


def _check_observer(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    check_observers(lambda: part.make(Context()), where=where)


def _check_part(part: Part, registry: Registry, device: torch.device, where: str) -> None:
    for around in _each(part, registry, where):
        _check_provided(part, (around.context.build(part),), where)


_CHECKS: dict[str, Callable[[Part, Registry, torch.device, str], None]] = {
    "operator": _check_operator,
    "network": _check_network,
    "process": _check_process,
    "objective": _check_objective,
    "schedule": _check_schedule,
    "prior": _check_prior,
    "dataset": _check_dataset,
    "estimator": _check_estimator,
    "optimizer": _check_optimizer,
    "decay": _check_decay,
    "observer": _check_observer,
}
