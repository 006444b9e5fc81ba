"""Variational Walkback (Algorithm 1) as a user would write it: modules, torch.distributions, one forward to sample and one to train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli
from yardsticks.draws import Draws


class Operator(nn.Module):
    """One hidden layer of tanh, averaged with the state, read as bits.

    Arguments:
        size: Elements of a state.
        hidden: Width of the hidden layer.
        alpha: Weight of the network's proposal.
    """

    def __init__(self, size: int, hidden: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, size))
        self.alpha = alpha

    def forward(self, state: Tensor, temperature: float) -> Bernoulli:
        """p_T(. | state)."""
        return Bernoulli(logits=((1 - self.alpha) * state + self.alpha * self.net(state)) / temperature)


class UserLoop:
    """The training loop.

    Arguments:
        operator: The operator.
        temperatures: T_1..T_K.
        draw_first: Whether s_{k+1} is drawn before the update of step k, as chainkit does, not after it.
        draws: Where random numbers come from.
    """

    def __init__(self, operator: Operator, temperatures: Sequence[float], *, draw_first: bool = False, draws: Draws | None = None) -> None:
        self.operator = operator
        self.temperatures = temperatures
        self.draw_first = draw_first
        self.draws = draws or Draws()
        self.optimizer = torch.optim.Adam(operator.parameters(), lr=1e-4)

    @torch.no_grad()
    def away(self, state: Tensor, temperature: float) -> Tensor:
        """The next state on the walk from the data."""
        return self.draws.bits(self.operator(state, temperature))

    def losses(self, x: Tensor) -> Iterator[Tensor]:
        """The loss of every step, -log p_{T_k}(s_{k-1} | s_k), mean over the batch."""
        previous, state = x, self.away(x, self.temperatures[0])
        for number, temperature in enumerate(self.temperatures):
            last = number + 1 == len(self.temperatures)
            following = self.away(state, self.temperatures[number + 1]) if self.draw_first and not last else None
            yield -self.operator(state, temperature).log_prob(previous).sum(1).mean()
            if not last:
                previous, state = state, self.away(state, self.temperatures[number + 1]) if following is None else following

    def update(self, x: Tensor) -> float:
        """One update for the whole walk; gives the loss before it."""
        self.optimizer.zero_grad()
        loss = torch.stack(list(self.losses(x))).sum()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def update_per_step(self, x: Tensor) -> float:
        """One update after every step; gives the sum of the losses."""
        total = 0.0
        for loss in self.losses(x):
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total
