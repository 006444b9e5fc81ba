"""Estimators: complete figures, repeatable, that leave the chain as it was."""

from __future__ import annotations

import math
from typing import Any

import attrs
import torch

from chainkit.chain import Chain
from chainkit.data import Examples
from chainkit.estimator import Estimate, Estimator
from chainkit.process import ForwardProcess
from chainkit.testing.expect import expect, expect_type, own_draws


def check_estimator(estimator: Estimator, chain: Chain, process: ForwardProcess, examples: Examples, *, where: str = "estimator") -> None:
    """Checks an estimator.

    Arguments:
        estimator: The estimator.
        chain: A chain that it can judge.
        process: A process that walks it.
        examples: What to estimate on.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what :class:`chainkit.estimator.Estimator` promises.
    """
    expect_type(estimator, Estimator, where)
    before = _snapshot(chain)
    with own_draws(where):
        estimate = estimator.estimate(chain.train(), process, examples)
    expect_type(estimate, Estimate, where)
    expect(all(part.training for part in chain.modules()), where, "a chain in the mode that it was in", "another mode")
    changed = [name for name, value in _snapshot(chain).items() if not torch.equal(value, before[name])]
    expect(not changed, where, "a chain left as it was", f"other values of {', '.join(changed)}")
    _check_fields(estimate, examples, where)
    again = estimator.estimate(chain, process, examples).value
    expect(again == estimate.value, where, f"the same value from the same seed, {estimate.value!r}", repr(again))
    turned = estimator.estimate(chain, process, attrs.evolve(examples, index=examples.index.flip(0))).value
    close = math.isclose(turned, estimate.value, rel_tol=1e-4, abs_tol=1e-4)
    expect(close, where, f"a value that does not depend on the order of the examples, {estimate.value!r}", repr(turned))


def _snapshot(chain: Chain) -> dict[str, Any]:
    return {name: value.clone() for name, value in chain.state_dict().items()}


def _check_fields(estimate: Estimate, examples: Examples, where: str) -> None:
    data = examples.data
    for name in ("value", "error_examples", "error_walks", "effective", "effective_min", "baseline", "bits_per_dim"):
        value = getattr(estimate, name)
        expect(value is None or math.isfinite(value), f"{where}, {name}", "a finite number", value)
    for name in ("error_examples", "error_walks", "effective", "effective_min"):
        value = getattr(estimate, name)
        expect(value is None or value >= 0, f"{where}, {name}", "0 or more", value)
    for name in ("name", "meaning", "unit"):
        expect(bool(getattr(estimate, name).strip()), f"{where}, {name}", "words", "nothing")
    stated = {"split": examples.split, "preparation": data.preparation.words, "dim": data.summary.dim, "seed": examples.seed}
    for name, value in stated.items():
        expect(getattr(estimate, name) == value, f"{where}, {name}", repr(value), repr(getattr(estimate, name)))
    expect(estimate.examples > 0, f"{where}, examples", "1 or more", estimate.examples)
    if estimate.likelihood:
        expect(estimate.bin_width == data.preparation.bin_width, f"{where}, bin_width", str(data.preparation.bin_width), estimate.bin_width)
