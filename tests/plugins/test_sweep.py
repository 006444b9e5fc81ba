"""Sweeps: the grid and its names, plans, statistics over seeds, pictures, and runs that fail, stop and go on."""

from __future__ import annotations

import csv
import json
import shlex
import signal
import subprocess
import sys
import time

import attrs
import pytest
from PIL import Image

from chainkit.cli import main
from chainkit.errors import CheckpointError, Interrupted, RecipeError
from chainkit.interrupt import handling_signals
from chainkit_sweep.drawing import drawn
from chainkit_sweep.grid import Axis, points, read_axis
from chainkit_sweep.jobs import Job, run_jobs, threads
from chainkit_sweep.plan import Sweep, read_sweep
from chainkit_sweep.results import collected
from chainkit_sweep.tables import as_csv, as_markdown
from chainkit_sweep.work import _last_line

TINY = """
title = "Tiny"
device = "cpu"
[data]
type = "grid-3x3"
n = 200
[chain]
steps = 2
prior = { type = "gaussian" }
[chain.operator]
type = "infusion-gaussian"
mean = "linear"
network = { type = "mlp", hidden = [4] }
[process]
type = "infusion"
[objective]
type = "denoising"
[train]
epochs = 2
batch_size = 50
optimizer = { type = "adam", lr = 0.01 }
[sample]
n = 4
[evaluate]
examples = 6
estimators = [{ type = "lower-bound", walks = 2 }]
"""
NEVER = "1e38"
"""A learning rate that no training survives."""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def swept(tmp_path, kept, estimate):
    """A sweep whose runs are written by hand: figures by chain length, rate and seed; None where a run has none."""

    def write(values, *axes, seeds=(0,), **fields):
        axes = axes or (Axis(key="chain.steps", values=("1", "5")), Axis(key="process.rate.omega", values=("0", "0.1")))
        made = Sweep(recipe="dots", text="", overrides=(), axes=axes, seeds=seeds, folder=tmp_path)
        recipe = TINY.replace("examples = 6", 'examples = 6\nsplit = "test"')
        for point, value in zip(made.points, values, strict=True):
            found = [] if value is None else [attrs.evolve(estimate(0.0), value=value, error_walks=0.5, **fields)]
            kept(point.name, *found, recipe=recipe)
        return made

    return write


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("chain.steps=1", ("1",)),
        ("chain.steps = 1, 5,15", ("1", "5", "15")),
        ("data.type=digits,mnist", ("digits", "mnist")),
        ('data.type="a,b",c', ('"a,b"', "c")),
        ("hidden=[64],[64,64],[]", ("[64]", "[64,64]", "[]")),
        (
            'rate={ type = "increasing", omega = 0.1 },{ type = "constant" }',
            ('{ type = "increasing", omega = 0.1 }', '{ type = "constant" }'),
        ),
    ],
)
def test_values_are_parted_by_commas_outside_of_brackets_and_quotes(text, values):
    assert read_axis(text).values == values


@pytest.mark.parametrize("text", ["chain.steps", "=1,2", "chain..steps=1", "a=", "a=1,,2", "a=1,", "a=[1,2", "a=1,2,1.0", 'a="x,y'])
def test_a_grid_that_cannot_be_read_is_refused_by_its_text(text):
    with pytest.raises(RecipeError, match="--grid") as refused:
        read_axis(text)
    assert str(refused.value).startswith(f"--grid {text}: ")


def test_a_key_is_an_axis_of_numbers_only_if_all_values_are():
    assert read_axis("a=1,0.5,1e-3").numbers == [1, 0.5, 0.001]
    assert read_axis("a=1,word").numbers is None
    assert read_axis("a=true,false").numbers is None


def test_runs_are_named_by_settings_and_seed():
    axes = [read_axis("chain.steps=1,5"), read_axis("process.rate.omega=0.1")]
    assert [point.name for point in points(axes, [3, 4])] == [f"steps={k}_omega=0.1_seed={seed}" for k in (1, 5) for seed in (3, 4)]
    assert points(axes, [3])[1].overrides == ["chain.steps=5", "process.rate.omega=0.1", "seed=3"]
    same = [read_axis("chain.operator.type=a"), read_axis("process.type=b")]
    assert [point.name for point in points(same, [0])] == ["chain.operator.type=a_process.type=b_seed=0"]


