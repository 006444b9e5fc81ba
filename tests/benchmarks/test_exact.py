"""The loops that chainkit is timed against do the same work: fed the same draws, they give the same losses and gradients."""

import importlib

import infusion
import pytest
import small_chain
import torch
import walkback
from training import made, stepping
from yardsticks.draws import Sourced
from yardsticks.infusion import UserLoop
from yardsticks.infusion_bare import BareLoop

from chainkit.random import seeded

walkback_loop = importlib.import_module("yardsticks.walkback")

UPDATES = 20
EXACT = ['train.precision="float64"']
PLANE = infusion.Size(batch=32, hidden=(64,), steps=30)
SHORT = infusion.Size(batch=32, hidden=(32,), steps=6)
IMAGES = infusion.Size(batch=16, hidden=(24, 24), steps=5)
BITS = walkback.Size(batch=16, hidden=32, steps=4)


class Followed:
    """A run whose batches and gradients are read as it trains."""

    def __init__(self, run, copied):
        self.run = run
        self.copied = copied
        self.step = stepping(run)
        self.batches, self.gradients = [], []
        prepared = run.data.batch
        run.data.batch = lambda *arguments: self.batches.append(prepared(*arguments)) or self.batches[-1]
        for optimizer in run.trainer.optimisers.optimizers.values():
            optimizer.register_step_pre_hook(lambda *_: self.gradients.append(self.gradient()))

    @torch.no_grad()
    def gradient(self):
        """The gradient as one vector, in the order of the user's modules: their copy is made while it stands for the weights."""
        parameters = list(self.run.model.parameters())
        weights = [parameter.clone() for parameter in parameters]
        for parameter in parameters:
            parameter.copy_(parameter.grad)
        found = flat(self.copied(self.run).parameters())
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.copy_(weight)
        return found

    def update(self):
        """The loss of an update, the batch it was for, and the generator of its walk anew."""
        update = self.run.trainer.progress.update
        loss = self.step()
        return loss, self.batches[-1].origin.flatten(1), seeded("cpu", self.run.recipe.seed, "walk", update, 0)


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def gradient_by_hand(loop):
    """The gradient of the loop written by hand, in the order of the user's modules."""
    norms = [tensor.grad[t] for pair in zip(loop.gains, loop.shifts, strict=True) for t in range(len(loop.rates)) for tensor in pair]
    return flat([*(weight.grad for weight in loop.weights), *norms, loop.heads.grad, loop.bias.grad])


def check_same(run, copied, loop, drawn_from, update, gradient):
    """Losses and gradients of both over some updates; what the loop draws comes from ``drawn_from.source``."""
    followed, losses, others, theirs = Followed(run, copied), [], [], []
    loop.optimizer.register_step_pre_hook(lambda *_: theirs.append(gradient()))
    for _ in range(UPDATES):
        loss, x, drawn_from.source = followed.update()
        losses.append(loss)
        others.append(update(x))
    assert losses == pytest.approx(others, rel=1e-9)
    assert len(set(losses)) == UPDATES
    for own, other in zip(followed.gradients, theirs, strict=True):
        assert (own - other).abs().max() <= 1e-9 * other.abs().max()


def check_infusion(run, size, kind):
    net, arguments = infusion.copied(run), infusion.loop_arguments(run)
    if kind == "user":
        loop = UserLoop(net, **arguments, draws=Sourced())
        check_same(run, infusion.copied, loop, loop.draws, loop.update, lambda: flat(parameter.grad for parameter in net.parameters()))
    else:
        loop = BareLoop(net, **arguments, rows=size.batch)
        check_same(run, infusion.copied, loop, loop, loop.update, lambda: gradient_by_hand(loop))


@pytest.mark.parametrize("kind", ["user", "bare"])
def test_infusion_on_images_is_the_loop_by_hand(kind):
    check_infusion(made(infusion.recipe(IMAGES), EXACT), IMAGES, kind)


@pytest.mark.parametrize("kind", ["user", "bare"])
def test_the_small_chain_is_the_loop_by_hand(kind):
    check_infusion(made(small_chain.plane_recipe(PLANE), EXACT), PLANE, kind)


@pytest.mark.parametrize("update", ["walk", "step"])
def test_walkback_is_the_loop_by_hand(update):
    run = made(walkback.recipe(BITS, update), EXACT)
    operator = walkback.copied(run)
    loop = walkback_loop.UserLoop(operator, run.chain.temperatures(), draw_first=True, draws=Sourced())
    trained = loop.update if update == "walk" else loop.update_per_step
    check_same(run, walkback.copied, loop, loop.draws, trained, lambda: flat(parameter.grad for parameter in operator.parameters()))


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 5e-3)])
def test_the_mean_loss_of_200_updates_is_that_of_the_loop_in_float32(precision, tolerance):
    run = made(small_chain.plane_recipe(SHORT), [f'train.precision="{precision}"'])
    loop = UserLoop(infusion.copied(run), **infusion.loop_arguments(run), draws=Sourced())
    followed, total, other = Followed(run, infusion.copied), 0.0, 0.0
    for _ in range(200):
        loss, x, loop.draws.source = followed.update()
        total, other = total + loss, other + loop.update(x)
    assert total == pytest.approx(other, rel=tolerance)
