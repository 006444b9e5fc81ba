"""Parts of a template that are left out: definitions of a module, tables of a recipe, rows of a list."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping


def without_definitions(source: str, names: Collection[str]) -> str:
    """A module without some of its classes and functions, and without what only they imported.

    Arguments:
        source: The module; its imports stand on one line each.
        names: Classes and functions at its top level.
    """
    lines = source.splitlines(keepends=True)
    tree = ast.parse(source)
    dropped = [node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name in names]
    kept = [node for node in tree.body if node not in dropped]
    used = {inner.id for node in kept for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    for node in kept:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            lines[node.lineno - 1] = _import(node, used)
    for definition in dropped:
        first = min([definition, *definition.decorator_list], key=lambda node: node.lineno).lineno - 1
        while not lines[first - 1].strip():
            first -= 1
        lines[first : definition.end_lineno] = [""] * ((definition.end_lineno or 0) - first)
    return re.sub(r"\n{4,}", "\n\n\n", "".join(lines))


def _import(node: ast.Import | ast.ImportFrom, used: Collection[str]) -> str:
    """An import statement as far as it is used, in a line of its own."""
    if isinstance(node, ast.Import) or node.module == "__future__":
        return f"{ast.unparse(node)}\n"
    node.names = [alias for alias in node.names if alias.name in used]
    return f"{ast.unparse(node)}\n" if node.names else ""


def with_tables(recipe: str, others: Mapping[str, str | None]) -> str:
    """A recipe with some of its tables replaced or left out.

    Arguments:
        recipe: Paragraphs with an empty line between them, each one table.
        others: By header, ``[chain.prior]`` for instance, what stands there instead; None leaves the table out.
    """
    paragraphs = [others.get(paragraph.partition("\n")[0], paragraph) for paragraph in recipe.strip().split("\n\n")]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def tables(recipe: str) -> dict[str, str]:
    """The paragraphs of a recipe that are tables, by header."""
    paragraphs = recipe.strip().split("\n\n")
    return {paragraph.partition("\n")[0]: paragraph for paragraph in paragraphs if paragraph.startswith("[")}


def without_rows(text: str, words: Collection[str]) -> str:
    """A text without the lines that hold one of some words."""
    return "".join(line for line in text.splitlines(keepends=True) if not any(word in line for word in words))
