r"""The generative chain: noise from the prior, then K learned steps towards data.

.. math:: p(x, s_1..s_K) = p^*(s_K) \prod_{k=1}^{K} p(s_{k-1} | s_k), \qquad s_0 = x

(walkback paper, eq. 6; infusion paper, section 3.3.2). Step k runs at temperature T_k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
import torch
from torch import Tensor, nn

from chainkit.capabilities import Distribution, HasMean, LastStepApart, Respaceable
from chainkit.extension import RULES, Step
from chainkit.interrupt import poll
from chainkit.modes import evaluating
from chainkit.operator import TransitionOperator
from chainkit.prior import Prior
from chainkit.random import Source
from chainkit.schedule import Schedule
from chainkit.states import State, tensors

Clamp: TypeAlias = Callable[[State, int], State]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Samples:
    """What a chain generated.

    Arguments:
        state: s_0, the draws [n, *event].
        mean: Mean of the last kernel, [n, *event], where it exists, else None.
        path: s_N..s_0, the states from noise to data, all or some of them; empty unless asked for.
        steps: N, the number of steps taken.
        kept: The step k of each state of the path; N..0 unless given.
    """

    state: State
    mean: State | None
    path: list[State]
    steps: int
    kept: Sequence[int] = attrs.field()

    @kept.default
    def _all(self) -> Sequence[int]:
        return range(len(self.path) - 1, -1, -1)

    def __repr__(self) -> str:
        shapes = ("x".join(map(str, tensor.shape)) for tensor in tensors(self.state))
        return f"<Samples {', '.join(shapes)} after {self.steps} steps, {len(self.path)} states kept>"


class Chain(nn.Module):
    """A prior and an operator, applied K times.

    Arguments:
        prior: p*(s_K).
        operator: p(s_{k-1} | s_k).
        steps: K >= 1, the number of trained steps.
        temperature: T_k by step; None is T_k = 1 throughout.
        extend: How to sample with another number of steps: ``refuse``, ``data-end``, ``noise-end``
            or ``respace`` (:mod:`chainkit.extension`).

    Raises:
        ValueError: ``steps`` below 1, an unknown rule, or a temperature that is not positive and finite;
            one that is learned is looked at as it starts.
    """

    def __init__(
        self, prior: Prior, operator: TransitionOperator, steps: int, *, temperature: Schedule | None = None, extend: str = "refuse"
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"a chain has at least one step, not {steps}")
        if extend not in RULES:
            raise ValueError(f"extend is one of {', '.join(RULES)}, not {extend!r}")
        self.prior = prior
        self.operator = operator
        self.steps = steps
        self.temperature = temperature
        self.extend = extend
        self._require_temperatures(steps)

    def temperatures(self, steps: int | None = None) -> list[float] | Tensor:
        """T_1..T_steps, as floats or, where they are learned, as a tensor [steps].

        Arguments:
            steps: How many; K unless given.
        """
        steps = self.steps if steps is None else steps
        if self.temperature is None:
            return [1.0] * steps
        values = self.temperature.values(steps)
        return values if values.requires_grad else values.tolist()

    def _require_temperatures(self, steps: int) -> None:
        temperatures = self.temperatures(steps)
        for k, value in enumerate(temperatures.tolist() if isinstance(temperatures, Tensor) else temperatures, 1):
            if not 0 < value < math.inf:
                raise ValueError(f"T_{k} = {value:g} is no temperature, which is positive and finite")

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        steps: int | None = None,
        condition: Any = None,
        clamp: Clamp | None = None,
        source: Source = None,
        keep_path: bool | int = False,
    ) -> Samples:
        """Generates ``n`` states, in evaluation mode.

        Arguments:
            n: How many, at least 1.
            steps: N, the number of steps; the trained K unless given.
            condition: What to condition on, one row per sample, or None.
            clamp: A function of (s_k, k), applied to every state from s_N to s_0, that puts known
                parts in place (:func:`hold`), or None.
            source: Where the random numbers come from.
            keep_path: Whether to return every state on the way; a number, 2 or more, is how many at most, evenly over the steps
                with both ends among them.

        Raises:
            ValueError: ``n`` or ``steps`` below 1, fewer than 2 states of the way, or the chain's rule does not allow this number of steps.
        """
        if n < 1:
            raise ValueError(f"at least one state is drawn, not {n}")
        operator, plan = self.plan(self.steps if steps is None else steps)
        temperatures = self.temperatures(max(step.temperature for step in plan))
        kept = _kept(len(plan), keep_path)
        held = clamp or (lambda state, k: state)
        with evaluating(self, operator):
            state = held(self.prior(n).sample(source), len(plan))
            path = [state] if kept else []
            reverse: Distribution
            for step in reversed(plan):
                poll()
                reverse = operator(state, step.index, condition).at(temperatures[step.temperature - 1])
                state = held(reverse.sample(source), step.k - 1)
                if step.k - 1 in kept:
                    path.append(state)
        mean = held(reverse.mean, 0) if isinstance(reverse, HasMean) else None
        return Samples(state=state, mean=mean, path=path, steps=len(plan), kept=kept)

    def plan(self, steps: int) -> tuple[TransitionOperator, list[Step]]:
        """The operator and the steps that sampling with this number of steps takes, k = 1..N.

        Arguments:
            steps: N.

        Raises:
            ValueError: ``steps`` below 1, the chain's rule does not allow it, or a temperature beyond T_K is
                not positive and finite.
        """
        if steps < 1:
            raise ValueError(f"a chain is sampled with at least one step, not {steps}")
        plan = RULES[self.extend](steps, self.steps)
        if (hottest := max(step.temperature for step in plan)) > self.steps:
            self._require_temperatures(hottest)
        if isinstance(self.operator, LastStepApart) and sum(step.index == 1 for step in plan) != 1:
            raise ValueError(
                f"{type(self.operator).__name__} takes its step 1 once, at the end, which {self.extend!r} does not for {steps} steps of a "
                f'chain of {self.steps}; "noise-end" does from 2 steps up'
            )
        if self.extend != "respace" or steps == self.steps:
            return self.operator, plan
        if not isinstance(self.operator, Respaceable):
            raise ValueError(f"{type(self.operator).__name__} cannot be respaced")
        respaced = self.operator.respaced([step.index for step in plan])
        return respaced, [Step(step.k, step.k, step.temperature) for step in plan]


def _kept(steps: int, keep_path: bool | int) -> Sequence[int]:
    """Steps k, falling, of the states that are kept of N steps."""
    if isinstance(keep_path, bool):
        return range(steps, -1, -1) if keep_path else ()
    if keep_path < 2:
        raise ValueError(f"of a way at least its two ends are kept, not {keep_path} states")
    intervals = min(keep_path - 1, steps)
    return [steps - round(place * steps / intervals) for place in range(intervals + 1)]


def hold(mask: Tensor, value: Tensor) -> Clamp:
    """A clamp that holds known pixels at their values in every state (inpainting).

    Arguments:
        mask: Boolean, [*event] or [n, *event], true where the value is known.
        value: The known values, broadcastable to the state, in model units.
    """
    return lambda state, k: torch.where(mask, value, state)
