"""Runs beside each other: what differs, which figures are ranked, and which are not and why."""

from __future__ import annotations

import json
import math

import pytest

from chainkit.comparison import compare, flat
from chainkit.errors import CheckpointError, RecipeError
from chainkit.run_record import read_record


@pytest.fixture
def against(kept, estimate):
    """Compares runs a, b, ... by the figures of each."""

    def make(*figures):
        return compare([read_record(kept(name, *found)) for name, found in zip("abc", figures, strict=False)])

    return make


def marks(comparison):
    return [(entry.quantity.name, comparison.names[entry.run], entry.mark) for entry in comparison.entries]


def test_a_run_stands_with_its_figure_on_the_most_examples_not_with_its_luckiest(against, estimate):
    whole, lucky = estimate(-15.2, error_examples=0.1), estimate(-14.2, examples=10, seed=4, error_examples=0.1)
    assert [mark for *_, mark in marks(against([whole], [whole, lucky]))] == ["tied", "tied", ""]


def test_the_highest_likelihood_is_the_best_where_it_is_above_by_more_than_the_joint_error(against, estimate):
    comparison = against([estimate(10.0, 3.0)], [estimate(15.01, 4.0)])
    assert marks(comparison) == [("lower bound", "a", ""), ("lower bound", "b", "best")]
    assert comparison.refusals == ()


def test_differences_within_the_joint_error_are_ties(against, estimate):
    comparison = against([estimate(10.0, 3.0)], [estimate(14.99, 4.0)], [estimate(-10.0, 1.0)])
    assert [mark for *_, mark in marks(comparison)] == ["tied", "tied", ""]


def test_errors_over_walks_make_ties_too(against, estimate):
    comparison = against([estimate(10.0, 0.1, error_walks=0.8)], [estimate(11.0, 0.1, error_walks=0.7)])
    assert [mark for *_, mark in marks(comparison)] == ["tied", "tied"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"preparation": "binary: 1 where value / 17 exceeds 0.5", "bin_width": 1.0}, "prepared differently are different quantities"),
        ({"preparation": "scaled by 1/255, uniform noise of width 1/255"}, "prepared differently are different quantities"),
        ({"unit": "bits"}, "their units differ (nats; bits)"),
        ({"dim": 784}, "different numbers of elements (64; 784)"),
        ({"split": "train"}, "different splits (test; train)"),
        ({"meaning": "another"}, "different figures of one name"),
    ],
)
def test_figures_of_different_quantities_are_refused_with_the_reason(change, said, against, estimate):
    comparison = against([estimate(10.0)], [estimate(90.0, **change)])
    assert [mark for *_, mark in marks(comparison)] == ["", ""]
    (line,) = comparison.refusals
    assert line.startswith("lower bound: a not ranked against b: ")
    assert said in line


def test_runs_of_one_quantity_are_ranked_beside_one_of_another(against, estimate):
    comparison = against([estimate(10.0)], [estimate(20.0)], [estimate(-5.0, preparation="binary", bin_width=1.0)])
    assert [mark for *_, mark in marks(comparison)] == ["", "best", ""]
    (line,) = comparison.refusals
    assert line.startswith("lower bound: a, b not ranked against c: ")


def test_weighted_estimates_of_other_numbers_of_walks_are_refused_and_plain_means_are_not(against, estimate):
    weighted = against([estimate(10.0, effective=3.0)], [estimate(20.0, effective=3.0, walks=100)])
    assert [mark for *_, mark in marks(weighted)] == ["", ""]
    assert "rise with the number of walks (10; 100)" in weighted.refusals[0]


def test_means_of_other_numbers_of_walks_are_ranked(against, estimate):
    assert [mark for *_, mark in marks(against([estimate(10.0)], [estimate(20.0, walks=100)]))] == ["", "best"]


def test_data_of_another_law_is_refused_and_the_keys_are_named(kept, estimate):
    text = (kept("plain") / "resolved.toml").read_text()
    other = kept("other", estimate(20.0), recipe=text.replace("scale = 17", 'scale = 17\nnoise = 0.5\nlaw = { type = "swiss" }'))
    comparison = compare([read_record(kept("one", estimate(10.0))), read_record(other)])
    assert comparison.refusals == ("lower bound: one not ranked against other: they are of different data (data.law.type, data.noise)",)


