"""What a run ends by saying: what was learned, in units and with errors, where it is, and what next."""

from __future__ import annotations

from collections.abc import Sequence

from chainkit.estimator import Estimate
from chainkit.evaluation import words
from chainkit.run import Run


def evaluation_lines(figures: Sequence[Estimate], weights: str) -> list[str]:
    """The figures, one a line, under a line that says on what they were estimated."""
    if not figures:
        return ["no figures: the recipe names no estimators"]
    first = figures[0]
    lines = [f"on {first.examples} {first.split} examples ({first.preparation}), {weights}, seed {first.seed}:"]
    width = max(len(figure.name) for figure in figures)
    for figure in figures:
        lines.append(f"  {figure.name:<{width}}  {words(figure)}")
        if figure.baseline is not None:
            side = "below" if figure.value < figure.baseline else "above"
            lines.append(f"  {'':<{width}}  {side} the factorial model, {figure.baseline:.2f} {figure.unit} on the same examples")
        lines += [f"  {'':<{width}}  note: {warning}" for warning in figure.warnings]
    return lines


def summary_lines(run: Run, figures: Sequence[Estimate]) -> list[str]:
    """The last words of a run."""
    pictures = run.path / "pictures"
    drawn = sorted(picture.name for picture in pictures.glob("*.png")) if pictures.is_dir() else []
    shown = f"{pictures}: {', '.join(drawn)}" if drawn else "none were drawn"
    steps = run.recipe.sample.steps or run.chain.steps
    return [
        "",
        f"learned a chain of {run.chain.steps} steps on {run.data.name} ({run.update} updates, {run.epoch} epochs)",
        *evaluation_lines(figures, run.weights),
        f"run      {run.path}",
        f"pictures {shown}",
        f"next     chainkit sample {run.path} -n 100 --steps {steps}",
        f"         chainkit evaluate {run.path} --split {run.recipe.evaluate.split} --walks 100",
        "         chainkit recipes ls, to see what else can be run",
    ]
