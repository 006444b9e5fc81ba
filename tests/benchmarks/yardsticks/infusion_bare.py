r"""Infusion training by hand, as fast as we know how: what chainkit's step is measured against.

The walk is drawn without a graph and the layers' outputs are kept. One pass then goes backward
through all steps: with h_0 the states, a_l = W_l h_{l-1}, h_l = relu(norm(a_l)) and the rows of
all T steps below one another,

.. math:: \bar W_l = \bar A_l^\top H_{l-1}, \qquad \bar H_{l-1} = \bar A_l W_l

so that every layer's weights have one product of T B rows. Nothing is general, nothing checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from yardsticks.infusion import Net

from chainkit.random import chance, normal

BATCH_NORM = torch.ops.aten.native_batch_norm.default
BATCH_NORM_BACKWARD = torch.ops.aten.native_batch_norm_backward.default
EPS = 1e-5


class BareLoop:
    """The same training as :class:`yardsticks.infusion.UserLoop`, of a copy of its weights.

    Arguments:
        net: Whose weights to start from.
        prior: Mean and standard deviation of z_0, [size] each.
        rates: Infusion rates alpha_0..alpha_{T-1}.
        near: Standard deviation of what is infused.
        rows: Rows of a batch.
        source: Where random numbers come from; torch's own generator unless given.
    """

    def __init__(
        self,
        net: Net,
        prior: tuple[Tensor, Tensor],
        rates: Sequence[float],
        *,
        near: float,
        rows: int,
        source: torch.Generator | None = None,
    ) -> None:
        def copied(tensors: Sequence[Tensor]) -> Tensor:
            return torch.stack([tensor.detach() for tensor in tensors]).clone()

        self.weights = [layer.weight.detach().clone() for layer in net.layers]
        self.gains = [copied([norm.weight for norm in norms]) for norms in net.norms]
        self.shifts = [copied([norm.bias for norm in norms]) for norms in net.norms]
        self.heads, self.bias = net.heads.weight.detach().clone(), net.heads.bias.detach().clone()
        self.link, self.scale = net.sigmoid_mean, net.variance_scale
        self.prior, self.rates, self.near, self.source = prior, rates, near, source
        self.parameters = [*self.weights, *self.gains, *self.shifts, self.heads, self.bias]
        self.optimizer = torch.optim.Adam(self.parameters, fused=True)
        steps, size = len(rates), self.heads.shape[0] // 2
        widths = [len(weight) for weight in self.weights]
        self.states = self.heads.new_empty(steps, rows, size)
        self.affine = [self.heads.new_empty(steps, rows, width) for width in widths]
        self.hidden = [self.heads.new_empty(steps, rows, width) for width in widths]
        self.output = self.heads.new_empty(steps, rows, 2 * size)
        self.moments: list[list[tuple[Tensor, Tensor]]] = []

    @torch.no_grad()
    def update(self, x: Tensor) -> float:
        """One update; gives the loss before it."""
        self._walk(x)
        loss, gradient = self._loss(x)
        self._backward(gradient)
        self.optimizer.step()
        return loss.item()

    def _walk(self, x: Tensor) -> None:
        """Draws all states and keeps what the layers gave."""
        mean, deviation = self.prior
        state = self._infused(mean.expand_as(x), deviation.expand_as(x), x, self.rates[0])
        self.moments = []
        for t in range(len(self.rates)):
            self.states[t] = state
            self._evaluate(t)
            if t + 1 < len(self.rates):
                mean, deviation = self.output[t].chunk(2, 1)
                deviation = deviation.sigmoid().mul_(self.scale).add_(1e-4).sqrt_()
                state = self._infused(mean.sigmoid() if self.link else mean, deviation, x, self.rates[t + 1])

    def _evaluate(self, t: int) -> None:
        values, moments = self.states[t], []
        for weight, gain, shift, affine, hidden in zip(self.weights, self.gains, self.shifts, self.affine, self.hidden, strict=True):
            torch.mm(values, weight.T, out=affine[t])
            normed, mean, inverse = BATCH_NORM(affine[t], gain[t], shift[t], None, None, True, 0.0, EPS)
            values = torch.clamp_min(normed, 0, out=hidden[t])
            moments.append((mean, inverse))
        torch.addmm(self.bias, values, self.heads.T, out=self.output[t])
        self.moments.append(moments)

    def _infused(self, mean: Tensor, deviation: Tensor, x: Tensor, rate: float) -> Tensor:
        if rate:
            mask = chance(x, rate, self.source)
            mean, deviation = torch.where(mask, x, mean), torch.where(mask, self.near, deviation)
        return normal(x, self.source).mul_(deviation).add_(mean)

    def _loss(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient with respect to the heads, [T, B, 2 size]."""
        steps, rows = len(self.rates), len(x)
        weight = torch.arange(1, steps + 1, dtype=x.dtype).view(-1, 1, 1) / (steps * rows)
        mean, share = self.output.chunk(2, 2)
        mean, share = mean.sigmoid() if self.link else mean, share.sigmoid()
        variance = share * self.scale + 1e-4
        error = mean - x
        inverse = variance.reciprocal()
        squared = error.square().mul_(inverse)
        loss = (variance.log() + squared).sum((1, 2), keepdim=True).add_(rows * x.shape[1] * math.log(2 * math.pi)).mul_(weight).sum() / 2
        inverse.mul_(weight)
        of_mean = error.mul_(inverse)
        if self.link:
            of_mean.mul_(mean).mul_(1 - mean)
        of_share = squared.neg_().add_(1).mul_(inverse).mul_(self.scale / 2).mul_(share).mul_(1 - share)
        return loss, torch.cat([of_mean, of_share], 2)

    def _backward(self, gradient: Tensor) -> None:
        flat = gradient.flatten(0, 1)
        self.heads.grad, self.bias.grad = flat.T @ self.hidden[-1].flatten(0, 1), flat.sum(0)
        through = self.heads
        for layer in reversed(range(len(self.weights))):
            of_affine = self._through_norm(layer, (flat @ through).view_as(self.hidden[layer]))
            flat, through = of_affine.flatten(0, 1), self.weights[layer]
            below = self.hidden[layer - 1] if layer else self.states
            self.weights[layer].grad = flat.T @ below.flatten(0, 1)

    def _through_norm(self, layer: int, gradient: Tensor) -> Tensor:
        """From the gradient of relu(norm(a)), in place, to that of a, [T, B, width]."""
        gain, affine = self.gains[layer], self.affine[layer]
        gradient.mul_(self.hidden[layer] > 0)
        found = [
            BATCH_NORM_BACKWARD(gradient[t], affine[t], gain[t], None, None, *self.moments[t][layer], True, EPS, [True, True, True])
            for t in range(len(affine))
        ]
        of_affine, of_gain, of_shift = (torch.stack(parts) for parts in zip(*found, strict=True))
        self.gains[layer].grad, self.shifts[layer].grad = of_gain, of_shift
        return of_affine
