"""Types and values in the words of a recipe's reader."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs

from chainkit.component import Part, Table

_PLAIN: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    Any: "any value",
}


def is_part(annotation: Any) -> bool:
    """Whether a type is that of a nested component, ``Annotated[Part, kind]``."""
    return get_origin(annotation) is Annotated and get_args(annotation)[0] is Part


def alternatives(annotation: Any) -> list[Any]:
    """The types that a type is the union of, without None, which a recipe cannot write."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for option in get_args(annotation) if option is not type(None)]
    return [annotation]


def spelled(annotation: Any) -> str:
    """A type in words, with its article: "an integer", "a list, each item a number".

    Arguments:
        annotation: A resolved type annotation, ``Annotated`` included.
    """
    options = alternatives(annotation)
    if len(options) > 1:
        return " or ".join(map(spelled, options))
    [annotation] = options
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if is_part(annotation):
        return _article(get_args(annotation)[1])
    return _spelled_generic(annotation, get_origin(annotation) or annotation, get_args(annotation))


def _spelled_generic(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> str:
    if origin is Literal:
        return " or ".join(map(written, arguments))
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {', '.join(map(spelled, arguments))}"
    if origin is Annotated:
        return spelled(arguments[0])
    if origin in (list, tuple):
        return f"a list, each item {spelled(arguments[0])}" if arguments else "a list"
    if isinstance(origin, type) and (issubclass(origin, Mapping) or attrs.has(origin)):
        return "a table"
    return getattr(annotation, "__name__", str(annotation))


def written(value: Any) -> str:
    """A value as a recipe would write it, shortened where it is long."""
    if isinstance(value, Table):
        return written(dict(value.settings))
    if isinstance(value, Part):
        return json.dumps(value.name)
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {written(item)}' for key, item in value.items())} }}" if value else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(written, value))}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value if len(value) <= 60 else f"{value[:57]}...", ensure_ascii=False)
    return str(value) if isinstance(value, (int, float)) else f"the {type(value).__name__} {value}"


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def hints(config: type) -> dict[str, Any]:
    """The resolved types of a config class's fields, by name."""
    return typing.get_type_hints(config, include_extras=True)
