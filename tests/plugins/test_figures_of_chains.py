"""Pictures that need the chain: walks, ways back, ends of walks, drift, neighbours, and walks as training goes on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import chainkit
from chainkit.batch import Batch
from chainkit.chain import Samples
from chainkit.cli import main
from chainkit.errors import RecipeError
from chainkit.host import load_plugins
from chainkit.kernel import GaussianKernel, Kernel
from chainkit.recipe import find_recipe
from chainkit.reporting import Reporter
from chainkit.session import Session, new_run
from chainkit.testing import TinyProcess, tiny_chain, tiny_data
from chainkit_diffusion import GaussianDiffusion, LinearVariances
from chainkit_figures.drift import drawn_drift, drift
from chainkit_figures.ends import drawn_ends
from chainkit_figures.look import Look
from chainkit_figures.nearest import drawn_nearest, nearest_examples
from chainkit_figures.of_run import prior_and_ends, walk_and_return
from chainkit_figures.reconstructions import drawn_reconstructions, returned
from chainkit_figures.training_walk import drawn_training, is_kept, kept
from chainkit_figures.walk import drawn_walk, last_states, walked

QUICK = ["train.epochs=2", "train.batch_size=400", "sample.n=12", 'evaluate.estimators=["factorial"]', "evaluate.examples=20"]
EVERY = {"chain", "reconstructions", "samples", "training", "walk", "prior"}
RUNS = {
    "infusion_digits": (["validate.examples=20", "validate.estimator.walks=1"], EVERY | {"means", "nearest", "training-walk"}),
    "vw_digits": (["validate.examples=20", "validate.estimator.walks=1"], EVERY | {"means", "nearest", "training-walk"}),
    "diffusion_digits": (["chain.steps=12"], EVERY | {"means", "nearest"}),
    "diffusion_heartbeat": (["data.n=200", "chain.steps=12"], EVERY | {"means", "nearest"}),
    "infusion_grid_3x3": (["data.n=400"], EVERY | {"drift", "training-walk"}),
    "gsn_digits": ([], EVERY | {"means", "nearest", "training-walk"}),
    "dgsn_digits": (["data.inputs.valid=40", "data.inputs.test=60"], EVERY | {"means", "nearest", "training-walk"}),
    "rbm_digits": (["chain.steps=12"], EVERY | {"nearest", "training-walk"}),
    "energy_grid_3x3": (["data.n=400", "chain.steps=4"], EVERY | {"drift", "training-walk"}),
}


class Quiet(Reporter):
    def say(self, line):
        pass


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def done(name, path, *more):
    host = load_plugins(strict=True)
    run = new_run(find_recipe(name, host), path, host, overrides=[*QUICK, *RUNS[name][0], *more], reporter=Quiet())
    Session(run).complete()
    return run


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    return done(request.param, tmp_path_factory.mktemp("runs") / request.param)


def drawn_in(axes):
    return axes.images or axes.lines or axes.collections


def test_a_run_of_every_method_gets_all_pictures_that_its_states_allow(run):
    expected = RUNS[run.path.name][1]
    found = {path.stem for path in (run.path / "pictures").glob("*.png")}
    assert expected <= found
    assert not found & ({"drift", "nearest", "training-walk", "means"} - expected)


def test_every_picture_says_what_it_shows_and_none_is_a_sliver(run):
    told = {}
    for path in (run.path / "pictures").glob("*.png"):
        picture = Image.open(path)
        assert min(picture.size) > 200
        assert picture.text["Title"]
        told[path.stem] = picture.text["Description"]
    assert len(set(told.values())) == len(told)
    assert all(len(words) > 40 for words in told.values())


def test_no_panel_is_empty(run):
    look = Look.of(run.data)
    pictures = [*walk_and_return(run, look).values(), prior_and_ends(run, look), drawn_training(kept(run.path / "walks"), run.data, look)]
    for picture in [picture for picture in pictures if picture is not None]:
        assert picture.axes
        assert all(map(drawn_in, picture.axes))


@pytest.mark.parametrize("run", ["infusion_digits", "infusion_grid_3x3"], indirect=True)
def test_samples_drawn_later_draw_the_pictures_again(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy, ignore=shutil.ignore_patterns("*.png"))
    assert main(["sample", str(copy), "-n", "5"]) == 0
    again = {path.stem for path in (copy / "pictures").glob("*.png")}
    assert again == RUNS[run.path.name][1] - {"training", "training-walk"}


def test_a_notebook_draws_the_same_pictures(run):
    opened = chainkit.open_run(run.path, reporter=Quiet())
    expected = RUNS[run.path.name][1]
    for name in EVERY | {"drift", "nearest", "training-walk", "means"}:
        method = getattr(opened.show, name.replace("-", "_"))
        if name not in expected:
            with pytest.raises(RecipeError, match=run.path.name):
                method()
            continue
        with Image.open(run.path / "pictures" / f"{name}.png") as drawn:
            assert method().words == drawn.text["Description"]


@pytest.mark.parametrize("run", ["infusion_digits"], indirect=True)
def test_a_notebook_is_told_what_can_be_shown(run):
    opened = chainkit.open_run(run.path, reporter=Quiet())
    assert set(dir(opened.show)) >= {"samples", "chain", "inpaint", "curves"}
    listed = repr(opened.show)
    assert "chain(n, steps, seed)" in listed
    assert "The way of samples from noise to data." in " ".join(listed.split())
    assert opened.show.chain(4, steps=20, seed=1).title == "From noise to data"
    assert opened.show.inpaint("top", 2, completions=3).words.startswith("2 rows: an example, its known pixels")
    with pytest.raises(RecipeError, match="no figure has curves named 'steps'"):
        opened.show.curves()


def test_a_walk_visits_every_state_once_from_noise_to_the_example():
    chain, data, batch = tiny_chain((20,)), tiny_data((20,)), Batch.of(torch.rand(6, 20, generator=source()))
    chain.train()
    path = walked(chain, TinyProcess(), batch, source())
    assert len(path) == chain.steps + 1
    assert path[-1] is batch.origin
    assert not any(state.requires_grad for state in path)
    assert chain.training
    states = {transition.k: transition.state for transition in TinyProcess().walk(chain, batch, source=source())}
    assert all(torch.equal(path[chain.steps - k], state) for k, state in states.items())
    assert torch.equal(last_states(chain, TinyProcess(), batch, source()), path[0])
    picture = drawn_walk(path, data, Look.of(data))
    assert [axes.get_title() for axes in picture.axes] == ["$s_{3}$", "$s_{2}$", "$s_{1}$", "$x$"]
    assert np.array_equal(picture.axes[3].images[0].get_array(), batch.origin.double().numpy())


def test_the_last_state_of_a_diffusion_is_drawn_without_the_operator():
    process, chain, batch = GaussianDiffusion(LinearVariances(1e-3, 0.2), 50), tiny_chain(steps=50), Batch.of(torch.zeros(4, 2))
    chain.operator = None
    assert torch.equal(last_states(chain, process, batch, source()), process.marginal(batch.origin, 50).sample(source()))


def test_the_way_back_starts_where_the_walk_ended():
    chain, data, batch = tiny_chain((20,)), tiny_data((20,)), Batch.of(torch.rand(6, 20, generator=source()))
    path = walked(chain, TinyProcess(), batch, source())
    back = returned(chain, batch, path[0], source(1))
    assert torch.equal(back.path[0], path[0])
    assert len(back.path) == chain.steps + 1
    picture = drawn_reconstructions(path, back, data, Look.of(data))
    assert [axes.get_title() for axes in picture.axes] == [
        "$x$",
        *[rf"$s_{{{k}}}$" for k in (1, 2, 3)],
        *[rf"$\hat s_{{{k}}}$" for k in (2, 1, 0)],
    ]
    assert np.array_equal(picture.axes[-1].images[0].get_array(), back.state.double().numpy())


def test_reconstructions_say_how_far_they_are_from_their_examples():
    data, origin = tiny_data((20,)), torch.arange(3.0)[:, None].expand(3, 20)
    back = Samples(state=origin + 0.5, mean=None, path=[origin, origin + 0.5], steps=1)
    words = drawn_reconstructions([origin, origin], back, data, Look.of(data)).words
    assert "What comes back is 0.5 from its example and 1.5 from the next one" in words


class Shrinking(chainkit.TransitionOperator):
    """The mean of the next state is a share of the state that depends on the step."""

    def forward(self, state, k, condition=None) -> GaussianKernel:
        return GaussianKernel(state * (1 - 0.1 * k), torch.full_like(state, 0.04))


class Drawn(chainkit.TransitionOperator):
    """The same, of a kernel that can only be drawn from."""

    def forward(self, state, k, condition=None) -> Kernel:
        law = Shrinking()(state, k).at(1.0)

        class Sampled(chainkit.Distribution):
            def sample(self, source=None):
                return law.sample(source)

        class Sampling(Kernel):
            def at(self, temperature=1.0):
                return Sampled()

        return Sampling()


def test_the_drift_is_the_mean_of_the_next_state_less_the_state():
    points = torch.tensor([[1.0, 2.0], [-3.0, 0.0]])
    chain = chainkit.Chain(tiny_chain().prior, Shrinking(), 3)
    assert torch.allclose(drift(chain, points, 2), -0.2 * points)
    only_drawn = chainkit.Chain(tiny_chain().prior, Drawn(), 3)
    assert torch.allclose(drift(only_drawn, points, 2), -0.2 * points, atol=5 * 0.2 / 100**0.5)


def test_arrows_point_along_the_drift_and_their_colour_is_its_length():
    data, chain = chainkit.Data.of(torch.randn(100, 2, generator=source())), chainkit.Chain(tiny_chain().prior, Shrinking(), 3)
    picture = drawn_drift(chain, data, Look.of(data))
    assert [axes.get_title() for axes in picture.axes[:3]] == ["step 3", "step 2", "step 1"]
    arrows = picture.axes[0].collections[1]
    places = np.stack([arrows.X, arrows.Y], 1)
    away = np.linalg.norm(places, axis=1)
    outer = away > 1e-3
    assert np.allclose(np.stack([arrows.U, arrows.V], 1)[outer], -places[outer] / away[outer, None], atol=1e-5)
    assert np.allclose(arrows.get_array(), 0.3 * away, atol=1e-6)
    assert drawn_drift(chain, tiny_data((20,)), Look.of(tiny_data((20,)))) is None
    labelled = tiny_data(conditional=True)
    assert drawn_drift(chain, labelled, Look.of(labelled)) is None


def test_ends_are_put_beside_the_prior_in_its_standard_deviations():
    data, look = tiny_data((20,)), Look.of(tiny_data((20,)))
    prior = torch.randn(4000, 20, generator=source()) * 0.1
    picture = drawn_ends(prior + 0.05, prior, data, look)
    assert "Their means are 0.5 standard deviations apart" in picture.words
    assert "draws of one law would be 0.022 apart" in picture.words
    mean, deviation = picture.axes
    assert np.allclose(mean.lines[0].get_ydata() - mean.lines[1].get_ydata(), 0.05)
    assert np.allclose(deviation.lines[0].get_ydata(), deviation.lines[1].get_ydata())


def test_the_nearest_of_all_training_examples_are_found_in_blocks(monkeypatch):
    monkeypatch.setattr("chainkit_figures.nearest.BLOCK", 7)
    train = torch.rand(40, 1, 8, 8, generator=source())
    state = train[[11, 39, 0]] + torch.tensor([0.25, 0.0, 0.5]).reshape(3, 1, 1, 1)
    data = chainkit.Data.of(train)
    distances, found = nearest_examples(state, data, 2)
    exact = torch.cdist(state.flatten(1), train.flatten(1)).sort(1)
    assert torch.allclose(distances, exact.values[:, :2], atol=1e-3)
    assert torch.equal(found, train[exact.indices[:, :2]])
    picture = drawn_nearest(Samples(state=state, mean=None, path=[], steps=1), data, Look.of(data))
    assert [label.get_text() for label in picture.axes[0].get_yticklabels()] == [f"{distance:.2f}" for distance in exact.values[:, 0]]


def test_points_in_the_plane_have_no_nearest_examples():
    data = chainkit.Data.of(torch.rand(10, 2))
    assert drawn_nearest(Samples(state=torch.rand(3, 2), mean=None, path=[], steps=1), data, Look.of(data)) is None


def test_walks_are_kept_at_the_start_and_at_powers_of_two():
    assert [epoch for epoch in range(20) if is_kept(epoch)] == [0, 1, 2, 4, 8, 16]


def test_training_walks_are_of_the_same_examples_and_random_numbers(tmp_path):
    run = done("infusion_digits", tmp_path / "run", "train.epochs=3")
    walks = kept(run.path / "walks")
    assert list(walks) == [0, 1, 2, 3]
    assert [k for k, _ in walks[0]] == list(range(10, -1, -1))
    first, last = walks[0], walks[3]
    assert torch.equal(first[0][1], last[0][1])  # drawn from the prior
    assert torch.equal(first[-1][1], last[-1][1])  # the examples
    assert not torch.equal(first[5][1], last[5][1])
    picture = drawn_training(walks, run.data, Look.of(run.data))
    assert [label.get_text() for label in picture.axes[0].get_yticklabels()] == ["0", "1", "2", "3"]
    assert len(picture.axes) == 3


def test_labels_stay_within_a_picture_that_is_saved(tmp_path):
    examples = torch.zeros(3, 1, 28, 28)
    way = [(k, examples) for k in range(15, -1, -1)]
    look = Look(shape=(1, 28, 28), examples=examples, low=0.0, high=1.0)
    picture = drawn_training(dict.fromkeys((0, 1, 2, 4, 8, 14), way), chainkit.Data.of(examples), look)
    picture.save(tmp_path / "walks.png")
    assert all(axes.yaxis.label.get_window_extent().x0 >= 0 for axes in picture.axes)


def test_pictures_change_nothing_in_training(tmp_path):
    watched = done("infusion_digits", tmp_path / "watched")
    host = load_plugins(strict=True, disabled=["figures"])
    plain = new_run(
        find_recipe("infusion_digits", host),
        tmp_path / "plain",
        host,
        overrides=[*QUICK, *RUNS["infusion_digits"][0]],
        reporter=Quiet(),
    )
    Session(plain).complete()
    assert not (plain.path / "walks").exists()
    assert (watched.path / "metrics.jsonl").read_text() == (plain.path / "metrics.jsonl").read_text()
    ours, theirs = (json.loads((path / "final" / "manifest.json").read_text()) for path in (watched.path, plain.path))
    assert ours == theirs
