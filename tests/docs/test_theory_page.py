"""Every equation, algorithm, section and note that a docstring cites stands on the theory page beside what its module defines."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
PAPERS = {
    "walkback": r"walkback paper|Algorithm 1",
    "infusion": r"infusion paper",
    "diffusion": r"diffusion paper|Sohl-Dickstein et al\. 2015",
    "Ho": r"Ho et al\. 2020|\bHo,",
    "Nichol": r"Nichol (?:&|and) Dhariwal 2021|\bNichol,",
    "Karras": r"Karras et al\. 2022|\bKarras,",
    "Gretton": r"Gretton et al\. 2012",
    "Heusel": r"Heusel et al\. 2017",
    "Goodfellow": r"Goodfellow, Bengio and Courville|\*Deep Learning\*",
}
SECTIONS = {"Variational Walkback": "walkback", "Infusion Training": "infusion", "Fixed diffusion": "diffusion"}
"""The paper whose equations a section of the page, or a package, numbers without naming it."""
NUMBER = r"\d+(?:\.\d+)*"
CITED = re.compile(rf"\b(?P<kind>eq|note|algorithm|alg)s?\.? (?P<numbers>{NUMBER}(?:(?:-|, | and ){NUMBER})*)", re.IGNORECASE)
Citation = tuple[str, str, str]
"""Paper, kind and number."""


def citations(text: str, paper: str) -> set[Citation]:
    """What a text cites; the paper is named behind (`eq. 8 of the walkback paper`), before, or is the one given."""
    text, found = " ".join(text.split()), set()
    for match in CITED.finditer(text):
        behind = re.match(r" of the (\w+) paper", text[match.end() :])
        named = [(name.start(), key) for key, pattern in PAPERS.items() for name in re.finditer(pattern, text[: match.start()])]
        of = behind[1] if behind else max(named)[1] if named else paper
        kind = match["kind"].lower().replace("algorithm", "alg")
        found |= {("walkback" if kind == "alg" else of, kind, number) for number in numbers(match["numbers"])}
    return found


def numbers(written: str) -> list[str]:
    """Every number of such as `2, 4 and 6-9`."""
    found = []
    for part in re.split(", | and ", written):
        first, _, last = part.partition("-")
        found += [str(number) for number in range(int(first), int(last) + 1)] if last else [first]
    return found


def docstrings(path: Path) -> list[str]:
    """Texts that stand alone: those of modules, classes, functions and constants."""
    alone = (node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Expr))
    return [node.value for node in alone if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def modules() -> dict[str, Path]:
    """The modules that compute something, by name: not those that register, set keys or export."""
    found = {}
    for folder in (ROOT / "chainkit", *sorted((ROOT / "plugins").iterdir())):
        for path in sorted(folder.rglob("*.py")):
            name = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
            if not re.search(r"configs$|\.(hooks|__init__)$|^chainkit\.(scaffold|recipe)\.", name):
                found[name] = path
    return found


def cited() -> set[tuple[str, Citation]]:
    """Every module with every citation of its docstrings."""
    found = set()
    for name, path in modules().items():
        paper = name.partition(".")[0].removeprefix("chainkit_")
        found |= {(name, citation) for text in docstrings(path) for citation in citations(text, paper)}
    return found


def beside() -> set[tuple[str, Citation]]:
    """Every module with every citation of a line of the page that names something that it defines."""
    found, paper = set(), ""
    for line in re.split(r"\n(?=\||- |## |\n)", PAGE):
        if line.startswith("## "):
            paper = SECTIONS.get(line.removeprefix("## ").partition("\n")[0], "")
        owners = {home(name) for name in re.findall(r"`(chainkit(?:_\w+)?(?:\.\w+)+)`", line)}
        found |= {(owner, citation) for owner in owners for citation in citations(line, paper)}
    return found


def home(name: str) -> str:
    """The module that defines what a dotted name stands for."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute)
        module = inspect.getmodule(found)
        return module.__name__ if module else ""
    raise ModuleNotFoundError(name)


def test_what_a_docstring_cites_stands_on_the_page_beside_its_module() -> None:
    wanted = cited()
    assert len(wanted) > 60
    assert sorted(wanted - beside()) == []


@pytest.mark.parametrize(
    ("paper", "all_of_them"),
    [
        ("walkback", {str(number) for number in range(1, 18)}),
        ("infusion", {"3.3.1", "3.3.2", "3.3.3"}),
        ("diffusion", {str(number) for number in range(1, 15)}),
    ],
)
def test_every_equation_of_the_three_papers_is_on_the_page(paper: str, all_of_them: set[str]) -> None:
    assert {number for _, (of, kind, number) in beside() if of == paper and kind == "eq"} == all_of_them


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(walkback paper, eqs. 4-5)", {("walkback", "eq", "4"), ("walkback", "eq", "5")}),
        ("eq. 8 of the infusion paper", {("infusion", "eq", "8")}),
        (
            "(walkback paper, eq. 10; infusion paper, eq. 3.3.2 and note 4)",
            {("walkback", "eq", "10"), ("infusion", "eq", "3.3.2"), ("infusion", "note", "4")},
        ),
        ("eqs. 2, 4 and 6-7", {("Ho", "eq", number) for number in "2467"}),
        ("no equation at all, 8 of them", set()),
    ],
)
def test_citations_are_read(text: str, found: set[Citation]) -> None:
    assert citations(text, "Ho") == found
