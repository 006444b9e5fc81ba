r"""Variance schedules b_1..b_K: how much of a state each step of a diffusion replaces by noise.

A diffusion with variances b keeps the share ``a_k = prod_{i<=k} (1 - b_i)`` of the data after k steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chainkit import Context, Schedule
from chainkit_diffusion.configs import CosineConfig, FixedConfig, GeometricConfig, HarmonicConfig, LearnedConfig, LinearConfig


def _steps(steps: int) -> Tensor:
    return torch.arange(1, steps + 1, dtype=torch.float64)


class LinearVariances(Schedule):
    """``b_k = start + (end - start) (k - 1) / (K - 1)`` (Ho et al. 2020, section 4: 1e-4 to 0.02 for K = 1000).

    Arguments:
        start: b_1, in (0, 1].
        end: b_K, in (0, 1].
    """

    def __init__(self, start: float = 1e-4, end: float = 0.02) -> None:
        super().__init__()
        self.start = start
        self.end = end

    def values(self, steps: int) -> Tensor:
        return torch.linspace(self.start, self.end, steps, dtype=torch.float64)


class GeometricVariances(Schedule):
    r"""``b_k = start (end / start)^{(k-1) / (K-1)}``.

    For small b it makes steps of about equal size in the logarithm of the noise that is in s_k, down
    to the first: for data that is thin in some directions few steps then lose least.

    Arguments:
        start: b_1, in (0, 1].
        end: b_K, in (0, 1].
    """

    def __init__(self, start: float = 1e-3, end: float = 0.5) -> None:
        super().__init__()
        self.start = start
        self.end = end

    def values(self, steps: int) -> Tensor:
        return torch.linspace(math.log(self.start), math.log(self.end), steps, dtype=torch.float64).exp().clamp(max=1)


class FixedVariances(Schedule):
    """Variances that are written out.

    Arguments:
        variances: b_1..b_K, each in (0, 1]; a single number stands for every step.
    """

    def __init__(self, variances: Sequence[float]) -> None:
        super().__init__()
        self.variances = tuple(variances)

    def values(self, steps: int) -> Tensor:
        """The numbers.

        Raises:
            ValueError: There are neither ``steps`` of them nor one.
        """
        if len(self.variances) not in (1, steps):
            raise ValueError(f"{len(self.variances)} variances are written out for a chain of {steps} steps; give one, or {steps}")
        return torch.tensor(self.variances, dtype=torch.float64).expand(steps).clone()


class CosineVariances(Schedule):
    r"""The cosine schedule (Nichol & Dhariwal 2021, eq. 17).

    .. math:: a_k = \frac{f(k)}{f(0)}, \quad f(k) = \cos^2 t_k, \quad t_k = \frac{k / K + o}{1 + o} \cdot \frac{\pi}{2}, \qquad
        b_k = 1 - \frac{a_k}{a_{k-1}} = \frac{\sin(t_k - t_{k-1}) \sin(t_k + t_{k-1})}{\cos^2 t_{k-1}}

    Arguments:
        offset: o, above 0; keeps b_1 from vanishing.
        limit: The largest b_k, in (0, 1).
    """

    def __init__(self, offset: float = 0.008, limit: float = 0.999) -> None:
        super().__init__()
        self.offset = offset
        self.limit = limit

    def values(self, steps: int) -> Tensor:
        width = math.pi / (2 * (1 + self.offset))
        after = (_steps(steps) / steps + self.offset) * width
        before = after - width / steps
        return (math.sin(width / steps) * (after + before).sin() / before.cos().square()).clamp(max=self.limit)


class HarmonicVariances(Schedule):
    """``b_k = 1 / (K - k + 1)``: each step erases the same share 1 / K of the data (Sohl-Dickstein et al. 2015, section 2.4.1).

    After k steps ``a_k = (K - k) / K``; the last state is noise exactly. The released code spaces
    the denominators evenly from K to 2 instead of 1, so that b_K = 1/2.

    Arguments:
        last: The last denominator, 1 as in the paper or 2 as in the code.
    """

    def __init__(self, last: int = 1) -> None:
        super().__init__()
        self.last = last

    def values(self, steps: int) -> Tensor:
        if self.last == 1:
            return 1 / (steps + 1 - _steps(steps))
        return 1 / torch.linspace(max(steps, self.last), self.last, steps, dtype=torch.float64)


class LearnedVariances(Schedule):
    r"""Variances that are learned, all but the first (Sohl-Dickstein et al. 2015, section 2.4.1).

    .. math:: b_1 \text{ fixed}, \qquad b_k = \mathrm{sigmoid}(l_k), \quad k \ge 2

    With a free b_1 the bound could grow without limit on data that lies on few points.

    Arguments:
        initial: b_1..b_K to start from, [K], each in (0, 1).
        first: b_1, in (0, 1); left out, that of ``initial``.

    Raises:
        ValueError: A variance to start from is not inside (0, 1).
    """

    first: Tensor

    def __init__(self, initial: Tensor, first: float | None = None) -> None:
        super().__init__()
        start = initial.detach().double()
        if not bool(((start > 0) & (start < 1)).all()):
            raise ValueError("a learned schedule starts from variances inside (0, 1), none of them 0 or 1")
        self.register_buffer("first", (start[:1] if first is None else start.new_tensor([first])).float())
        self.logits = nn.Parameter(start[1:].logit().float())

    def values(self, steps: int) -> Tensor:
        """The numbers, with gradient.

        Raises:
            ValueError: ``steps`` differs from the number that is learned.
        """
        if steps != len(self.logits) + 1:
            raise ValueError(f"{len(self.logits) + 1} variances are learned, {steps} are asked for")
        return torch.cat([self.first.double(), self.logits.double().sigmoid()])


def linear(config: LinearConfig, context: Context) -> LinearVariances:
    """The schedule ``variance-linear`` of a recipe."""
    return LinearVariances(config.start, config.end)


def geometric(config: GeometricConfig, context: Context) -> GeometricVariances:
    """The schedule ``variance-geometric`` of a recipe."""
    return GeometricVariances(config.start, config.end)


def fixed(config: FixedConfig, context: Context) -> FixedVariances:
    """The schedule ``variance-fixed`` of a recipe."""
    return FixedVariances(config.values)


def cosine(config: CosineConfig, context: Context) -> CosineVariances:
    """The schedule ``variance-cosine`` of a recipe."""
    return CosineVariances(config.offset, config.limit)


def harmonic(config: HarmonicConfig, context: Context) -> HarmonicVariances:
    """The schedule ``variance-harmonic`` of a recipe."""
    return HarmonicVariances(last=1 if config.form == "paper" else 2)


def learned(config: LearnedConfig, context: Context) -> LearnedVariances:
    """The schedule ``variance-learned`` of a recipe, for the steps of its chain."""
    return LearnedVariances(context.build(config.initial).values(context.steps), config.first)
