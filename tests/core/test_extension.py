"""Sampling with other numbers of steps: which trained index and which temperature every step gets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainkit.extension import RULES, Step

lengths = st.integers(1, 60)

TABLE = [
    # rule, asked, trained, indices from the data end, temperatures
    ("refuse", 3, 3, [1, 2, 3], [1, 2, 3]),
    ("data-end", 5, 3, [1, 1, 1, 2, 3], [1, 1, 1, 2, 3]),
    ("data-end", 2, 3, [2, 3], [2, 3]),
    ("noise-end", 5, 3, [1, 2, 3, 3, 3], [1, 2, 3, 4, 5]),
    ("noise-end", 2, 3, [1, 2], [1, 2]),
    ("respace", 2, 8, [4, 8], [4, 8]),
    ("respace", 3, 8, [3, 5, 8], [3, 5, 8]),
    ("respace", 1, 8, [8], [8]),
]


@pytest.mark.parametrize(("rule", "asked", "trained", "indices", "temperatures"), TABLE)
def test_table_of_rules(rule, asked, trained, indices, temperatures):
    expected = [Step(k, index, temperature) for k, (index, temperature) in enumerate(zip(indices, temperatures, strict=True), 1)]
    assert RULES[rule](asked, trained) == expected


@pytest.mark.parametrize("rule", sorted(RULES))
@given(trained=lengths)
def test_the_trained_length_is_taken_as_it_is(rule, trained):
    assert RULES[rule](trained, trained) == [Step(k, k, k) for k in range(1, trained + 1)]


@pytest.mark.parametrize("rule", ["data-end", "noise-end"])
@given(asked=lengths, trained=lengths)
def test_indices_are_trained_ones_in_order(rule, asked, trained):
    plan = RULES[rule](asked, trained)
    indices = [step.index for step in plan]
    assert [step.k for step in plan] == list(range(1, asked + 1))
    assert indices == sorted(indices)
    assert set(indices) <= set(range(1, trained + 1))


@given(asked=lengths, trained=lengths)
def test_respaced_indices_rise_and_end_at_the_last(asked, trained):
    if asked > trained:
        with pytest.raises(ValueError, match=f"at most the {trained} trained steps, not {asked}"):
            RULES["respace"](asked, trained)
        return
    indices = [step.index for step in RULES["respace"](asked, trained)]
    assert indices[0] >= 1
    assert indices[-1] == trained
    assert all(low < high for low, high in pairwise(indices))
    gaps = [high - low for low, high in zip([0, *indices], indices, strict=False)]
    assert max(gaps) - min(gaps) <= 1


@given(asked=lengths, trained=lengths)
def test_refuse_allows_only_the_trained_length(asked, trained):
    if asked != trained:
        with pytest.raises(ValueError, match="extend"):
            RULES["refuse"](asked, trained)
