r"""Walks of a fixed diffusion.

.. math:: q(s_1..s_K | x) = \prod_{k=1}^K q(s_k | s_{k-1})
          = q(s_K | x) \prod_{k=2}^K q(s_{k-1} | s_k, x)

(Sohl-Dickstein et al. 2015, eqs. 1-3). Since every ``q(s_k | x)`` and every ``q(s_{k-1} | s_k, x)``
is known, a walk can be drawn from the noise down to the data, and any of its steps alone. The
shares of log w follow the second form of q:

.. math:: \log w = \log \frac{p^*(s_K)}{q(s_K | x)} + \sum_{k=2}^K \log \frac{p(s_{k-1} | s_k)}{q(s_{k-1} | s_k, x)} + \log p(x | s_1)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.capabilities import Density, Distribution, Posteriors, RandomAccess, Reparametrised
from chainkit.chain import Chain
from chainkit.process import ForwardProcess
from chainkit.random import Source
from chainkit.schedule import Schedule
from chainkit.states import State, per_row
from chainkit.transition import Transition
from chainkit_diffusion.steps import Mask, masked

Table = TypeVar("Table")
Law = TypeVar("Law", bound=Density)


class FixedDiffusion(ForwardProcess, Posteriors, RandomAccess, Generic[Table, Law]):
    """A diffusion with known marginals and posteriors.

    Subclasses say of which distributions (``Law``), and which numbers of the steps these need
    (``Table``). A walk evaluates the operator at s_K..s_1, exactly K times.

    Arguments:
        schedule: b_1..b_K, each in (0, 1].
        steps: K, at least 1.

    Raises:
        ValueError: A variance outside (0, 1], or a schedule that does not go with K steps.
    """

    def __init__(self, schedule: Schedule, steps: int) -> None:
        super().__init__()
        variances = schedule.values(steps)
        if not bool(((variances > 0) & (variances <= 1)).all()):
            raise ValueError("the variances of a diffusion lie above 0 and at most at 1")
        self.schedule = schedule
        self.steps = steps
        self._tables: dict[torch.device, Table] = {}

    @abstractmethod
    def tabulate(self, variances: Tensor) -> Table:
        """The numbers of all steps, each a float64 tensor [K], from b_1..b_K."""

    @abstractmethod
    def marginal_from(self, table: Table, origin: Tensor, k: int | Tensor) -> Law:
        """q(s_k | x), the numbers of the steps given."""

    @abstractmethod
    def posterior_from(self, table: Table, state: Tensor, origin: Tensor, k: int | Tensor) -> Law:
        """q(s_{k-1} | s_k, x) for k >= 2, the numbers of the steps given."""

    @abstractmethod
    def step(self, state: Tensor, k: int | Tensor) -> Law:
        """The forward kernel q(s_k | s_{k-1} = state), for k in 1..K, an int or a LongTensor [B]."""

    @property
    def learned(self) -> bool:
        """Whether the schedule is being learned."""
        return any(parameter.requires_grad for parameter in self.schedule.parameters())

    def table(self, device: torch.device) -> Table:
        """The numbers of all steps, on a device.

        A schedule that has no state cannot change and is tabulated once per device; any other one
        at every call, with gradient where it is learned.
        """
        if self.schedule.state_dict():
            return self.tabulate(self.schedule.values(self.steps).to(device))
        if device not in self._tables:
            # What is made in inference mode could never again take part in training.
            with torch.inference_mode(False):
                self._tables[device] = self.tabulate(self.schedule.values(self.steps).to(device))
        return self._tables[device]

    def marginal(self, origin: Tensor, k: int | Tensor) -> Law:
        return self.marginal_from(self.table(origin.device), origin, k)

    def posterior(self, state: Tensor, origin: Tensor, k: int | Tensor) -> Law:
        return self.posterior_from(self.table(origin.device), state, origin, k)

    def walk(
        self, chain: Chain, batch: Batch, *, source: Source = None, path_gradient: bool = False, with_log_ratio: bool = False
    ) -> Iterator[Transition]:
        """One complete walk for each example, k = K..1.

        Without ``path_gradient`` the forward process is held fixed, its schedule too; with it, the
        draws keep their gradient to a learned schedule (to a fixed one there is none).

        Raises:
            ValueError: The chain has another number of steps than the process.
        """
        differentiable = path_gradient and self.learned
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            table = self.table(batch.origin.device)
        walk = _Walk(self, chain, batch, table, source, differentiable, with_log_ratio)
        temperatures = chain.temperatures()
        state: State = walk.arrive(self.steps)
        for k in range(self.steps, 0, -1):
            transition = walk.descend(state, k, temperatures[k - 1])
            state = transition.previous
            yield transition
            del transition

    def visit(self, chain: Chain, batch: Batch, k: int | Tensor, *, source: Source = None, with_log_ratio: bool = False) -> Transition:
        """One step of a fresh walk; the arguments are those of :class:`~chainkit.capabilities.RandomAccess`.

        ``weight`` is K, that of steps drawn uniformly. Where the schedule is learned, the draws
        keep their gradient to it.

        Raises:
            ValueError: The chain has another number of steps than the process.
        """
        walk = _Walk(self, chain, batch, self.table(batch.origin.device), source, self.learned, with_log_ratio)
        return walk.descend(walk.arrive(k), k, _temperature(chain, k, batch.origin), weight=float(self.steps))


class _Walk:
    """What stays the same during one walk.

    Arguments:
        process: The process.
        chain: The generative chain.
        batch: The examples.
        table: The numbers of the process's steps.
        source: Where the random numbers come from.
        differentiable: Whether draws keep their gradient to the table.
        with_log_ratio: Whether shares of log w are wanted.
    """

    def __init__(
        self,
        process: FixedDiffusion[Any, Any],
        chain: Chain,
        batch: Batch,
        table: Any,
        source: Source,
        differentiable: bool,
        with_log_ratio: bool,
    ) -> None:
        if chain.steps != process.steps:
            raise ValueError(f"a diffusion of {process.steps} steps cannot train a chain of {chain.steps}")
        self.process = process
        self.chain = chain
        self.batch = batch
        self.table = table
        self.source = source
        self.differentiable = differentiable
        self.with_log_ratio = with_log_ratio

    def arrive(self, k: int | Tensor) -> Tensor:
        """s_k, drawn from x at once."""
        return self._draw(self.process.marginal_from(self.table, self.batch.origin, k))

    def descend(self, state: Tensor, k: int | Tensor, temperature: float | Tensor, weight: float = 1.0) -> Transition:
        """The step from s_k to s_{k-1}; at k = 1 that is x itself."""
        origin = self.batch.origin
        posterior = self._posterior(state, k)
        previous = origin
        if posterior is not None:
            previous = self._draw(posterior)
        if isinstance(k, Tensor):
            previous = torch.where(per_row(k == 1, origin), origin, previous)
        reverse = self.chain.operator(state, k, self.batch.condition).at(temperature)
        share = self._share(reverse, posterior, state, previous, k) if self.with_log_ratio else None
        return Transition(
            k=k,
            steps=self.process.steps,
            state=state,
            previous=previous,
            origin=origin,
            condition=self.batch.condition,
            reverse=reverse,
            weight=weight,
            log_ratio=share,
        )

    def _posterior(self, state: Tensor, k: int | Tensor) -> Density | None:
        """q(s_{k-1} | s_k, x), for rows at k = 1 that of k = 2, to be masked out; None where all rows are at k = 1."""
        if self.process.steps == 1 or (isinstance(k, int) and k == 1):
            return None
        later = k.clamp(min=2) if isinstance(k, Tensor) else k
        return self.process.posterior_from(self.table, state, self.batch.origin, later)

    def _share(self, reverse: Distribution, posterior: Density | None, state: Tensor, previous: Tensor, k: int | Tensor) -> Tensor:
        """This step's share of log w, [B] in nats."""
        if not isinstance(reverse, Density):
            raise TypeError(f"log w needs kernels with a density, got {type(reverse).__name__}")
        share = reverse.log_prob(previous)
        if posterior is not None:
            share = share - masked(posterior.log_prob(previous), k != 1)
        at_noise: Mask = k == self.process.steps
        if at_noise is not False:
            arrival = self.process.marginal_from(self.table, self.batch.origin, self.process.steps)
            share = share + masked(self.chain.prior(len(state)).log_prob(state) - arrival.log_prob(state), at_noise)
        return share

    def _draw(self, distribution: Density) -> Tensor:
        if self.differentiable and isinstance(distribution, Reparametrised):
            return distribution.rsample(self.source)
        return distribution.sample(self.source)


def _temperature(chain: Chain, k: int | Tensor, like: Tensor) -> float | Tensor:
    """T_k, or one per row where the chain has temperatures."""
    if chain.temperature is None:
        return 1.0
    temperatures = chain.temperatures()
    if isinstance(k, int):
        return temperatures[k - 1]
    return torch.as_tensor(temperatures, dtype=like.dtype, device=like.device)[k - 1]