def with_fingerprint(run, data, **changes):
    """A run whose figures know their data, with other settings of it."""
    path = run / "evaluation.json"
    path.write_text(json.dumps([{**figure, "data": data} for figure in json.loads(path.read_text())]))
    text = (run / "resolved.toml").read_text()
    for key, value in changes.items():
        text = text.replace("scale = 17", f"scale = 17\n{key} = {json.dumps(value)}")
    (run / "resolved.toml").write_text(text)
    return read_record(run)


def test_data_is_told_apart_by_its_values_where_they_are_known_and_not_by_where_it_lies(kept, estimate):
    one = with_fingerprint(kept("one", estimate(10.0)), "f00d", root="/here")
    same = with_fingerprint(kept("same", estimate(20.0)), "f00d", root="/there")
    changed = with_fingerprint(kept("changed", estimate(30.0)), "beef", root="/here")
    assert [mark for *_, mark in marks(compare([one, same]))] == ["", "best"]
    assert compare([one, same]).settings[0].key == "data.root"
    assert compare([one, changed]).refusals == (
        "lower bound: one not ranked against changed: they are of different data (of the same settings, but other values)",
    )
    assert "(data.root)" in compare([same, changed]).refusals[0]


def test_without_an_error_over_examples_only_the_same_examples_compare(against, estimate):
    comparison = against([estimate(10.0, None, error_walks=0.1)], [estimate(20.0, None, error_walks=0.1, seed=3)])
    assert "of equal number and seed" in comparison.refusals[0]


def test_figures_without_an_error_or_a_known_direction_are_not_ranked(against, estimate):
    gap = {"name": "prior gap", "likelihood": False}
    bare = {"name": "exact", "examples": 5}
    comparison = against(*[[estimate(v, **gap), estimate(v, None, **bare)] for v in (1.0, 9.0)])
    assert {mark for *_, mark in marks(comparison)} == {""}
    assert [line.partition(":")[0] for line in comparison.refusals] == ["prior gap", "exact"]


DISTANCE = {"name": "squared MMD", "likelihood": False, "lower_is_better": True, "walks": 0}


def test_the_lowest_is_the_best_of_figures_of_which_lower_is_better(against, estimate):
    pixels, features = ({**DISTANCE, "meaning": f"on {name}"} for name in ("pixels", "features"))
    comparison = against(
        [estimate(5.0, 0.3, **pixels), estimate(5.0, 0.3, **features)],
        [estimate(4.0, 0.4, **pixels), estimate(4.0, 0.4, **features)],
        [estimate(4.4, 0.4, **pixels)],
    )
    assert [mark for *_, mark in marks(comparison)] == ["", "tied", "tied", "", "best"]
    assert comparison.refusals == ()


def asking(run, *asked):
    """A run whose figures were asked for with these settings."""
    path = run / "evaluation.json"
    pairs = zip(json.loads(path.read_text()), asked, strict=True)
    path.write_text(json.dumps([{**figure, "asked": settings} for figure, settings in pairs]))
    return read_record(run)


def test_figures_that_are_no_likelihoods_are_ranked_where_their_settings_are_the_same(kept, estimate):
    figures = [estimate(5.0, 0.3, **DISTANCE), estimate(4.0, 0.3, **DISTANCE)]
    settings = [{"type": "mmd", "samples": 200, "max_rows": 7}, {"type": "mmd", "samples": 50}]
    both = asking(kept("both", *figures), *settings)
    few = asking(kept("few", estimate(1.0, 0.3, **DISTANCE)), {"type": "mmd", "samples": 50, "max_rows": 9})
    comparison = compare([both, few])
    assert [(entry.settings, entry.mark) for entry in comparison.entries] == [
        ("samples = 200", ""),
        ("samples = 50", ""),
        ("samples = 50", "best"),
    ]
    assert comparison.refusals == ()
    other = asking(kept("other", estimate(1.0, 0.3, **DISTANCE)), {"type": "mmd", "samples": 51})
    assert compare([few, other]).refusals == (
        "squared MMD: few not ranked against other: their settings differ, and only likelihoods do not depend on them (samples 50; 51)",
    )


def test_a_figure_that_was_written_without_a_direction_is_read(kept, estimate):
    run = kept("old", estimate(10.0))
    path = run / "evaluation.json"
    path.write_text(json.dumps([{key: value for key, value in json.loads(path.read_text())[0].items() if key != "lower_is_better"}]))
    assert read_record(run).figures[0].estimate == estimate(10.0)


