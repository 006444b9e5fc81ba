"""``chainkit evaluate``: the same figures twice, within their errors with another seed, and the same after a stop."""

from __future__ import annotations

import json
import os
import shutil
import signal

import attrs
import pytest
import torch

import chainkit
from chainkit import log_weight, run
from chainkit.cli import main
from chainkit.errors import DataError, Interrupted, NonFiniteError, RecipeError, RunBusyError
from chainkit.evaluation import from_json, read_evaluation, to_json
from chainkit.host import load_plugins
from chainkit.interrupt import handling_signals, poll
from chainkit.reporting import Reporter
from chainkit.saving import load_final
from chainkit.session import Session, new_run
from chainkit_estimators import samples
from chainkit_estimators.mmd import Mmd

RECIPE = """
device = "cpu"
data = { type = "grid-3x3", n = 300 }
objective = { type = "lower-bound" }
train = { epochs = 1, batch_size = 50, optimizer = { type = "adam", lr = 0.01 } }
sample = { n = 4 }
[evaluate]
examples = 40
estimators = [{ type = "importance", walks = 30 }, { type = "mmd", samples = 60 }, { type = "lower-bound", walks = 4 }]
[chain]
steps = 3
prior = { type = "gaussian" }
[chain.operator]
type = "infusion-gaussian"
mean = "linear"
network = { type = "mlp", hidden = [8] }
[process]
type = "infusion"
rate = { type = "increasing", omega = 0.1 }
"""


class Quiet(Reporter):
    def say(self, line):
        pass


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "recipe.toml").write_text(RECIPE)
    made = new_run(folder / "recipe.toml", folder / "run", load_plugins(), reporter=Quiet())
    Session(made).complete()
    return made.path


@pytest.fixture
def opened(path):
    return chainkit.open_run(path, reporter=Quiet())


def evaluate(capsys, path, *arguments):
    code = main(["evaluate", str(path), "--json", *arguments])
    return code, capsys.readouterr()


def figures(capsys, path, *arguments):
    code, output = evaluate(capsys, path, *arguments)
    assert code == 0, output.err
    return json.loads(output.out)


def test_one_seed_gives_the_same_numbers_twice_and_another_numbers_within_the_error(path, capsys):
    first, again, other = (figures(capsys, path, "--examples", "200", "--seed", seed) for seed in ("1", "1", "2"))
    assert first == again
    for one, two in zip(first, other, strict=True):
        assert one["value"] != two["value"]
        assert abs(one["value"] - two["value"]) < 4 * (one["error"] ** 2 + two["error"] ** 2) ** 0.5


def test_a_figure_says_whether_lower_is_better(path, capsys):
    lower = '{ type = "prior-gap" }', '{ type = "copying", samples = 10 }', '{ type = "frechet", samples = 20, features = "pixels" }', "mmd"
    higher = '{ type = "neighbours", samples = 20 }', "lower-bound"
    asked = [word for estimator in (*lower, *higher) for word in ("--estimator", estimator)]
    assert [figure["lower_is_better"] for figure in figures(capsys, path, *asked)] == [True] * len(lower) + [False] * len(higher)


def test_no_figure_depends_on_the_rows_in_memory(path, capsys):
    whole, few = figures(capsys, path), figures(capsys, path, "--max-rows", "7")
    for one, two in zip(whole, few, strict=True):
        assert two["value"] == pytest.approx(one["value"], rel=1e-6)


def test_estimators_are_named_or_written_as_tables(path, capsys):
    arguments = ["--estimator", '{ type = "isotropic", variance = 0.2, estimator = "lower-bound" }', "--estimator", "lower-bound"]
    isotropic, plain = figures(capsys, path, *arguments, "--walks", "3")
    assert (isotropic["name"], isotropic["walks"], isotropic["details"]["variance"]) == ("lower bound, isotropic output", 3, 0.2)
    assert (plain["name"], plain["walks"]) == ("lower bound", 3)


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        ('{ type = "mmd", samples = 1 }', "--estimator.samples: must be 3 or more, not 1"),
        ("{ type = }", "--estimator: "),
        ("lower-bond", "lower-bound"),
        ("7", "--estimator"),
    ],
)
def test_an_estimator_that_cannot_be_used_is_said(path, capsys, estimator, said):
    code, output = evaluate(capsys, path, "--estimator", estimator)
    assert code == RecipeError.exit_code
    assert said in output.err
    assert "Traceback" not in output.err


