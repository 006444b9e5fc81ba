"""Pictures: what is drawn of which data, and that nothing about drawing stops a run."""

import json
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
import torch

import chainkit
from chainkit.chain import Samples
from chainkit.curve import Curve
from chainkit.estimator import Estimate
from chainkit.logged import watched
from chainkit.packages import imported
from chainkit.run_record import read_record
from chainkit_figures import hooks
from chainkit_figures.curves import drawn_curves
from chainkit_figures.draw import pictures, rendered
from chainkit_figures.images import as_images, evenly, grid, image_shape, states_on_the_way, strip
from chainkit_figures.look import value_range
from chainkit_figures.training import training_curves


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def data(*shape, low=0.0, high=1.0):
    return chainkit.Data.of(low + (high - low) * torch.rand(30, *shape, generator=source()))


def samples(*shape, n=12, steps=5, mean=True):
    path = [torch.rand(n, *shape, generator=source(k)) for k in range(steps + 1)]
    return Samples(state=path[-1], mean=path[-1] if mean else None, path=path, steps=steps)


def a_run(folder, shape=(1, 8, 8)):
    said = []
    return SimpleNamespace(path=folder, data=data(*shape), finished=False, update=9, epoch=3, said=said, say=said.append)


def names(folder):
    return sorted(path.name for path in (folder / "pictures").glob("*"))


@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        ((1, 8, 9), (1, 8, 9)),
        ((3, 5, 5), (3, 5, 5)),
        ((2, 5, 5), None),
        ((784,), (1, 28, 28)),
        ((3072,), (3, 32, 32)),
        ((64,), (1, 8, 8)),
        ((20,), None),
        ((25,), None),
        ((2,), None),
        ((5, 5), None),
    ],
)
def test_what_can_be_seen_as_an_image(shape, seen):
    assert image_shape(shape) == seen


def test_pixels_span_the_given_range_and_saturate():
    state = torch.tensor([-2.0, -1.0, 0.0, 1.0, 5.0, float("nan")]).reshape(6, 1, 1, 1)
    assert as_images(state, -1, 1).flatten().tolist() == [0, 0, 128, 255, 255, 0]


def test_colours_are_last_in_a_picture():
    state = torch.zeros(1, 3, 2, 2)
    state[0, 1] = 1
    assert as_images(state)[0, 0, 0].tolist() == [0, 255, 0]


def test_a_grid_holds_every_image_in_reading_order():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * np.ones((1, 2, 3, 1), dtype=np.uint8)
    array = grid(images, columns=3, gap=1)
    assert array.shape == (2 * 2 + 1, 3 * 3 + 2, 3)
    found = [array[row, column, 0] for row in (0, 3) for column in (0, 4, 8)]
    assert found == [0, 1, 2, 3, 4, 128]
    assert (array[2] == 128).all()
    assert (array[:, 3] == 128).all()


def test_a_film_strip_has_a_row_per_sample_and_a_column_per_state():
    columns = [np.full((2, 1, 1, 1), 10 * k, dtype=np.uint8) + np.array([0, 1], dtype=np.uint8).reshape(2, 1, 1, 1) for k in range(3)]
    assert strip(columns, gap=0)[:, :, 0].tolist() == [[0, 10, 20], [1, 11, 21]]


@pytest.mark.parametrize("n", [2, 3, 16, 40, 1001])
def test_chosen_items_keep_the_ends_and_their_order(n):
    chosen = evenly(range(n), 16)
    assert len(chosen) == min(n, 16)
    assert (chosen[0], chosen[-1]) == (0, n - 1)
    assert sorted(set(chosen)) == chosen
    gaps = np.diff(chosen)
    assert gaps.max() - gaps.min() <= 1


def test_states_of_another_shape_are_left_out_of_the_way():
    path = [torch.zeros(4, 3), (torch.zeros(4, 3), torch.zeros(4, 1)), torch.zeros(4, 2), torch.ones(4, 2)]
    assert [k for k, _ in states_on_the_way(path, (2,))] == [1, 0]


def test_of_a_state_with_parts_the_first_that_looks_like_data_is_shown():
    visible, latent = torch.full((4, 2), 7.0), torch.zeros(4, 5)
    for state in ((visible, latent), (latent, (visible, torch.zeros(4, 2)))):
        assert [k for k, shown in states_on_the_way([state, torch.zeros(4, 2)], (2,)) if (shown == 7).all()] == [1]


def test_the_range_is_the_unit_interval_where_the_data_lies_in_it():
    assert value_range(torch.tensor([0.2, 0.9])) == (0.0, 1.0)
    assert value_range(torch.tensor([-2.0, 3.0])) == (-2.0, 3.0)


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((1, 8, 8), ["chain", "means", "samples"]),
        ((3, 6, 6), ["chain", "means", "samples"]),
        ((64,), ["chain", "means", "samples"]),
        ((20,), ["chain", "means", "samples"]),
        ((2,), ["chain", "samples"]),
        ((4, 5), []),
    ],
)
def test_every_kind_of_data_is_drawn_in_its_own_way(shape, drawn):
    assert sorted(pictures(samples(*shape), data(*shape))) == drawn