def test_names_of_runs_differ_where_values_do_and_are_names_of_files():
    axis = read_axis('a=[1,2],"[1-2]","[1 2]",x/y,x-y,' + "z" * 80 + "," + "z" * 81)
    names = [point.name for point in points([axis], [0])]
    assert len(set(names)) == len(axis.values)
    assert not any(set(name) & set('/ []"') for name in names)
    assert max(map(len, names)) < 70
    assert names[4] == "a=x-y_seed=0"


def test_a_plan_is_the_commands_that_would_be_run(tiny, tmp_path, capsys):
    out = tmp_path / "all"
    words = [str(tiny), "--grid", "chain.steps=1,2", "--set", 'train.optimizer.type="adam"', "--seeds", "2", "--out", str(out)]
    assert main(["sweep", *words, "--plan"]) == 0
    captured = capsys.readouterr()
    commands = [shlex.split(line) for line in captured.out.splitlines()]
    assert len(commands) == 4
    sets = ["--set", 'train.optimizer.type="adam"', "--set", "chain.steps=1", "--set", "seed=1"]
    assert commands[1] == ["chainkit", "run", str(tiny), *sets, "--out", str(out / "steps=1_seed=1")]
    assert "4 of 4 runs to do" in captured.err
    assert not out.exists()
    assert main(["sweep", *words, "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [row["command"] for row in plan] == commands
    assert plan[3] == {
        "run": str(out / "steps=2_seed=1"),
        "settings": {"chain.steps": "2"},
        "seed": 1,
        "state": "new",
        "command": commands[3],
    }


def test_seeds_are_counted_from_that_of_the_recipe(tiny, capsys):
    assert main(["sweep", str(tiny), "--set", "seed=7", "--seeds", "2", "--plan", "--json"]) == 0
    assert [row["seed"] for row in json.loads(capsys.readouterr().out)] == [7, 8]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--grid", "chain.steps=1,0,-1"], ["chain.steps: must be 1 or more, not 0 (at chain.steps=0)", "not -1 (at chain.steps=-1)"]),
        (["--grid", "chain.steps=1,2", "--set", "train.epoch=3"], ["train.epoch: is an unknown key; did you mean 'epochs'?"]),
        (["--grid", "chain.steps=1", "--grid", "chain.steps=2"], ["--grid chain.steps: is set twice"]),
        (["--grid", "chain.steps=1", "--set", "chain.steps=2"], ["--grid chain.steps: is set twice"]),
        (["--grid", "seed=1,2"], ["--grid seed: training seeds are asked for by --seeds"]),
    ],
)
def test_all_points_are_checked_before_any_starts(tiny, tmp_path, capsys, words, said):
    assert main(["sweep", str(tiny), *words, "--out", str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(said)
    assert all(line.endswith(end) for line, end in zip(lines, said, strict=True))
    assert not (tmp_path / "out").exists()


def test_planning_imports_no_torch(tiny):
    program = "import sys; from chainkit.cli import main; main(sys.argv[1:]); print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    words = ["sweep", str(tiny), "--grid", "chain.steps=1,2", "--plan"]
    result = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_mean_and_the_errors_over_seeds_are_those_worked_out_by_hand(swept):
    sweep = swept([1.0, 2.0, 6.0, 4.0, 4.0, 4.0], Axis(key="chain.steps", values=("1", "5")), seeds=(0, 1, 2), error_examples=2.0)
    [figure] = collected(sweep)
    first, second = figure.cells
    assert (first.mean, second.mean) == (3.0, 4.0)
    assert first.error_seeds == pytest.approx((14 / 6) ** 0.5)  # (4 + 1 + 9) / (3 * 2)
    assert second.error_seeds == 0
    assert (first.error_examples, first.error_walks) == (2.0, 0.5)
    assert figure.best is second


def test_one_seed_has_no_error_over_seeds(swept):
    [figure] = collected(swept([1.0, 2.0, 3.0, None], error_examples=1.2))
    assert [cell.error_seeds for cell in figure.cells] == [None] * 4
    assert figure.cells[0].error == pytest.approx(1.3)
    assert (figure.cells[3].mean, figure.cells[3].seeds, figure.cells[3].error) == (None, (), None)


def test_seeds_that_are_missing_are_left_out_of_the_mean(swept):
    [figure] = collected(swept([1.0, None, 3.0, 5.0], Axis(key="chain.steps", values=("1", "5")), seeds=(0, 1)))
    assert [(cell.seeds, cell.mean) for cell in figure.cells] == [((0,), 1.0), ((0, 1), 4.0)]


def test_no_setting_is_the_best_of_figures_that_are_no_likelihoods_or_that_do_not_compare(swept):
    sweep = swept([1.0, 2.0, 3.0, 4.0])
    [figure] = collected(sweep)
    assert figure.comparable
    assert figure.best is figure.cells[3]
    record = sweep.directory(sweep.points[0]) / "resolved.toml"
    record.write_text(record.read_text().replace("n = 200", "n = 300"))
    [figure] = collected(sweep)
    assert not figure.comparable
    assert figure.best is None
    assert drawn(sweep, figure) is None
    assert "do not compare" in as_markdown(sweep, [figure])


def test_figures_of_another_kind_are_not_ranked(swept):
    sweep = swept([1.0, 2.0, 3.0, 4.0], likelihood=False)
    [figure] = collected(sweep)
    assert figure.best is None
    assert "**" not in as_markdown(sweep, [figure])


def test_the_lowest_is_the_best_where_lower_is_better(swept):
    sweep = swept([4.0, 2.0, 3.0, None], likelihood=False, lower_is_better=True)
    [figure] = collected(sweep)
    assert figure.best is figure.cells[1]
    picture = drawn(sweep, figure)
    assert [round(frame.get_y() + 0.46) for frame in picture.axes[0].patches] == [1, 0]
    assert "the lowest is 2.00" in picture.words


def test_no_setting_is_the_best_where_all_are_the_same(swept):
    [figure] = collected(swept([1.0, 1.0, 1.0, 1.0]))
    assert figure.best is None


def test_tables_hold_every_figure_at_every_setting(swept):
    sweep = swept([1.0, 2.0, 3.0, None], error_examples=0.25)
    figures = collected(sweep)
    head, *rows = csv.reader(as_csv(sweep, figures).splitlines())
    errors = ["error_seeds", "error_examples", "error_walks"]
    assert head == ["chain.steps", "process.rate.omega", "figure", "unit", "seeds", "mean", *errors]
    assert rows[1] == ["1", "0.1", "lower bound", "nats", "1", "2.0", "", "0.25", "0.5"]
    assert rows[3] == ["5", "0.1", "lower bound", "nats", "0", "", "", "", ""]
    text = as_markdown(sweep, figures)
    assert "| 5 | 0 | **3.00** | – | 0.25 | 0.50 | 1 |" in text
    assert "| 5 | 0.1 | – | – | – | – | 0 |" in text


def test_two_keys_make_a_heat_map_with_the_best_of_each_column_framed(swept):
    sweep = swept([1.0, 2.0, 30.0, None])
    picture = drawn(sweep, *collected(sweep))
    axes = picture.axes[0]
    assert axes.images[0].get_array().filled(-1).tolist() == [[1, 30], [2, -1]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("chain.steps", "process.rate.omega")
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "1.00\n± 1.12", (0, 1): "2.00\n± 1.12", (1, 0): "30.00\n± 1.12", (1, 1): "not\nfinished"}
    assert [(frame.get_x() + 0.47, round(frame.get_y() + 0.46)) for frame in axes.patches] == [(0, 1), (1, 0)]
    assert "the highest is 30.00 at chain.steps = 5, process.rate.omega = 0." in picture.words


def test_one_key_makes_a_line_with_the_errors_over_seeds_as_bars(swept):
    sweep = swept([1.0, 3.0, 4.0, 4.0, 5.0, 9.0], Axis(key="chain.steps", values=("1", "5", "15")), seeds=(0, 1))
    axes = drawn(sweep, *collected(sweep)).axes[0]
    mean, seeds = axes.lines[0], axes.lines[-1]
    assert mean.get_xydata().tolist() == [[1, 2], [5, 4], [15, 7]]
    assert seeds.get_xydata().tolist() == [[1, 1], [1, 3], [5, 4], [5, 4], [15, 5], [15, 9]]
    assert [bar[:, 1].tolist() for bar in axes.collections[0].get_segments()] == [[1, 3], [4, 4], [5, 9]]


def test_values_that_are_words_stand_on_the_axis_in_their_order(swept):
    sweep = swept([1.0, 2.0], Axis(key="chain.operator.type", values=("one", "another")))
    axes = drawn(sweep, *collected(sweep)).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["one", "another"]


def test_a_grid_of_three_keys_has_no_picture(swept):
    axes = [Axis(key=f"chain.{key}", values=("1",)) for key in "abc"]
    sweep = swept([1.0], *axes)
    assert drawn(sweep, *collected(sweep)) is None


def test_a_figure_with_other_numbers_of_walks_is_another_figure(swept, estimate):
    sweep = swept([1.0, 2.0], Axis(key="chain.steps", values=("1", "5")))
    path = sweep.directory(sweep.points[1]) / "evaluation.json"
    more = [{**figure, "walks": 1000, "value": 7.0} for figure in json.loads(path.read_text())]
    path.write_text(json.dumps([*json.loads(path.read_text()), *more]))
    assert [(figure.label, figure.cells[1].mean) for figure in collected(sweep)] == [
        ("lower bound, 10 walks", 2.0),
        ("lower bound, 1000 walks", 7.0),
    ]


def test_a_figure_with_other_settings_is_another_figure(swept):
    sweep = swept([1.0, 2.0], Axis(key="chain.steps", values=("1", "5")), likelihood=False)
    for point in sweep.points:
        path = sweep.directory(point) / "evaluation.json"
        [first] = json.loads(path.read_text())
        asked = [{"type": "mmd", "features": features, "max_rows": 100 + point.seed} for features in ("pixels", "classifier")]
        records = [{**first, "value": first["value"] + 10 * place, "asked": settings} for place, settings in enumerate(asked)]
        path.write_text(json.dumps(records))
    assert [(figure.label, [cell.mean for cell in figure.cells]) for figure in collected(sweep)] == [
        ('lower bound, features = "pixels"', [1.0, 2.0]),
        ('lower bound, features = "classifier"', [11.0, 12.0]),
    ]


def test_a_run_is_finished_when_it_has_final_weights_and_all_figures(swept):
    sweep = swept([1.0, None, 3.0, 4.0])
    (sweep.directory(sweep.points[2]) / "final" / "state.json").unlink()
    (sweep.directory(sweep.points[3]) / "evaluation.json").write_text("[{")
    assert [sweep.state(point) for point in sweep.points] == ["finished", "begun", "begun", "begun"]
    assert sweep.command(sweep.points[1]) == ["resume", str(sweep.directory(sweep.points[1]))]


def test_a_sweep_is_read_as_it_was_written(swept):
    sweep = swept([1.0, 2.0, 3.0, 4.0])
    sweep.write()
    assert read_sweep(sweep.folder) == sweep


@pytest.mark.parametrize("text", [None, "{", "[]", '{"grid": {"a": 1}}'])
def test_a_sweep_that_is_absent_or_damaged_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        read_sweep(tmp_path)


def test_a_directory_takes_more_values_of_its_own_sweep_and_no_other(tiny, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    axes = (read_axis("chain.steps=1,2"),)
    Sweep(recipe=str(tiny), text=TINY, overrides=("train.epochs=1",), axes=axes, seeds=(0,), folder=out).write()
    words = ["sweep", str(tiny), "--plan", "--out", str(out), "--set"]
    assert main([*words, "train.epochs=1", "--grid", "chain.steps=2,3", "--seeds", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert main([*words, "train.epochs=2", "--grid", "process.variance=0.1"]) == 2
    assert "holds a sweep with other settings and keys; choose another --out" in capsys.readouterr().err
    tiny.write_text(TINY.replace("Tiny", "Other"))
    assert main([*words, "train.epochs=1", "--grid", "chain.steps=2,3"]) == 2
    assert "holds a sweep with other recipe" in capsys.readouterr().err


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert [threads(jobs) for jobs in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]


def test_jobs_run_side_by_side_and_every_exit_code_is_told(tmp_path):
    jobs = [
        Job(name=name, words=words, log=tmp_path / "logs" / name) for name, words in {"good": ["--version"], "bad": ["nothing"]}.items()
    ]
    ended = {}
    run_jobs(jobs, 2, lambda job, code: ended.update({job.name: code}))
    assert ended == {"good": 0, "bad": 2}
    assert (tmp_path / "logs" / "good").read_text().startswith("chainkit ")
    assert "No such command" in _last_line(tmp_path / "logs" / "bad")


def test_a_signal_stops_the_jobs_that_run_and_starts_no_other(tmp_path):
    ended = []
    jobs = [Job(name=str(number), words=["--version"], log=tmp_path / str(number)) for number in range(3)]

    def stop(job, code):
        ended.append(job.name)
        signal.raise_signal(signal.SIGTERM)

    with handling_signals(), pytest.raises(Interrupted) as stopped:
        run_jobs(jobs, 1, stop)
    assert stopped.value.exit_code == 143
    assert ended == ["0"]
    assert not (tmp_path / "2").exists()


def test_a_run_that_fails_stops_no_other_and_the_same_command_tries_it_again(tiny, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["sweep", str(tiny), "--grid", f"train.optimizer.lr={NEVER},0.01", "--out", str(out), "--jobs", "2"]
    assert main([*words, "--json"]) == 5
    captured = capsys.readouterr()
    bad, good = f"lr={NEVER}_seed=0", "lr=0.01_seed=0"
    assert f"{bad}: failed with exit code 5: chainkit: error: " in captured.err
    assert captured.err.splitlines()[-1] == f"chainkit: error: 1 run failed: {bad}; the same command tries again"
    results = json.loads(captured.out)
    assert results == json.loads((out / "results.json").read_text())
    assert results["failed"] == {bad: 5}
    assert results["states"][good] == "finished"
    none, some = results["figures"][0]["cells"]
    assert (none["seeds"], none["mean"], some["seeds"]) == ([], None, [0])
    assert some["mean"] == json.loads((out / good / "evaluation.json").read_text())[0]["value"]
    assert Image.open(out / "results.png").text["Title"] == f"lower bound of {tiny} by train.optimizer.lr"
    before = (out / good / "evaluation.json").stat()
    assert main(words) == 5
    captured = capsys.readouterr()
    assert "2 runs in" in captured.err
    assert "1 of them finished already" in captured.err
    assert "[1/1]" in captured.err
    assert (out / good / "evaluation.json").stat() == before
    assert captured.out.splitlines()[0].split() == ["lr", "lower", "bound", "(nats)", "±", "seeds", "±", "examples", "±", "walks", "seeds"]


def test_a_stopped_sweep_is_finished_by_the_same_command(tiny, tmp_path):
    out, log = tmp_path / "out", tmp_path / "out" / "logs" / "steps=1_seed=0.txt"
    words = ["sweep", str(tiny), "--grid", "chain.steps=1,2", "--set", "train.epochs=100", "--set", "train.checkpoint_every=100"]
    words += ["--out", str(out)]
    command = [sys.executable, "-m", "chainkit", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (log.exists() and "training from the start" in log.read_text()):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert "stopped by SIGINT" in process.communicate()[1]
    assert process.returncode == 130
    assert f"continue with `chainkit resume {out}" in log.read_text()
    assert not (out / "steps=2_seed=0").exists()
    assert main(words) == 0
    assert log.read_text().count("continuing ") + log.read_text().count("training from the start") == 2
    assert set(json.loads((out / "results.json").read_text())["states"].values()) == {"finished"}


def test_a_figure_that_nobody_estimated_is_refused(tiny, swept, monkeypatch, capsys):
    sweep = swept([1.0, 2.0], Axis(key="chain.steps", values=("1", "2")))
    monkeypatch.setattr("chainkit_sweep.work.asked", lambda *_: sweep)
    assert main(["sweep", str(tiny), "--figure", "lower bond"]) == 2
    assert "--figure lower bond: there is no such figure; did you mean 'lower bound'?" in capsys.readouterr().err
    assert main(["sweep", str(tiny), "--figure", "lower bound"]) == 0
    assert "1      1.00" in capsys.readouterr().out


def test_two_processes_do_not_work_on_one_sweep(tiny, swept, monkeypatch, capsys):
    sweep = swept([1.0, 2.0], Axis(key="chain.steps", values=("1", "2")))
    monkeypatch.setattr("chainkit_sweep.work.asked", lambda *_: sweep)
    holder = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    place = str(sweep.folder / "lock")
    with subprocess.Popen([sys.executable, "-c", holder, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert main(["sweep", str(tiny)]) == 6
        process.stdin.close()
    assert "in use by another process" in capsys.readouterr().err