@pytest.mark.parametrize("estimator", ["raise", "ais", "bidirectional", "enumerated", '{ type = "isotropic", estimator = "raise" }'])
def test_an_estimator_that_does_not_fit_the_run_is_refused_as_in_a_recipe(path, capsys, estimator):
    code, output = evaluate(capsys, path, "--estimator", estimator)
    assert code == RecipeError.exit_code
    assert output.out == ""
    (line,) = [line for line in output.err.splitlines() if line.startswith("chainkit: error: ")]
    assert line.startswith("chainkit: error: --estimator")


@pytest.mark.parametrize("error", [NonFiniteError("squared MMD: the estimate on test is nan of 10"), ZeroDivisionError("division by zero")])
def test_figures_that_there_are_are_shown_where_a_later_one_fails(path, capsys, monkeypatch, tmp_path, error):
    path = shutil.copytree(path, tmp_path / "run")  # what is kept of a failed evaluation stays

    def fails(self, chain, process, examples):
        raise error

    monkeypatch.setattr(Mmd, "estimate", fails)
    code, output = evaluate(capsys, path, "--estimator", "lower-bound", "--estimator", "mmd", "--estimator", "importance")
    assert code == getattr(error, "exit_code", 1)
    assert [figure["name"] for figure in json.loads(output.out)] == ["lower bound"]
    assert str(error) in output.err
    assert main(["resume", str(path)]) == code
    output = capsys.readouterr()
    assert [line.split("  ")[1] for line in output.out.splitlines()[1:] if line.startswith("  importance")] == ["importance sampling"]
    assert "lower bound" not in output.out


class Stops:
    """Sends SIGINT when a function of a module is called for the n-th time."""

    def __init__(self, monkeypatch, module, name, at):
        self.calls, self.at, self.function = 0, at, getattr(module, name)
        monkeypatch.setattr(module, name, self)

    def __call__(self, *arguments, **settings):
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGINT)
            poll()
        return self.function(*arguments, **settings)


def parts(host):
    importance = host.part("estimator", "importance", walks=600, max_rows=2000)
    return [host.part("estimator", "lower-bound", walks=3), importance, host.part("estimator", "copying", samples=30)]


BLOCKS = 1 + 5 * 3
"""Of walks: one for the bound, three for each of five batches of the importance estimate."""


@pytest.mark.parametrize("at", [1, 2, 9, BLOCKS])
def test_a_stopped_evaluation_goes_on_where_it_stopped_and_gives_the_same_numbers(opened, monkeypatch, at):
    expected = opened.evaluate(parts(opened.host), seed=5)
    with monkeypatch.context() as patched:
        Stops(patched, log_weight, "_block", at)
        with handling_signals(), pytest.raises(Interrupted):
            opened.evaluate(parts(opened.host), seed=5)
    counted = Stops(monkeypatch, log_weight, "_block", 0)
    assert opened.evaluate(parts(opened.host), seed=5) == expected
    assert counted.calls == BLOCKS - (at - 1)
    assert not opened.directory.evaluating.exists()


@pytest.mark.parametrize("damage", [b"", b'{"name": "lower bound"', b'{"name": 1}', b"[]", b"\xff"])
def test_a_kept_figure_that_was_damaged_is_worked_out_again(opened, monkeypatch, damage):
    expected = opened.evaluate(parts(opened.host), seed=5)
    with monkeypatch.context() as patched:
        Stops(patched, log_weight, "_block", 2)
        with handling_signals(), pytest.raises(Interrupted):
            opened.evaluate(parts(opened.host), seed=5)
    [kept] = opened.directory.evaluating.glob("*/estimate.json")
    kept.write_bytes(damage)
    assert opened.evaluate(parts(opened.host), seed=5) == expected


def test_samples_that_were_drawn_are_not_drawn_again(opened, monkeypatch):
    copying = [opened.host.part("estimator", "copying", samples=1100)]
    expected = opened.evaluate(copying, seed=5)
    with monkeypatch.context() as patched:
        Stops(patched, samples, "_block", 3)
        with handling_signals(), pytest.raises(Interrupted):
            opened.evaluate(copying, seed=5)
    counted = Stops(monkeypatch, samples, "_block", 0)
    assert opened.evaluate(copying, seed=5) == expected
    assert counted.calls == 1


