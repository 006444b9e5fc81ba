"""The page of a run: what it is, what it drew and estimated, on what that depends, and how to repeat it."""

from __future__ import annotations

import shlex

from chainkit.comparison import flat
from chainkit.run_record import RunRecord
from chainkit_report.html import Html, element, folded, joined, listed, page
from chainkit_report.pictures import gallery, on_the_way
from chainkit_report.tables import evaluation, grounds, logged, table, text

REPEAT = (
    "The same weights bit by bit need the same versions, device and number of threads, and on another machine "
    "floating-point sums may still differ; figures then agree within their errors."
)


def run_page(record: RunRecord) -> str:
    """The page, as one HTML file that needs nothing beside it.

    Arguments:
        record: The run, ended or not.
    """
    sections = {
        "Pictures": gallery(record.pictures),
        "Evaluation": _evaluation(record),
        "Training": joined(logged(record.metrics), on_the_way(record.pictures)),
        "Settings": _settings(record),
        "Versions": _versions(record),
        "Reproduce": _reproduce(record),
    }
    return page(record.title, f"{record.words[0].upper()}{record.words[1:]}.", sections)


def _evaluation(record: RunRecord) -> Html:
    if not record.figures:
        return element("p", "No figures yet.")
    read = "Higher is better for log-likelihoods, lower for bits per dimension. Errors are standard errors."
    return joined(element("p", read), evaluation(record.figures))


def code(content: str, label: str) -> Html:
    """Lines of code, which scroll by keyboard too.

    Arguments:
        content: The lines.
        label: What they are.
    """
    return element("pre", element("code", content), tabindex=0, role="region", aria_label=label)


def _settings(record: RunRecord) -> Html:
    overrides = listed([element("code", override) for override in record.environment.overrides])
    changed = joined(element("p", "Changed on the command line:"), overrides) if overrides else Html()
    resolved = folded("All settings, with every default written out", code(record.resolved, "Resolved recipe"))
    return joined(changed, resolved, folded("The recipe as it was given", code(record.given, "Recipe")) if record.given else Html())


def _versions(record: RunRecord) -> Html:
    environment = record.environment
    found = {"chainkit": environment.chainkit, "Python": environment.python, "torch": environment.torch, **environment.packages}
    plugins = {f"plugin {name}": version for name, version in environment.plugins.items()}
    counts = {"threads": environment.threads or "", "processes": environment.processes or ""}
    place = {"platform": environment.platform, "device": environment.device, **counts}
    commit = {} if environment.git is None else {f"git {key}": value for key, value in flat(environment.git).items()}
    later = {
        f"{name} from update {continued.get('update')} on": value
        for continued in environment.continued
        for name, value in continued.items()
        if name != "update"
    }
    rows = [(name, text(value)) for name, value in {**found, **plugins, **place, **commit, **later}.items() if value != ""]
    return folded("What the run was made with", table("Versions and machine.", ("What", "Which"), rows))


def _reproduce(record: RunRecord) -> Html:
    commands = code("\n".join([_install(record), _run(record), *_evaluate(record)]), "Commands")
    file = "Save the recipe as it was given (under Settings) as recipe.toml; the repository has it where it is one that chainkit ships."
    made = record.environment.command
    asked = joined(element("p", "The command that made this run:"), code(shlex.join(made), "Command")) if made else Html()
    return joined(element("p", file), commands, asked, element("p", REPEAT))


def _install(record: RunRecord) -> str:
    environment = record.environment
    versions = {"chainkit": environment.chainkit, "torch": environment.torch.partition("+")[0], **environment.packages}
    for plugin in environment.plugins.values():
        distribution, _, version = plugin.partition(" ")
        versions.setdefault(distribution, version)
    return " ".join(["pip install", *[shlex.quote(f"{name}=={version}") for name, version in versions.items() if version]])


def _run(record: RunRecord) -> str:
    changes = [f"--set {shlex.quote(override)}" for override in record.environment.overrides]
    return " ".join(["chainkit run recipe.toml", *changes, f"--out {shlex.quote(str(record.path))}"])


def _evaluate(record: RunRecord) -> list[str]:
    """One command for each choice of examples."""
    chosen = dict.fromkeys((examples, split, seed) for examples, split, seed, _, _ in grounds(record.figures))
    path = shlex.quote(str(record.path))
    return [f"chainkit evaluate {path} --split {split} --examples {examples} --seed {seed}" for examples, split, seed in chosen]
