"""A new plugin package: its files, and how they come into being all at once or not at all."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from chainkit.component import HOOKS
from chainkit.errors import RecipeError
from chainkit.scaffold.names import Names
from chainkit.scaffold.prune import tables, with_tables, without_definitions, without_rows

FOLDER = Path(__file__).parent
TEMPLATE = FOLDER / "template"
TABLES = {
    "dataset": "[data]",
    "prior": "[chain.prior]",
    "schedule": "[chain.temperature]",
    "operator": "[chain.operator]",
    "network": "[chain.operator.network]",
    "process": "[process]",
    "objective": "[objective]",
    "optimizer": "[train.optimizer]",
    "decay": "[train.decay]",
    "estimator": "[evaluate]",
    "observer": "[[observers]]",
}
"""The table of a recipe that a component of each kind stands in."""


def contents(names: Names, kinds: Collection[str]) -> dict[PurePosixPath, str]:
    """The text of every file of a new package, by its path.

    Arguments:
        names: What it is called.
        kinds: Kinds of component that it has one of, from the keys of :data:`chainkit.component.HOOKS`.
    """
    absent = [kind for kind in HOOKS if kind not in kinds]
    modules = [f"{kind}.py" for kind in absent]
    files = {}
    for path in _template():
        if path.name not in modules:
            place = PurePosixPath(names.fill(path.relative_to(TEMPLATE).as_posix()))
            files[place] = names.fill(_pruned(path.name, path.read_text(encoding="utf-8"), absent))
    return files


def _template() -> list[Path]:
    """The files of the template, without what Python and linters keep beside them."""
    files = [path for path in sorted(TEMPLATE.rglob("*")) if path.is_file()]
    return [path for path in files if not any("cache" in part for part in path.relative_to(TEMPLATE).parts)]


def _pruned(name: str, text: str, absent: Collection[str]) -> str:
    """A file of the template without what belongs to absent kinds."""
    match name:
        case "hooks.py":
            return without_definitions(text, [HOOKS[kind] for kind in absent])
        case "configs.py":
            return without_definitions(text, [f"{kind.capitalize()}Config" for kind in absent])
        case "README.md":
            return without_rows(text, [f"/{kind}.py`" for kind in absent])
        case "placeholder_digits.toml":
            shipped = tables((FOLDER / "shipped.toml").read_text(encoding="utf-8"))
            return with_tables(text, {TABLES[kind]: shipped.get(TABLES[kind]) for kind in absent})
    return text


def write_package(names: Names, kinds: Collection[str], into: Path) -> Path:
    """Writes a new package; where that fails, nothing is left of it.

    Arguments:
        names: What it is called.
        kinds: Kinds of component that it has one of.
        into: The folder in which its own is made.

    Returns:
        Its folder.

    Raises:
        RecipeError: There is something in its place already.
    """
    target = into / names.distribution
    if target.is_symlink() or target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise RecipeError(f"{target}: exists")
    with TemporaryDirectory(prefix=f".{names.distribution}-", dir=into) as folder:
        made = Path(folder) / names.distribution
        for place, text in contents(names, kinds).items():
            path = made / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        made.replace(target)
    return target
