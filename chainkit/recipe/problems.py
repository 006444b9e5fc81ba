"""What is wrong with a recipe, one line per problem, each with the dotted key that it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cattrs.errors import AttributeValidationNote, ClassValidationError, IterableValidationError, IterableValidationNote

from chainkit.errors import RecipeError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def problems(error: Exception, path: str = "") -> Iterator[str]:
    """The problems in an error of structuring, in the order of the recipe's reference.

    Arguments:
        error: What cattrs raised.
        path: Dotted key of the table that it was raised for; empty for the whole recipe.
    """
    if isinstance(error, (ClassValidationError, IterableValidationError)):
        for inner in error.exceptions:
            yield from problems(inner, join(path, _key(inner)))
    else:
        yield f"{path or 'recipe'}: {_words(error)}"


def join(path: str, key: str) -> str:
    """The dotted key of ``key`` in the table at ``path``; an empty key is the table itself."""
    return ".".join(filter(None, (path, key)))


def _key(error: Exception) -> str:
    """Where in its parent an error arose: the note that cattrs, or our layer on it, has added last."""
    for note in reversed(getattr(error, "__notes__", [])):
        if isinstance(note, AttributeValidationNote):
            return _quoted(note.name)
        if isinstance(note, IterableValidationNote):
            return _quoted(str(note.index))
    return ""


def _quoted(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else repr(key)


def _words(error: Exception) -> str:
    """Errors of validators are meant for the reader; any other is a fault in a component's config class."""
    if isinstance(error, (ValueError, TypeError, RecipeError)):
        return str(error.args[0]) if error.args else type(error).__name__
    return f"cannot be checked, which is a fault of the component's config class: {type(error).__name__}: {error}"