def test_what_was_kept_is_not_taken_for_another_evaluation(opened, monkeypatch):
    with monkeypatch.context() as patched:
        Stops(patched, log_weight, "_block", 3)
        with handling_signals(), pytest.raises(Interrupted):
            opened.evaluate(parts(opened.host), seed=5)
    kept = sorted(opened.directory.evaluating.iterdir())
    counted = Stops(monkeypatch, log_weight, "_block", 0)
    opened.evaluate(parts(opened.host)[:1], seed=6)
    opened.evaluate([opened.host.part("estimator", "lower-bound", walks=2)], seed=5)
    with torch.no_grad():
        next(opened.model.parameters()).add_(0.01)
    opened.evaluate(parts(opened.host)[:1], seed=5)
    assert counted.calls == 3
    assert sorted(opened.directory.evaluating.iterdir()) == kept
    load_final(opened)
    opened.evaluate(parts(opened.host), seed=5)


@pytest.mark.parametrize("split", ["test", "train"])
def test_what_was_kept_is_not_taken_for_a_figure_of_other_data(path, split, monkeypatch):
    """As when a file of examples is corrected before the evaluation goes on."""
    first, second = (chainkit.open_run(path, reporter=Quiet()) for _ in range(2))
    values = second.data.splits[split].values
    second.data.splits[split] = attrs.evolve(second.data.splits[split], values=values + 1)
    expected = second.evaluate(parts(second.host), seed=7)
    with monkeypatch.context() as patched:
        Stops(patched, log_weight, "_block", 2)
        with handling_signals(), pytest.raises(Interrupted):
            first.evaluate(parts(first.host), seed=7)
    assert second.evaluate(parts(second.host), seed=7) == expected
    first.evaluate(parts(first.host), seed=7)
    assert not first.directory.evaluating.exists()


def test_every_split_is_read_once_for_its_fingerprint(opened, monkeypatch):
    asked = []
    monkeypatch.setattr(run, "fingerprint", lambda data, split: asked.append(split) or split)
    opened.evaluate(split="train")
    opened.evaluate(split="test")
    assert sorted(asked) == ["test", "train", "train"]


def test_nothing_is_asked_of_a_run_that_another_holds(opened):
    before = opened.directory.evaluation.read_text()
    with opened.directory.locked(), pytest.raises(RunBusyError):
        opened.evaluate()
    assert opened.directory.evaluation.read_text() == before
    with opened.held(), opened.held():
        assert len(opened.evaluate()) == 3
        with pytest.raises(RunBusyError), opened.directory.locked():
            pass
    with opened.directory.locked():
        pass


def test_no_number_stands_for_the_number_of_the_recipe(opened):
    for given in ({"n": 0}, {"n": 2, "steps": 0}):
        with pytest.raises(ValueError, match=r"at least one .*, not 0"):
            opened.sample(**given)
    with pytest.raises(ValueError, match="at least one example is estimated on, not 0"):
        opened.evaluate(examples=0)
    with pytest.raises(DataError, match="has no  split"):
        opened.evaluate(split="")


def test_a_figure_asked_for_otherwise_stands_beside_and_the_same_one_in_its_place(opened):
    def written():
        return [record["asked"] for record in read_evaluation(opened.directory.evaluation)]

    part, before = opened.host.part, written()
    more = [part("estimator", "mmd", samples=60, bandwidths=[width]) for width in (0.5, 2.0)]
    opened.evaluate([*more, part("estimator", "lower-bound", walks=4, max_rows=7)])
    assert [asked["type"] for asked in written()] == [*(asked["type"] for asked in before), "mmd", "mmd"]
    assert [asked["bandwidths"] for asked in written()[-2:]] == [[0.5], [2.0]]
    assert 7 in [asked.get("max_rows") for asked in written()]


def test_a_figure_that_was_written_reads_back(opened):
    for estimate in opened.evaluate():
        assert from_json(json.loads(json.dumps(to_json(estimate, "")))) == estimate


def test_curves_are_drawn_beside_the_samples(path, capsys):
    figures(capsys, path)
    drawn = {picture.name for picture in (path / "pictures").iterdir()}
    assert {"walks.png", "steps.png", "bandwidths.png", "samples.png"} <= drawn