def test_means_and_chains_are_drawn_only_where_they_exist():
    sample = samples(1, 8, 8, mean=False)
    assert sorted(pictures(sample, data(1, 8, 8))) == ["chain", "samples"]
    without = Samples(state=sample.state, mean=None, path=[], steps=5)
    assert sorted(pictures(without, data(1, 8, 8))) == ["samples"]


def test_opaque_states_are_not_drawn():
    state = (torch.zeros(4, 2), torch.zeros(4, 3))
    assert pictures(Samples(state=state, mean=None, path=[state], steps=1), data(2)) == {}


def test_a_film_strip_shows_at_most_ten_samples_and_sixteen_states_and_the_mean():
    figure = pictures(samples(1, 8, 8, n=30, steps=40), data(1, 8, 8))["chain"]
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert len(labels) == 17
    assert (labels[0], labels[15], labels[16]) == ("$s_{40}$", "$s_{0}$", "mean")
    assert len(axes.get_yticklabels()) == 10
    assert axes.images[0].get_array().shape == (10 * 9 - 1, 17 * 9 - 1, 3)


def test_the_grid_of_a_figure_holds_the_samples_pixels():
    sample = samples(1, 8, 8, n=9)
    (axes,) = pictures(sample, data(1, 8, 8))["samples"].axes
    shown = np.asarray(axes.images[0].get_array())
    assert np.array_equal(shown[9:17, 18:26, 0], (sample.state[5, 0] * 255).round().byte().numpy())
    assert axes.get_title() == "samples after 5 steps"


def test_points_are_drawn_beside_the_data():
    left, right = pictures(samples(2), data(2))["samples"].axes
    assert (left.get_title(), right.get_title()) == ("data", "12 samples")
    assert len(left.collections[0].get_offsets()) == 30
    assert len(right.collections[0].get_offsets()) == 12


def test_drawing_repeats_itself():
    first, again = (rendered(pictures(samples(3, 6, 6), data(3, 6, 6))["chain"]) for _ in range(2))
    assert first.dtype == np.uint8
    assert first.shape[2] == 3
    assert np.array_equal(first, again)


def test_while_training_only_samples_are_drawn_under_their_epoch(tmp_path):
    hooks.chainkit_samples(a_run(tmp_path), samples(1, 8, 8))
    assert names(tmp_path) == ["samples-epoch-0003.png"]


def logged(kept, lines, *estimates):
    """The record of a run that logged these lines and estimated these figures."""
    return read_record(kept("run", *estimates, **{"metrics.jsonl": "".join(json.dumps(line) + "\n" for line in lines)}))


def test_what_was_logged_is_drawn_by_update(kept):
    lines = [{"update": 50 * n, "epoch": n, "rate": 0.1, "loss": 1 / n, **({"bound": -n} if n % 2 else {})} for n in (1, 2, 3)]
    loss, bound = training_curves(logged(kept, lines)).axes
    assert (loss.get_title(), bound.get_title()) == ("loss", "bound")
    assert bound.lines[0].get_xydata().tolist() == [[50, -1], [150, -3]]
    assert bound.get_legend() is None


