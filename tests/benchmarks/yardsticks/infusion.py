"""Infusion training as a user would write it: modules, torch.distributions, one forward to sample and one to train.

Steps are numbered as in the paper, t = 1..T from noise to data.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import relu
from yardsticks.draws import Draws


class Net(nn.Module):
    """Hidden layers with batch normalisation per step, a mean and a variance.

    Arguments:
        size: Elements of a state.
        hidden: Widths of the hidden layers.
        steps: T.
        sigmoid_mean: Whether the mean lies in [0, 1].
        variance_scale: Largest variance.
    """

    def __init__(self, size: int, hidden: Sequence[int], steps: int, *, sigmoid_mean: bool = True, variance_scale: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs, bias=False) for inputs, outputs in pairwise([size, *hidden]))
        self.norms = nn.ModuleList(nn.ModuleList(nn.BatchNorm1d(width) for _ in range(steps)) for width in hidden)
        self.heads = nn.Linear(hidden[-1], 2 * size)
        self.sigmoid_mean = sigmoid_mean
        self.variance_scale = variance_scale

    def forward(self, state: Tensor, t: int) -> Normal:
        """p(z_t | z_{t-1})."""
        for layer, norms in zip(self.layers, self.norms, strict=True):
            state = relu(norms[t - 1](layer(state)))
        mean, variance = self.heads(state).chunk(2, 1)
        if self.sigmoid_mean:
            mean = torch.sigmoid(mean)
        return Normal(mean, (self.variance_scale * torch.sigmoid(variance) + 1e-4).sqrt())


class UserLoop:
    """The training loop.

    Arguments:
        net: The network.
        prior: Mean and standard deviation of z_0, [size] each.
        rates: Infusion rates alpha_0..alpha_{T-1}.
        near: Standard deviation of what is infused.
        draws: Where random numbers come from.
    """

    def __init__(self, net: Net, prior: tuple[Tensor, Tensor], rates: Sequence[float], *, near: float, draws: Draws | None = None) -> None:
        self.net = net
        self.prior = prior
        self.rates = rates
        self.near = near
        self.draws = draws or Draws()
        self.optimizer = torch.optim.Adam(net.parameters())

    @torch.no_grad()
    def infuse(self, model: Normal, x: Tensor, rate: float) -> Tensor:
        """The next state: mostly the model's, here and there next to x."""
        mask = self.draws.mask(rate, x)
        return (1 - mask) * self.draws.normal(model) + mask * self.draws.normal(Normal(x, self.near))

    def loss(self, x: Tensor) -> Tensor:
        """The denoising loss of one walk per example, [B, size] -> scalar."""
        steps = len(self.rates)
        state = self.infuse(Normal(*(moment.expand_as(x) for moment in self.prior)), x, self.rates[0])
        total = x.new_zeros(())
        for t in range(1, steps + 1):
            total = total - t / steps * self.net(state, t).log_prob(x).sum(1).mean()
            if t < steps:
                with torch.no_grad():
                    model = self.net(state, t)
                state = self.infuse(model, x, self.rates[t])
        return total

    def update(self, x: Tensor) -> float:
        """One update; gives the loss before it."""
        self.optimizer.zero_grad()
        loss = self.loss(x)
        loss.backward()
        self.optimizer.step()
        return loss.item()
