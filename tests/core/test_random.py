"""Sources of random numbers: what is drawn depends on the key, and on nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainkit.distributions import Gaussian
from chainkit.random import BITS, Rows, chance, global_seed, integers, normal, seed_of, seeded, uniform


def rows_of(*names: str, rows: int = 1) -> Rows:
    return Rows([seeded("cpu", 0, name) for name in names], rows)


@settings(max_examples=50)
@given(
    position=st.integers(0, 4),
    shape=st.sampled_from([(1,), (3,), (17,), (40,), (2, 3, 5)]),
    rows=st.integers(1, 4),
    draw=st.sampled_from(
        [normal, uniform, lambda like, source: chance(like, 0.25, source), lambda like, source: chance(like, 0.3, source)]
    ),
)
def test_an_example_draws_the_same_alone_or_with_mates(position, shape, rows, draw):
    names = ["a", "b", "c", "d"]
    names.insert(position, "mine")
    together = draw(torch.empty(5 * rows, *shape), source=rows_of(*names, rows=rows))
    alone = draw(torch.empty(rows, *shape), source=rows_of("mine", rows=rows))
    assert torch.equal(together[position * rows : (position + 1) * rows], alone)


def test_later_draws_stay_those_of_the_example():
    together, alone = rows_of("a", "mine"), rows_of("mine")
    for width in (2, 30, 1):
        assert torch.equal(normal(torch.empty(2, width), together)[1:], normal(torch.empty(1, width), alone))


def test_a_source_for_other_rows_is_refused():
    with pytest.raises(ValueError, match="2 rows cannot fill 3"):
        normal(torch.empty(3, 1), rows_of("a", "b"))


def test_keys_give_unrelated_repeatable_seeds():
    keys = [(0,), (1,), (0, "update", 1), (0, "update", 2), (0, "update", 12), ("update", 0, 1), (0, "update1", 2)]
    seeds = [seed_of(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [seed_of(*key) for key in keys]


def test_draws_fill_what_is_expanded_or_laid_out_otherwise():
    like = torch.zeros(1, 3).expand(4, 3)
    assert normal(like, seeded("cpu", 0)).unique().numel() == 12
    transposed = torch.zeros(3, 4).T
    assert torch.equal(normal(transposed, seeded("cpu", 0)), normal(torch.zeros(4, 3), seeded("cpu", 0)))


def test_draws_have_no_gradient():
    like = torch.zeros(2, 2, requires_grad=True)
    assert not normal(like).requires_grad
    assert not uniform(like).requires_grad


def test_integers_are_uniform_on_both_ends_inclusive():
    n = 60_000
    drawn = integers(2, 7, n, "cpu", seeded("cpu", 1))
    assert drawn.dtype == torch.long
    frequency = drawn.bincount(minlength=8) / n
    assert (frequency[:2] == 0).all()
    assert ((frequency[2:] - 1 / 6).abs() < 4 * math.sqrt(1 / 6 * 5 / 6 / n)).all()


def test_integers_of_an_example_do_not_depend_on_its_mates():
    together = integers(0, 10**6, 4, "cpu", rows_of("a", "mine", rows=2))
    assert torch.equal(together[2:], integers(0, 10**6, 2, "cpu", rows_of("mine", rows=2)))


def test_without_a_source_the_global_generator_is_used():
    torch.manual_seed(0)
    first = normal(torch.empty(3))
    torch.manual_seed(0)
    assert torch.equal(first, normal(torch.empty(3)))


def test_with_a_source_the_global_generator_stays_as_it_is():
    before = torch.get_rng_state()
    Gaussian(torch.zeros(3, 2), torch.tensor(1.0)).sample(rows_of("a", "b", "c"))
    integers(0, 5, 10, "cpu", seeded("cpu", 0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("probability", [0, 1 / BITS, 0.01, 655 / BITS, 0.25, 0.5, 0.9, 1 - 1 / BITS, 1])
def test_chances_are_what_was_asked_for(probability):
    """Within 5 standard errors over 4e6 draws; a bit lost or gained at 2^-16 would be seen where p is small."""
    draws = torch.cat([chance(torch.empty(1000, 999), probability, seeded("cpu", 0, block)) for block in range(4)])
    error = math.sqrt(probability * (1 - probability) / draws.numel())
    assert draws.dtype == torch.bool
    assert abs(draws.double().mean().item() - probability) <= 5 * error


def test_chances_of_neighbouring_elements_are_independent():
    """Four of them share one random word."""
    draws = chance(torch.empty(40_000, 8), 0.25, seeded("cpu", 3)).double()
    correlations = torch.corrcoef(draws.T) - torch.eye(8)
    assert correlations.abs().max() < 5 / math.sqrt(40_000)


def test_the_global_generator_depends_on_the_key_within_and_is_as_it_was_after():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    drawn = []
    for key in ("a", "a", "b"):
        with global_seed(0, key):
            drawn.append(torch.rand(3))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
