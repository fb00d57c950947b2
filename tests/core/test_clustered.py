"""Means with standard errors clustered by source, against the formula written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawqsearch.core.clustered import clustered_mean

VALUES = st.lists(st.tuples(st.floats(-10, 10), st.integers(-3, 3)), min_size=1, max_size=30)


@given(VALUES)
def test_it_is_the_formula(rows: list[tuple[float, int]]) -> None:
    """Mean, and sqrt(G/(G-1) · sum over groups of (sum of deviations)²) / n; with one group each row is its own."""
    found = clustered_mean(np.array([v for v, _ in rows]), np.array([g for _, g in rows]))
    mean = sum(v for v, _ in rows) / len(rows)
    groups = {g for _, g in rows}
    sums = [sum(v - mean for v, g in rows if g == group) for group in groups]
    if len(groups) == 1:
        sums = [v - mean for v, _ in rows]
    factor = len(sums) / (len(sums) - 1) if len(sums) > 1 else 1.0
    assert found.value == pytest.approx(mean, abs=1e-12)
    assert found.stderr == pytest.approx(math.sqrt(factor * sum(s * s for s in sums)) / len(rows), abs=1e-9)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30))
def test_of_independent_examples_it_is_the_usual_error(values: list[float]) -> None:
    found = clustered_mean(np.array(values), np.arange(len(values)))
    assert found.stderr == pytest.approx(np.std(values, ddof=1) / math.sqrt(len(values)), abs=1e-9)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=20), st.integers(2, 5))
def test_copies_of_an_example_tell_nothing_new(values: list[float], copies: int) -> None:
    """Every example repeated under its own group: the same mean and the same error, not one of sqrt(n) less."""
    alone = clustered_mean(np.array(values), np.arange(len(values)))
    repeated = clustered_mean(np.repeat(values, copies), np.repeat(np.arange(len(values)), copies))
    assert repeated.value == pytest.approx(alone.value, abs=1e-9)
    assert repeated.stderr == pytest.approx(alone.stderr, abs=1e-9)
