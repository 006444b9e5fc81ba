"""Completions: known pixels stay, the others are drawn, and the picture says how the known ones were held."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import chainkit
from chainkit.batch import Batch
from chainkit.capabilities import Marginals
from chainkit.cli import main
from chainkit.distributions import Gaussian
from chainkit.errors import DataError, RecipeError
from chainkit.host import load_plugins
from chainkit.random import seeded
from chainkit.recipe import find_recipe
from chainkit.reporting import Reporter
from chainkit.session import Session, new_run
from chainkit_diffusion import GaussianDiffusion, LinearVariances
from chainkit_figures.inpainting import HELD, Completions, _put, complete, drawn_completions
from chainkit_figures.known import known_mask

QUICK = ["train.max_updates=2", "sample.n=4", "evaluate.estimators=[]", "evaluate.examples=20"]
RECIPES = {
    "infusion_digits": ["validate.examples=20", "validate.estimator.walks=1"],
    "vw_digits": ["validate.examples=20", "validate.estimator.walks=1"],
    "diffusion_digits": ["chain.steps=12"],
}


class Quiet(Reporter):
    def say(self, line):
        pass


@pytest.fixture(scope="module", params=RECIPES)
def run(request, tmp_path_factory):
    host = load_plugins(strict=True)
    path = tmp_path_factory.mktemp("runs") / request.param
    recipe = find_recipe(request.param, host)
    made = new_run(recipe, path, host, overrides=[*QUICK, *RECIPES[request.param]], reporter=Quiet())
    Session(made).complete()
    return chainkit.open_run(path, host=host, reporter=Quiet())


def batch_of(run, n=3):
    return next(run.data.examples("test", n).batches(n))


def test_known_pixels_are_those_of_the_example_and_the_others_differ(run):
    batch, mask = batch_of(run), known_mask("left", run.data.shape)
    found = complete(run.chain, run.process, batch, mask, completions=4, source=seeded("cpu", 0))
    assert found.completed.shape == (3, 4, *run.data.shape)
    assert torch.equal(found.completed[..., mask], batch.origin[:, None].expand_as(found.completed)[..., mask])
    unknown = found.completed[..., ~mask]
    assert all(not torch.equal(unknown[i, 0], unknown[i, j]) for i in range(3) for j in range(1, 4))


def test_completions_of_binary_data_are_binary(run):
    found = complete(run.chain, run.process, batch_of(run), known_mask("top", run.data.shape), source=seeded("cpu", 0))
    binary = run.data.preparation.states is chainkit.capabilities.BinaryStates
    assert set(found.completed.unique().tolist()) == {0.0, 1.0} if binary else len(found.completed.unique()) > 100


def test_pixels_are_held_as_the_process_allows(run):
    fixed = isinstance(run.process, Marginals)
    mask, batch = known_mask("left", run.data.shape), batch_of(run)
    assert complete(run.chain, run.process, batch, mask, source=seeded("cpu", 0)).hold == ("marginal" if fixed else "raw")
    assert complete(run.chain, run.process, batch, mask, hold="raw", source=seeded("cpu", 0)).hold == "raw"
    if not fixed:
        with pytest.raises(RecipeError, match="has no marginals"):
            complete(run.chain, run.process, batch, mask, hold="marginal")


def test_one_seed_gives_the_same_completions(run):
    mask, batch = known_mask("right", run.data.shape), batch_of(run)
    first, again, other = (complete(run.chain, run.process, batch, mask, source=seeded("cpu", seed)).completed for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_run_and_what_it_drew_are_readable_as_they_are_printed(run):
    printed = repr(run)
    assert printed.startswith(f"<Run {run.path}: {run.recipe.title}; {run.chain.steps} steps of {run.recipe.chain.operator.name} on digits")
    assert printed.endswith("of update 2>")
    drawn = run.sample(3)
    assert repr(drawn) == f"<Samples 3x{'x'.join(map(str, run.data.shape))} after {drawn.steps} steps, {drawn.steps + 1} states kept>"
    assert run.record.final["update"] == 2


def test_the_command_draws_a_picture_that_says_how(run, capsys):
    assert main(["inpaint", str(run.path), "--known", "top", "-n", "3", "--completions", "2"]) == 0
    picture = Image.open(run.path / "pictures" / "inpaint-top.png")
    way = "marginal" if isinstance(run.process, Marginals) else "raw"
    assert HELD[way] in picture.text["Title"]
    assert picture.text["Description"].startswith("3 rows: an example, its known pixels with the others grey, and 2 completions")
    said = capsys.readouterr().err
    steps = run.recipe.sample.steps or run.chain.steps
    assert f"3 test examples, top known, 2 each: completions after {steps} steps; {HELD[way]}" in said


def test_means_are_drawn_where_they_are_asked_for(run, capsys):
    mask, batch = known_mask("left", run.data.shape), batch_of(run)
    draws, means = (complete(run.chain, run.process, batch, mask, means=asked, source=seeded("cpu", 0)) for asked in (False, True))
    assert torch.equal(means.completed[..., mask], draws.completed[..., mask])
    assert (means.completed[..., ~mask] - means.completed[..., ~mask].round()).abs().max() > 0.01
    assert not torch.equal(means.completed, draws.completed)
    assert main(["inpaint", str(run.path), "-n", "1", "--completions", "1", "--means"]) == 0
    picture = Image.open(run.path / "pictures" / "inpaint-left-means.png")
    assert picture.text["Title"].startswith("Means of completions after ")


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["--known", "middle"], "--known is left, right, top, bottom, or a .png or .npy file, not 'middle'", 2),
        (["--known", "no.png"], "no.png: No such file or directory", 4),
        (["--known", "no.npy"], "no.npy: No such file or directory", 4),
    ],
)
def test_what_cannot_be_completed_is_one_line(words, said, code, run, capsys):
    assert main(["inpaint", str(run.path), *words]) == code
    assert capsys.readouterr().err == f"chainkit: error: {said}\n"


def test_what_the_chain_cannot_do_is_one_line(run, capsys):
    fixed = isinstance(run.process, Marginals)
    words, said = (["--steps", "99"], "--steps: respace samples") if fixed else (["--hold", "marginal"], "has no marginals")
    assert main(["inpaint", str(run.path), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


class Spy(Marginals):
    """Marginals that remember which steps they were asked for."""

    def __init__(self):
        self.steps = []

    def marginal(self, origin, k):
        self.steps.append(k)
        return Gaussian(origin, torch.full_like(origin, 1e-12))


class Stay(chainkit.TransitionOperator):
    """p(s_{k-1} | s_k) = N(s_k, 1): unknown pixels are a random walk."""

    def forward(self, state, k, condition=None):
        return chainkit.kernel.GaussianKernel(state, torch.ones_like(state))


class Zero(chainkit.Prior):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, rows):
        return Gaussian(torch.zeros(rows, *self.shape), torch.full((rows, *self.shape), 1e-12))


@pytest.mark.parametrize(
    ("extend", "steps", "asked"),
    [("refuse", 4, [4, 3, 2, 1]), ("noise-end", 6, [4, 4, 4, 3, 2, 1]), ("data-end", 6, [4, 3, 2, 1, 1, 1]), ("data-end", 2, [4, 3])],
)
def test_marginals_are_those_of_the_trained_step_that_a_state_stands_for(extend, steps, asked):
    chain, spy = chainkit.Chain(Zero((8, 8)), Stay(), 4, extend=extend), Spy()
    complete(chain, spy, Batch.of(torch.ones(2, 8, 8)), torch.ones(8, 8, dtype=torch.bool), completions=1, steps=steps)
    assert spy.steps == asked


def test_known_pixels_on_the_way_have_the_law_of_the_forward_process():
    steps, n = 5, 20000
    process = GaussianDiffusion(LinearVariances(0.1, 0.5), steps)
    seen = {}

    class Watching(Stay):
        def forward(self, state, k, condition=None):
            seen[k] = state
            return super().forward(state, k, condition)

    chain, origin = chainkit.Chain(Zero((1,)), Watching(), steps), torch.full((1, 1), 2.0)
    complete(chain, process, Batch.of(origin), torch.ones(1, dtype=torch.bool), completions=n, source=seeded("cpu", 0))
    for k in range(1, steps + 1):
        law, values = process.marginal(origin, k), seen[k].double()
        variance = float(law.variance)
        assert abs(values.mean() - float(law.mean)) < 5 * (variance / n) ** 0.5
        assert abs(values.var() - variance) < 5 * variance * (2 / n) ** 0.5


def test_unknown_pixels_are_drawn_by_the_chain():
    chain = chainkit.Chain(Zero((2,)), Stay(), 9)
    mask, n = torch.tensor([True, False]), 20000
    found = complete(chain, Spy(), Batch.of(torch.full((1, 2), 7.0)), mask, completions=n, source=seeded("cpu", 0))
    assert (found.completed[0, :, 0] == 7).all()
    free = found.completed[0, :, 1].double()
    assert abs(free.mean()) < 5 * (9 / n) ** 0.5
    assert abs(free.var() - 9) < 5 * 9 * (2 / n) ** 0.5


def test_nested_states_are_held_in_their_first_part_and_others_refused():
    mask, value = torch.tensor([True, False]), torch.ones(3, 2)
    visible, hidden = _put((torch.zeros(3, 2), torch.zeros(3, 2)), mask, value)
    assert visible.tolist() == [[1.0, 0.0]] * 3
    assert not hidden.any()
    with pytest.raises(RecipeError, match=r"states of shape \(5,\) do not show the pixels of data of shape \(2,\)"):
        _put((torch.zeros(3, 5),), mask, value)


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ("left", [[1, 0, 0]] * 4),
        ("right", [[0, 0, 1]] * 4),
        ("top", [[1] * 3] * 2 + [[0] * 3] * 2),
        ("bottom", [[0] * 3] * 2 + [[1] * 3] * 2),
    ],
)
def test_halves(words, known):
    assert known_mask(words, (1, 4, 3)).int().tolist() == [known]


def test_a_half_of_flat_images_in_colour_is_a_half_of_every_channel():
    mask = known_mask("top", (3 * 64,)).reshape(3, 8, 8)
    assert mask[:, :4].all()
    assert not mask[:, 4:].any()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1"])
def test_a_picture_is_a_mask_where_it_is_bright(mode, tmp_path):
    wanted = np.array([[True, False], [False, True], [True, True]])
    Image.fromarray(np.where(wanted, 255, 0).astype(np.uint8)).convert(mode).save(tmp_path / "m.png")
    assert torch.equal(known_mask(str(tmp_path / "m.png"), (3, 3, 2)), torch.from_numpy(wanted).expand(3, 3, 2))


@pytest.mark.parametrize("shape", [(3, 2), (3, 3, 2)])
def test_an_array_is_a_mask_where_it_is_not_zero(shape, tmp_path):
    array = np.arange(int(np.prod(shape))).reshape(shape) % 2
    np.save(tmp_path / "m.npy", array)
    assert torch.equal(known_mask(str(tmp_path / "m.npy"), (3, 3, 2)), torch.from_numpy(array != 0).expand(3, 3, 2))


@pytest.mark.parametrize("name", ["m.npy", "m.png"])
def test_a_mask_that_is_damaged_or_of_another_size_is_named(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"\x93NUMPY nonsense")
    with pytest.raises(DataError, match=str(path)):
        known_mask(str(path), (1, 3, 2))
    if name == "m.npy":
        np.save(path, np.ones((2, 2)))
    else:
        Image.new("L", (2, 2)).save(path)
    with pytest.raises(DataError, match="of size 2x2, where images are 3x2"):
        known_mask(str(path), (1, 3, 2))


def test_data_that_is_no_image_is_refused():
    with pytest.raises(RecipeError, match="examples of shape 2 are none"):
        known_mask("left", (2,))


def test_a_row_shows_the_example_what_is_known_and_the_completions():
    chain = chainkit.Chain(Zero((1, 8, 8)), Stay(), 2)
    origin, mask = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)), known_mask("left", (1, 8, 8))
    found = complete(chain, Spy(), Batch.of(origin), mask, completions=2, hold="raw", source=seeded("cpu", 0))
    picture = drawn_completions(found, 0.0, 1.0)
    (axes,) = picture.axes
    shown = np.asarray(axes.images[0].get_array())[..., 0]
    assert shown.shape == (3 * 9 - 1, 4 * 9 - 1)
    pixels = (origin[1, 0] * 255).round().byte().numpy()
    assert np.array_equal(shown[9:17, 0:8], pixels)
    assert np.array_equal(shown[9:17, 9:13], pixels[:, :4])
    assert (shown[9:17, 13:17] == 128).all()
    assert np.array_equal(shown[9:17, 18:22], pixels[:, :4])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "known", "1", "2"]
    assert HELD["raw"] in " ".join(axes.get_title().split())


@pytest.mark.parametrize("hold", HELD)
@pytest.mark.parametrize("completions", [1, 6])
def test_the_title_fits_into_the_picture(hold, completions):
    origin = torch.zeros(2, 1, 8, 8)
    completed = origin[:, None].expand(2, completions, 1, 8, 8)
    found = Completions(origin=origin, mask=known_mask("left", (1, 8, 8)), completed=completed, hold=hold, steps=1000, means=True)
    picture = drawn_completions(found, 0.0, 1.0)
    picture.draw_without_rendering()
    title = picture.axes[0].title.get_window_extent()
    assert title.x0 >= 0
    assert title.x1 <= picture.bbox.width
