"""What a plugin must keep to, checked when it is loaded.

Each check raises a :class:`PluginError` whose message says what is wrong, and how to put it right
where that is not plain.
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pluggy

from chainkit import API_VERSION, __version__, hookspecs
from chainkit.component import HOOKS, NEEDED, Component
from chainkit.errors import PluginError
from chainkit.registry import suggest

SPECIFIED = [name for name in vars(hookspecs) if name.startswith("chainkit_")]
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
REFERENCE = re.compile(r"[\w.]+:\w+")


def registers(hook: str) -> bool:
    """Whether a hook is called once, when its plugin is loaded."""
    return hook in HOOKS.values() or hook in ("chainkit_parts", "chainkit_recipes", "chainkit_views")


def check_api(plugin: object) -> None:
    """The plugin states the range of API versions that it was written for, and ours lies in it."""
    match getattr(plugin, "chainkit_api", None):
        case (int(low), int(high)) if low <= high:
            if not low <= API_VERSION <= high:
                remedy = "update chainkit" if low > API_VERSION else "update the plugin"
                raise PluginError(
                    f"it was written for chainkit API {low} to {high}, and chainkit {__version__} has {API_VERSION}: {remedy}"
                )
        case None:
            raise PluginError(f"it does not state its API range, such as chainkit_api = ({API_VERSION}, {API_VERSION})")
        case other:
            raise PluginError(f"chainkit_api is a pair of integers (lowest, highest), not {other!r}")


def check_marks(plugin: object) -> None:
    """Whatever is named like a hook is a function that is marked as a plain one."""
    for hook in SPECIFIED:
        if (function := getattr(plugin, hook, None)) is None:
            continue
        mark = getattr(function, "chainkit_impl", None)
        if mark is None or not inspect.isroutine(function):
            raise PluginError(f"{hook} is not a function marked with @chainkit.hookimpl")
        if mark["wrapper"] or mark["hookwrapper"]:
            raise PluginError(f"{hook} is a wrapper, which chainkit's hooks cannot have")
    for name in dir(plugin):
        if name.startswith("chainkit_") and name not in SPECIFIED and _unmarked(getattr(plugin, name)):
            raise _misspelt(name)


def _unmarked(value: Any) -> bool:
    return inspect.isroutine(value) and not hasattr(value, "chainkit_impl")


def _misspelt(name: str) -> PluginError:
    return PluginError(f"there is no hook {name!r}{suggest(name, SPECIFIED)}")


def check_hooks(callers: Iterable[pluggy.HookCaller]) -> None:
    """Every hook that is implemented exists."""
    for caller in callers:
        if not caller.has_spec() and not all(impl.optionalhook for impl in caller.get_hookimpls()):
            raise _misspelt(caller.name)


def check_observer(callers: Collection[pluggy.HookCaller]) -> None:
    """An observer implements hooks that a run calls, and no others that do not exist."""
    check_hooks(callers)
    if all(registers(caller.name) for caller in callers):
        raise PluginError("it has no hook that a run calls")


def fault(hook: str, answer: Any) -> str | None:
    """What is wrong with the answer to a lifecycle hook: what goes into a checkpoint must be a table of JSON data."""
    if hook != "chainkit_checkpoint_save" or answer is None:
        return None
    if not isinstance(answer, dict):
        return f"{hook} returned a {type(answer).__name__}, not a table of JSON data"
    try:
        faithful = json.loads(json.dumps(answer, allow_nan=False)) == answer
    except (TypeError, ValueError, RecursionError) as error:
        return f"{hook} returned what is no JSON data: {error}"
    return None if faithful else f"{hook} returned what JSON gives back changed: keys that are no strings, or tuples"


def components(hook: str, answer: Any) -> list[Component]:
    """What a registration hook returned, checked: a list of components with names of their own."""
    if not isinstance(answer, (list, tuple)):
        raise PluginError(f"{hook} returned a {type(answer).__name__}, not a list of Component")
    seen: set[str] = set()
    for component in answer:
        if not isinstance(component, Component):
            raise PluginError(f"{hook} returned a list with a {type(component).__name__} in it, not only Component")
        check_component(hook, component)
        if component.name in seen:
            raise PluginError(f"{hook} registers the name {component.name!r} twice")
        seen.add(component.name)
    return list(answer)


def contributed(answers: Mapping[str, Any]) -> dict[str, list[Component]]:
    """All components in a plugin's answers, by hook, checked and sorted by kind."""
    own = {kind: components(hook, answers.get(hook, [])) for kind, hook in HOOKS.items()}
    return {**own, **parts(answers.get("chainkit_parts", {}))}


