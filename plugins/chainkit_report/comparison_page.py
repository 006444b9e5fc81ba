"""The page of several runs beside each other."""

from __future__ import annotations

from chainkit.comparison import Comparison
from chainkit_report.html import Html, element, joined, listed, page
from chainkit_report.tables import differences, ranked

MARKS = (
    "Best: above every other figure of the same quantity, or below where lower is better, by more than the joint standard error. "
    "Tied: within it of the best. "
    "Neither error knows of the training: another seed gives another model."
)


def comparison_page(comparison: Comparison) -> str:
    """The page, as one HTML file that needs nothing beside it.

    Arguments:
        comparison: The runs.
    """
    runs = [element("li", f"{name}: {run.title}. {run.words}") for name, run in zip(comparison.names, comparison.runs, strict=True)]
    sections = {
        "Runs": element("ul", *runs),
        "Figures": joined(element("p", MARKS), ranked(comparison)) if comparison.entries else element("p", "No figures yet."),
        "Not ranked": listed(list(comparison.refusals)),
        "Settings that differ": differences("Settings of the recipes.", comparison.settings, comparison.names) or _same(),
        "Versions that differ": differences("Versions and machines.", comparison.environment, comparison.names) or _same(),
    }
    return page(f"Comparison of {', '.join(comparison.names)}", f"{len(comparison.runs)} runs beside each other.", sections)


def _same() -> Html:
    return element("p", "None.")