def test_what_was_logged_several_times_an_epoch_has_its_mean_over_each(kept):
    lines = [{"update": 50 * n, "epoch": (n - 1) // 2, "loss": n**2} for n in (1, 2, 3, 4)]
    (loss,) = training_curves(logged(kept, lines)).axes
    as_logged, means = (line.get_xydata().tolist() for line in loss.lines)
    assert as_logged == [[50, 1], [100, 4], [150, 9], [200, 16]]
    assert means == [[75, 2.5], [175, 12.5]]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["as logged", "mean of each epoch"]


def test_the_curve_of_a_likelihood_has_the_likelihoods_at_the_end_beside_it(kept, estimate):
    lines = [{"update": 50, "epoch": 1, "loss": 1.0, "valid lower bound": 3.0}]
    figures = [
        estimate(4.0, 0.5),
        estimate(9.0, 0.25, name="importance sampling"),
        estimate(7.0, name="copying", likelihood=False),
        estimate(8.0, name="other bits", preparation="binarised"),
    ]
    loss, bound = training_curves(logged(kept, lines, *figures)).axes
    assert (loss.get_ylabel(), bound.get_ylabel()) == ("", "nats")
    named = ["valid lower bound", "lower bound, 100 test examples", "importance sampling, 100 test examples"]
    assert [text.get_text() for text in bound.get_legend().get_texts()] == named
    assert [bars.get_segments()[0][:, 1].tolist() for bars in bound.collections] == [[3.5, 4.5], [8.75, 9.25]]


def test_likelihoods_that_were_watched_share_a_panel_with_bands_of_their_errors(kept, estimate):
    lines = [
        {"update": n, "epoch": n, **watched("valid", [estimate(n, 0.5), estimate(n + 4, 0.25, name="importance sampling")])} for n in (1, 2)
    ]
    figures = [estimate(8.0, name="factorial baseline"), estimate(7.0, name="importance sampling"), estimate(4.0)]
    (axes,) = training_curves(logged(kept, [*lines, {"update": 3, "epoch": 3, "loss": 1.0}], *figures)).axes[1:]
    assert axes.get_title() == "valid lower bound, valid importance sampling"
    curves = [line for line in axes.lines if line.get_label().startswith("valid")]
    assert [curve.get_ydata().tolist() for curve in curves] == [[1, 2], [5, 6]]
    bands = [band.get_paths()[0].get_extents() for band in axes.collections[:2]]
    assert [(band.y0, band.y1) for band in bands] == [(0.5, 2.5), (4.75, 6.25)]
    at_the_end = {line.get_ydata()[0]: line.get_color() for line in axes.lines if line.get_linestyle() == "--"}
    assert [at_the_end[value] for value in (4.0, 7.0)] == [curve.get_color() for curve in curves]
    assert len(set(at_the_end.values())) == 3
    assert len(axes.get_legend().get_texts()) == 5


def test_a_run_that_logged_nothing_has_no_curve(kept):
    assert training_curves(logged(kept, [])) is None


@pytest.mark.parametrize("error", [ImportError("No module named 'matplotlib'"), OSError("libpng.so: cannot open\nmore")])
def test_without_matplotlib_one_line_is_said_and_the_run_goes_on(tmp_path, monkeypatch, error):
    def broken(module):
        raise error

    run, drawn = a_run(tmp_path), samples(1, 8, 8)
    monkeypatch.setattr("chainkit.packages.importlib.import_module", broken)
    for _ in range(2):
        hooks.chainkit_samples(run, drawn)
    hooks.chainkit_run_end(run)
    reason = str(error).splitlines()[0]
    assert run.said == [f"no pictures: matplotlib cannot be imported ({reason}): pip install matplotlib"]
    assert not (tmp_path / "pictures").exists()


def test_an_importable_package_is_given_as_it_is():
    assert imported("json", "nothing") is json


def estimate(name, *curves):
    settings = {"meaning": "of a test", "examples": 1, "split": "test", "preparation": "as it is", "dim": 1}
    return Estimate(name=name, value=0.0, curves=curves, **settings)


WALKS = Curve(name="walks", x="walks", y="estimate", unit="nats", points=((1, -3.0, 0.5), (10, -2.0, 0.1)), error="over walks", scale="log")
STEPS = Curve(name="steps", x="step", y="share", unit="nats", points=((1, 2.0, None), (2, 1.0, None)))


def test_curves_of_one_name_are_panels_of_one_picture():
    drawn = drawn_curves([estimate("first", WALKS, STEPS), estimate("none"), estimate("second", WALKS)])
    assert list(drawn) == ["walks", "steps"]
    upper, lower = drawn["walks"].axes
    assert (upper.get_title(), lower.get_title()) == ("first, 1 test examples", "second, 1 test examples")
    assert upper.get_xscale() == "log"
    assert upper.get_ylabel() == "estimate\n(nats)"
    assert [text.get_text() for text in upper.get_legend().get_texts()] == ["± over walks"]
    (line,) = drawn["steps"].axes[0].lines
    assert line.get_xydata().tolist() == [[1, 2], [2, 1]]
    assert drawn["steps"].axes[0].get_legend() is None


@pytest.mark.parametrize(("first", "scale"), [(100.0, "linear"), (1000.0, "symlog"), (-1000.0, "symlog")])
def test_a_value_far_from_all_others_does_not_flatten_them(first, scale):
    curve = attrs.evolve(STEPS, points=((1, first, None), *((k, -10.0 / k, None) for k in (2, 3, 4))))
    axes = drawn_curves([estimate("first", curve)])["steps"].axes[0]
    assert axes.get_yscale() == scale


def test_errors_are_bars_of_their_size():
    upper = drawn_curves([estimate("first", WALKS)])["walks"].axes[0]
    bars = upper.collections[0].get_segments()
    assert [bar[:, 1].tolist() for bar in bars] == [[-3.5, -2.5], [-2.1, -1.9]]


def test_pictures_of_curves_lie_beside_the_samples(tmp_path):
    hooks.chainkit_estimates(a_run(tmp_path), [estimate("first", WALKS, STEPS)])
    assert names(tmp_path) == ["steps.png", "walks.png"]
