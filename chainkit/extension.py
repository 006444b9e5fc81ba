"""Sampling with another number of steps than the chain was trained with.

A named rule of the chain maps each step asked for to the trained index that stands for it, for
schedules, embeddings and per-step parameters alike.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.frozen
class Step:
    """One step of a sampling chain.

    Arguments:
        k: Step index in 1..N of the sampling chain.
        index: Trained index in 1..K that the operator is called with.
        temperature: Index of the temperature schedule.
    """

    k: int
    index: int
    temperature: int


def data_end(asked: int, trained: int) -> list[Step]:
    """Repeats, or leaves out, steps at the data end: the last trained step is applied again and again (infusion)."""
    indices = [max(k - (asked - trained), 1) for k in range(1, asked + 1)]
    return [Step(k, index, index) for k, index in enumerate(indices, 1)]


def noise_end(asked: int, trained: int) -> list[Step]:
    """Adds, or leaves out, steps at the noise end; added ones are hotter, T_N..T_1 (walkback paper, appendix B)."""
    return [Step(k, min(k, trained), k) for k in range(1, asked + 1)]


def respace(asked: int, trained: int) -> list[Step]:
    """Spreads fewer steps evenly over the trained ones; the last is K."""
    if asked > trained:
        raise ValueError(f"respace samples with at most the {trained} trained steps, not {asked}")
    return [Step(k, index := round(k * trained / asked), index) for k in range(1, asked + 1)]


def refuse(asked: int, trained: int) -> list[Step]:
    """Samples with the trained steps and no others."""
    if asked != trained:
        raise ValueError(f"this chain samples with its {trained} trained steps, not {asked}; see [chain] extend")
    return [Step(k, k, k) for k in range(1, trained + 1)]


RULES: dict[str, Callable[[int, int], list[Step]]] = {
    "data-end": data_end,
    "noise-end": noise_end,
    "respace": respace,
    "refuse": refuse,
}
