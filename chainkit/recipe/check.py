"""Whether the parts of a recipe fit together: checked before anything is built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import attrs

from chainkit.capabilities import NoiseLevel, Respaceable
from chainkit.component import NEEDED, Part
from chainkit.recipe.parts import parts
from chainkit.recipe.problems import join
from chainkit.recipe.schema import Recipe
from chainkit.recipe.words import alternatives, hints, written


def check_recipe(recipe: Recipe) -> list[str]:
    """What keeps a recipe from working, one problem per line with the dotted key that it is about.

    Arguments:
        recipe: A recipe whose tables are each in order.
    """
    return [*_capabilities(recipe), *_chain(recipe), *_training(recipe)]


def _capabilities(recipe: Recipe) -> Iterator[str]:
    """Every capability that a part needs of another one, unless that is known only once it is built."""
    chosen = (recipe.data, recipe.chain.prior, recipe.process, recipe.chain.operator, recipe.objective)
    providers = dict(zip(NEEDED, chosen, strict=True))
    for part in parts(recipe):
        for kind, needed in part.component.needs.items():
            if missing := _missing(providers[kind], providers[kind].config, needed):
                yield _mismatch(part, providers[kind], missing)


def _missing(provider: Part, config: Any, needed: tuple[type, ...]) -> list[type]:
    provided = provider.component.provided(config)
    if provided is None:
        return []
    return [want for want in needed if not any(issubclass(given, want) for given in provided)]


def _mismatch(part: Part, provider: Part, missing: list[type]) -> str:
    wants = " and ".join(map(_meaning, missing))
    gives = ", ".join(capability.__name__ for capability in provider.component.provided(provider.config) or ()) or "nothing of the kind"
    remedies = " or ".join(_remedies(provider, missing))
    message = f"{part.path}: {part.name} needs of the {provider.kind}: {wants}; {provider.path} ({provider.name}) gives {gives}"
    return f"{message}; set {remedies}" if remedies else message


def _meaning(capability: type) -> str:
    """A capability by its name and, where it has one, the first line of its docstring."""
    words = (capability.__doc__ or "").strip().partition("\n")[0].rstrip(".")
    return f"{capability.__name__} ({words[:1].lower()}{words[1:]})" if words else capability.__name__


def _remedies(provider: Part, missing: list[type]) -> Iterator[str]:
    """Settings of a single key of the provider under which it would give what is missing."""
    types = hints(type(provider.config))
    for field in attrs.fields(type(provider.config)):
        options = [value for annotation in alternatives(types[field.name]) for value in _values(annotation)]
        if mends := [written(value) for value in options if _mends(provider, field.alias, value, missing)]:
            yield f"{join(provider.path, field.name)} = {' or '.join(mends)}"


def _values(annotation: Any) -> tuple[Any, ...]:
    if annotation is bool:
        return (False, True)
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _mends(provider: Part, alias: str, value: Any, missing: list[type]) -> bool:
    try:
        return not _missing(provider, attrs.evolve(provider.config, **{alias: value}), tuple(missing))
    except (ValueError, TypeError):  # not a setting that goes with the others
        return False


def _chain(recipe: Recipe) -> Iterator[str]:
    chain, asked = recipe.chain, recipe.sample.steps
    if chain.steps is None and not isinstance(chain.operator.config, NoiseLevel):
        yield f"chain.steps: is missing, and cannot be inferred: {chain.operator.name} does not state its noise level"
    elif chain.steps is None and chain.temperature is None:
        yield "chain.steps: is missing, and cannot be inferred: there is no chain.temperature that rises"
    if chain.extend == "refuse" and None not in (chain.steps, asked) and asked != chain.steps:
        yield f'sample.steps: is {asked} where the chain has {chain.steps} and chain.extend = "refuse"; set chain.extend'
    if chain.extend == "respace" and _missing(chain.operator, chain.operator.config, (Respaceable,)):
        yield f"chain.extend: {chain.operator.name} cannot run on a part of its steps (Respaceable); take another rule than respace"
    if chain.extend == "respace" and chain.steps is not None and asked is not None and asked > chain.steps:
        yield f'sample.steps: is {asked} where chain.extend = "respace" allows at most the {chain.steps} trained steps'


def _training(recipe: Recipe) -> Iterator[str]:
    if recipe.train.accumulate > 1 and recipe.train.update == "step":
        yield 'train.accumulate: gradients are accumulated only with one update per walk; set train.update = "walk"'
    if recipe.train.patience is not None and recipe.validate is None:
        yield "train.patience: there is no figure to watch; add [validate]"
    watched = [] if recipe.validate is None else recipe.validate.estimators
    for place, part in enumerate(watched):
        if part.component in [earlier.component for earlier in watched[:place]]:
            yield f"{part.path}: {part.name} is watched already, and its two curves would have one name"
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", recipe.device):
        yield f"device: must be auto, cpu, cuda or cuda:N, not {written(recipe.device)}"