def parts(answer: Any) -> dict[str, list[Component]]:
    """What ``chainkit_parts`` returned, checked: components by kinds that are not the core's."""
    if not isinstance(answer, dict):
        raise PluginError(f"chainkit_parts returned a {type(answer).__name__}, not a table of lists of Component by kind")
    for kind in answer:
        if kind in HOOKS:
            raise PluginError(f"chainkit_parts: components of kind {kind!r} are registered by {HOOKS[kind]}")
        if not (isinstance(kind, str) and NAME.fullmatch(kind)):
            raise PluginError(f"chainkit_parts: a kind is named with a-z, 0-9, dots and dashes, not {kind!r}")
    return {kind: components(f"chainkit_parts, {kind}", found) for kind, found in answer.items()}


def check_component(hook: str, component: Component) -> None:
    """A component has a name that a recipe can write, a config class that it can fill, and a builder."""
    name = component.name
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise PluginError(f"{hook}: a name is made of a-z, 0-9, dots and dashes, not {name!r}")
    if not isinstance(component.declared, str):
        check_config(component.declared, f"{hook}: the config of {name!r}")
    elif not REFERENCE.fullmatch(component.declared):
        raise PluginError(f"{hook}: the config of {name!r} is neither a class nor a reference 'package.module:Class'")
    if not (callable(component.build) or (isinstance(component.build, str) and REFERENCE.fullmatch(component.build))):
        raise PluginError(f"{hook}: the build of {name!r} is neither a function nor a reference 'package.module:function'")
    if not isinstance(component.example, Mapping):
        raise PluginError(f"{hook}: the example of {name!r} is not a table")
    if not (callable(component.provides) or _types(component.provides)):
        raise PluginError(f"{hook}: what {name!r} provides is neither a tuple of types nor a function")
    if not (isinstance(component.needs, Mapping) and all(map(_types, component.needs.values()))):
        raise PluginError(f"{hook}: what {name!r} needs is not a table of tuples of types")
    for kind in component.needs:
        if kind not in NEEDED:
            raise PluginError(f"{hook}: {name!r} needs something of a {kind!r}, of which a recipe has not one{suggest(str(kind), NEEDED)}")


def check_config(config: Any, what: str) -> None:
    """Recipes can fill a config class, and it documents itself.

    Arguments:
        config: The class.
        what: What it is, for messages.
    """
    from chainkit.recipe.reference import keys  # needed only where a class is, which not every command asks for

    if not (isinstance(config, type) and attrs.has(config)):
        raise PluginError(f"{what} is not an attrs class")
    for field in attrs.fields(config):
        if field.name == "type" or not field.kw_only:
            raise PluginError(f"{what} has a field {field.name!r} that is {'reserved' if field.kw_only else 'not keyword-only'}")
    try:
        typing.get_type_hints(config, include_extras=True)
    except Exception as error:
        raise PluginError(f"{what} has an annotation that cannot be resolved: {error}") from error
    try:
        keys(config)
    except Exception as error:
        raise PluginError(f"{what} has keys that cannot be listed: {type(error).__name__}: {error}") from error


def _types(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, type) for item in value)


def folders(answer: Any) -> list[Path]:
    """What ``chainkit_recipes`` returned, checked."""
    if not (isinstance(answer, (list, tuple)) and all(isinstance(folder, Path) for folder in answer)):
        raise PluginError("chainkit_recipes returned something else than a list of Path")
    for folder in answer:
        if not folder.is_dir():
            raise PluginError(f"chainkit_recipes: there is no folder {folder}")
    return list(answer)


def views(answer: Any, known: Iterable[str]) -> dict[str, str]:
    """What ``chainkit_views`` returned, checked: references to functions by names that no other plugin has taken."""
    if not isinstance(answer, dict):
        raise PluginError(f"chainkit_views returned a {type(answer).__name__}, not a table of references by name")
    for name, reference in answer.items():
        if not (isinstance(name, str) and name.isidentifier() and not name.startswith("_")):
            raise PluginError(f"chainkit_views: a view is named as a method is, not {name!r}")
        if not (isinstance(reference, str) and REFERENCE.fullmatch(reference)):
            raise PluginError(f"chainkit_views: {name!r} is not a reference 'package.module:function'")
        if name in known:
            raise PluginError(f"chainkit_views: there is a view {name!r} already")
    return answer