def test_several_figures_of_one_name_are_ranked_each_with_its_like(against, estimate):
    comparison = against(*[[estimate(v), estimate(-v, split="train")] for v in (10.0, 20.0)])
    assert [(entry.figure.estimate.split, entry.run, entry.mark) for entry in comparison.entries] == [
        ("test", 0, ""),
        ("test", 1, "best"),
        ("train", 0, "best"),
        ("train", 1, ""),
    ]
    assert comparison.refusals == ()


def test_one_run_is_not_ranked_against_itself(kept, estimate):
    comparison = compare([read_record(kept("a", estimate(1.0), estimate(9.0, seed=1))), read_record(kept("b"))])
    assert {entry.mark for entry in comparison.entries} == {""}


def test_settings_and_versions_that_differ_are_listed_by_dotted_key(kept):
    text = (kept("plain") / "resolved.toml").read_text()
    evaluated = '[evaluate]\nestimators = [{ type = "lower-bound", walks = 5 }]\n'
    one = kept("one", environment={"torch": "2.10.0", "plugins": {"figures": "chainkit 0.1.0"}, "command": ["a"]})
    two = kept("two", recipe=text.replace("steps = 3", "steps = 9") + evaluated, environment={"torch": "2.11.0", "command": ["b"]})
    comparison = compare([read_record(one), read_record(two)])
    assert [(row.key, row.values) for row in comparison.settings] == [
        ("chain.steps", (3, 9)),
        ("evaluate.estimators.0.type", (None, "lower-bound")),
        ("evaluate.estimators.0.walks", (None, 5)),
    ]
    assert [(row.key, row.values) for row in comparison.environment] == [
        ("torch", ("2.10.0", "2.11.0")),
        ("plugins.figures", ("chainkit 0.1.0", None)),
    ]


def test_nested_tables_become_dotted_keys():
    assert flat({"a": {"b": 1, "c": [1, 2]}, "d": [{"e": 2}, 3]}) == {"a.b": 1, "a.c": [1, 2], "d.0.e": 2, "d.1": 3}


def test_runs_of_one_name_are_called_by_their_paths(kept):
    one, two = kept("x/run"), kept("y/run")
    assert compare([read_record(one), read_record(two)]).names == (str(one), str(two))


def test_a_run_is_not_compared_with_itself_or_with_nothing(kept):
    run = read_record(kept("a"))
    for runs in ([run], [run, run]):
        with pytest.raises(RecipeError, match="two or more runs"):
            compare(runs)


def test_a_run_that_has_not_ended_is_read_too(kept):
    folder = kept("young")
    (folder / "final" / "state.json").unlink()
    (folder / "evaluation.json").unlink()
    (folder / "environment.json").unlink()
    record = read_record(folder)
    assert record.figures == ()
    assert record.words == "3 steps of infusion-gaussian on digits, process infusion, objective denoising; training has not ended"


@pytest.mark.parametrize(
    "files",
    [
        {"evaluation.json": "[{"},
        {"evaluation.json": '[{"name": "bound"}]'},
        {"evaluation.json": "[7]"},
        {"environment.json": "[]"},
        {"environment.json": '{"overrides": 3}'},
        {"final/state.json": "{}"},
        {"metrics.jsonl": '{"update": 1}\n{"upd'},
        {"metrics.jsonl": "7"},
        {"resolved.toml": "title = "},
        {"resolved.toml": 'title = "no chain"'},
        {"evaluation.json": '{"a": 1}'},
        {"resolved.toml": "chain = 3\ndata = 4\nprocess = 5\nobjective = 6"},
    ],
)
def test_a_damaged_run_is_an_error_that_names_it(files, kept):
    folder = kept("bad", **files)
    with pytest.raises(CheckpointError, match=str(folder)):
        read_record(folder)


def test_a_figure_that_is_no_number_is_damage(kept, estimate):
    with pytest.raises(CheckpointError, match="the estimate on test is nan"):
        read_record(kept("bad", estimate(math.nan)))


def test_a_record_is_readable_as_it_is_printed(kept, estimate):
    folder = kept("run", estimate(-12.5, 0.25))
    assert repr(read_record(folder)).splitlines() == [
        f"Run {folder}: Kept",
        "  3 steps of infusion-gaussian on digits, process infusion, objective denoising; weights of update 60, 2 epochs",
        "  lower bound: -12.50 nats ± 0.25 (examples); 4.369 bits/dim",
    ]


def test_another_folder_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match="not a run directory"):
        read_record(tmp_path)
