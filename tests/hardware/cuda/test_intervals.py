"""Rows of a GPU say how well they are known."""

from __future__ import annotations

import pytest

from hawqsearch.hardware.cuda.backend import _measurement


def test_the_interval_is_of_the_rounds_and_not_of_the_runs() -> None:
    """Runs of one round are alike, rounds are not: as many runs as there are say nothing of that."""
    rounds = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, 0.98]
    found = _measurement([ms for ms in rounds for _ in range(5)], 5)
    assert found.n == 40
    assert found.half_width == pytest.approx((1.1 - 0.9) / 2, rel=0.6)
    assert found.half_width is not None
    assert found.half_width > 0.02
    assert _measurement([1.0] * 40, 5).half_width == 0.0


@pytest.mark.parametrize("samples", [[1.0] * 25, [0.0] * 40])
def test_too_few_rounds_or_nothing_seen_have_none(samples: list[float]) -> None:
    assert _measurement(samples, 5).half_width is None
