"""What plugins register: components, and how a recipe chooses and builds them.

This module does not import torch, and neither may a plugin's ``hooks.py`` nor its config classes:
listing components and checking a recipe stay quick. What builds the object is named by reference,
``"package.module:function"``, and imported when it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import attrs

from chainkit.blame import explain
from chainkit.errors import PluginError, WrongPart
from chainkit.plugin import Plugin

if TYPE_CHECKING:
    from chainkit.data import Summary

HOOKS: dict[str, str] = {
    "operator": "chainkit_operators",
    "network": "chainkit_networks",
    "process": "chainkit_processes",
    "objective": "chainkit_objectives",
    "schedule": "chainkit_schedules",
    "prior": "chainkit_priors",
    "dataset": "chainkit_datasets",
    "estimator": "chainkit_estimators",
    "optimizer": "chainkit_optimizers",
    "decay": "chainkit_decays",
    "observer": "chainkit_observers",
}
"""The kinds of component that the core builds, and the hook through which plugins register each.

A plugin may define further kinds for the parts of its own components (``chainkit_parts``)."""

INTERFACES: dict[str, str] = {
    "operator": "chainkit.operator:TransitionOperator",
    "network": "chainkit.network:Network",
    "process": "chainkit.process:ForwardProcess",
    "objective": "chainkit.objective:Objective",
    "schedule": "chainkit.schedule:Schedule",
    "prior": "chainkit.prior:Prior",
    "dataset": "chainkit.data:Data",
    "estimator": "chainkit.estimator:Estimator",
    "optimizer": "collections.abc:Callable",
    "decay": "collections.abc:Callable",
}
"""What components of a kind build, by reference: the interfaces import torch."""

NEEDED = ("dataset", "prior", "process", "operator", "objective")
"""The kinds of which a recipe has one, so that a component may need something of it."""

Build: TypeAlias = Callable[[Any, "Context"], Any]
Provides: TypeAlias = "tuple[type, ...] | Callable[[Any], tuple[type, ...] | None]"


@attrs.frozen(kw_only=True)
class Component:
    """One registered component.

    Arguments:
        name: The ``type`` that recipes write, lower case with dashes.
        config: A frozen, keyword-only attrs class; its docstring and fields are the documentation.
            Or a reference ``"package.module:Class"``, imported and checked at first use: commands
            that do not ask for it start sooner.
        build: ``build(config, context)`` makes the object; a function, or a reference
            ``"package.module:function"`` that is imported at first use.
        example: The smallest table of settings that works, without ``type``.
        provides: Capability types (:mod:`chainkit.capabilities`) of the built object (for an
            operator, those of its kernels' distributions; for a dataset, those of its states), or
            a function of the config that gives them; it may give None for "known once built".
        needs: Capability types that this component needs of the recipe's other parts, by kind, one of :data:`NEEDED`.
        steady: Of a part of the model: that whatever Python decides in it by what may change from one update
            to the next, it decides by attributes that it holds. Not by global variables, files or clocks: an
            update is then recorded without being asked for (``train.graph``).
    """

    name: str
    declared: type | str = attrs.field(alias="config")
    build: str | Build
    example: Mapping[str, Any] = attrs.field(factory=dict)
    provides: Provides = ()
    needs: Mapping[str, tuple[type, ...]] = attrs.field(factory=dict)
    steady: bool = False

    @property
    def config(self) -> type:
        """The config class.

        Raises:
            PluginError: It is given by reference and cannot be imported, or recipes cannot fill it.
        """
        return _config_class(self.declared) if isinstance(self.declared, str) else self.declared

    def make(self, config: Any, context: Context) -> Any:
        """Builds the object."""
        return self.builder()(config, context)

    def builder(self) -> Build:
        """The build function, imported if it is given by reference."""
        return _imported(self.build) if isinstance(self.build, str) else self.build

    def provided(self, config: Any) -> tuple[type, ...] | None:
        """The capabilities under these settings; None if they are known once the object is built."""
        return self.provides(config) if callable(self.provides) else self.provides


def _imported(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


@cache
def _config_class(reference: str) -> type:
    from chainkit.contract import check_config  # which is about components

    try:
        config = _imported(reference)
    except Exception as error:
        raise PluginError(f"the config {reference} cannot be imported: {type(error).__name__}: {error}") from error
    check_config(config, reference)
    return config


@attrs.frozen(kw_only=True)
class Part:
    """A component as a recipe chose it: with its settings, checked.

    Arguments:
        kind: One of the keys of :data:`HOOKS`, or a kind that a plugin defined.
        component: The component that ``type`` named.
        config: An instance of the component's config class.
        path: Dotted key of the table in the recipe, for messages.
        plugin: The plugin to name before a colon, where the recipe does or the name alone is ambiguous.
        provider: The record of the plugin that registered the component, where it is known.
    """

    kind: str
    component: Component
    config: Any
    path: str
    plugin: str | None = None
    provider: Plugin | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def name(self) -> str:
        return self.component.name

    @property
    def maker(self) -> str:
        """The component and its plugin, for messages."""
        return f"component {self.name}" + (f" of {self.provider}" if self.provider else "")

    def make(self, context: Context) -> Any:
        """Builds the object.

        Arguments:
            context: What is known by then.

        Raises:
            PluginError: The component cannot be imported, or its code fails.
            WrongPart: It builds something else than its kind promises.
        """
        with self.blamed():
            built = self.component.make(self.config, context)
        if self.kind in INTERFACES:
            require(built, _imported(INTERFACES[self.kind]), f"{self.maker} built")
        return built

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """What fails inside as only code can fail is blamed on the component.

        Raises:
            PluginError: It failed; the message says where in the plugin.
        """
        try:
            yield
        except (ImportError, AttributeError, SystemExit) as error:
            words = explain(error, self.provider.module if self.provider else "")
            raise PluginError(f"{self.maker} cannot be built ({words})") from error


def require(value: Any, wanted: type, words: str) -> None:
    """Makes sure that a plugin gave what it promises.

    Arguments:
        value: What it gave.
        wanted: What it is to be an instance of.
        words: The beginning of the message: who did what.

    Raises:
        WrongPart: It is not.
    """
    if not isinstance(value, wanted):
        raise WrongPart(f"{words} {_article(type(value).__name__)}, not {_article(wanted.__name__)}")


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOUaeiou' else 'a'} {noun}"


@attrs.frozen
class Table:
    """The default of a part: the table that a recipe would have written."""

    settings: Mapping[str, Any]


def choose(type: str, **settings: Any) -> Any:
    """The attrs field of a part with a default: ``network: NetworkPart = choose("mlp", hidden=[128])``.

    Arguments:
        type: Name of the component taken where the recipe leaves the key out.
        settings: Its settings.
    """
    return attrs.field(default=Table({"type": type, **settings}))


OperatorPart: TypeAlias = Annotated[Part, "operator"]
NetworkPart: TypeAlias = Annotated[Part, "network"]
ProcessPart: TypeAlias = Annotated[Part, "process"]
ObjectivePart: TypeAlias = Annotated[Part, "objective"]
SchedulePart: TypeAlias = Annotated[Part, "schedule"]
PriorPart: TypeAlias = Annotated[Part, "prior"]
DatasetPart: TypeAlias = Annotated[Part, "dataset"]
EstimatorPart: TypeAlias = Annotated[Part, "estimator"]
OptimizerPart: TypeAlias = Annotated[Part, "optimizer"]
DecayPart: TypeAlias = Annotated[Part, "decay"]
ObserverPart: TypeAlias = Annotated[Part, "observer"]


@attrs.frozen(kw_only=True)
class Context:
    """What is known when a component is built. Parts are built in the order data, prior, process, operator, objective.

    Arguments:
        data: Shape, kind and statistics of the prepared training data; None while data is built.
        steps: K, the chain length.
        heads: Number of output maps that a network must give.
        prior: The prior, once built.
        process: The forward process, once built.
        operator: The operator, once built.
    """

    data: Summary = None  # type: ignore[assignment]
    steps: int = 1
    heads: int = 1
    prior: Any = None
    process: Any = None
    operator: Any = None

    def build(self, part: Part, **changes: Any) -> Any:
        """Builds a part of a part.

        Arguments:
            part: The part, from a config.
            changes: Fields of the context that are different for it, such as ``heads=2``.

        Raises:
            PluginError: As :meth:`Part.make` does.
        """
        return part.make(attrs.evolve(self, **changes))
