"""The end-to-end correction on networks whose every part is known."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawqsearch.core.latency import LatencyModel, Term
from hawqsearch.hardware.fit import TimedConfig, fit

LAYERS = range(20)


def parts(source: random.Random) -> dict[Term, float]:
    """Times measured alone of 20 layers in two precisions, and of changes of precision between them."""
    times = {Term(f"layer {i}", "fp32"): source.uniform(0.1, 1.0) for i in LAYERS}
    times |= {Term(t.name, "w8a8"): ms * source.uniform(0.3, 0.8) for t, ms in times.items()}
    return times | {Term(f"edge {i}", "to_int8"): source.uniform(0.01, 0.1) for i in LAYERS}


def groups(times: dict[Term, float]) -> dict[Term, str]:
    return {term: term.what for term in times}


def config(source: random.Random) -> tuple[Term, ...]:
    share = source.random()
    chosen = ["w8a8" if source.random() < share else "fp32" for _ in LAYERS]
    changes = [i for i in LAYERS if chosen[i] == "w8a8" and (i == 0 or chosen[i - 1] == "fp32")]
    layers = [Term(f"layer {i}", what) for i, what in enumerate(chosen)]
    return (*layers, *(Term(f"edge {i}", "to_int8") for i in changes))


def total(model: LatencyModel, terms: tuple[Term, ...]) -> float:
    return model.fixed_ms + sum(model.terms[t] for t in terms)


def worst(model: LatencyModel, truth: dict[Term, float], fixed: float, seed: int) -> float:
    """Largest relative error on 50 configurations that were never timed."""
    source = random.Random(seed)
    errors = []
    for _ in range(50):
        terms = config(source)
        expected = fixed + sum(truth[t] for t in terms)
        errors.append(abs(total(model, terms) / expected - 1))
    return max(errors)


@pytest.mark.parametrize("seed", range(10))
def test_it_recovers_what_unseen_configurations_take(seed: int) -> None:
    """Kinds of kernels are off by up to 40 %, each term by up to 10 %; 16 configurations bring totals to 3 %."""
    source = random.Random(seed)
    alone = parts(source)
    off = {what: source.uniform(0.8, 1.4) for what in ("fp32", "w8a8", "to_int8")}
    truth = {t: ms * off[t.what] * source.uniform(0.9, 1.1) for t, ms in alone.items()}
    fixed = 0.1
    timed = [TimedConfig(c, fixed + sum(truth[t] for t in c)) for c in (config(source) for _ in range(16))]
    corrected = fit(alone, groups(alone), timed)
    assert worst(corrected, truth, fixed, seed) < 0.03
    assert worst(corrected, truth, fixed, seed) < 0.6 * worst(
        fit(alone, groups(alone), []), truth, fixed, seed
    )
    assert corrected.n_fitted == 16


def test_without_timings_it_is_the_plain_sum() -> None:
    alone = parts(random.Random(0))
    model = fit(alone, groups(alone), [])
    assert dict(model.terms) == alone
    assert (model.fixed_ms, model.n_fitted) == (0.0, 0)


def test_timings_that_agree_with_the_parts_change_nothing() -> None:
    source = random.Random(1)
    alone = parts(source)
    timed = [TimedConfig(c, sum(alone[t] for t in c)) for c in (config(source) for _ in range(8))]
    model = fit(alone, groups(alone), timed)
    assert {t: pytest.approx(ms) for t, ms in model.terms.items()} == alone
    assert model.spread == pytest.approx(0.0, abs=1e-9)


@given(st.integers(0, 2**32), st.integers(1, 20))
def test_no_term_is_ever_negative(seed: int, n: int) -> None:
    """However far the timings are from the sum of the parts."""
    source = random.Random(seed)
    alone = parts(source)
    timed = [TimedConfig(config(source), 10 ** source.uniform(-3, 2)) for _ in range(n)]
    model = fit(alone, groups(alone), timed)
    assert model.fixed_ms >= 0
    assert all(ms >= 0 for ms in model.terms.values())
    assert np.isfinite(model.spread)


@pytest.mark.parametrize("seed", range(5))
def test_its_spread_is_that_of_configurations_left_out(seed: int) -> None:
    """The closed form against fits that really leave one out. They agree to 10 %: the prior of the fixed part
    looks at the largest time, and terms stop at zero."""
    source = random.Random(seed)
    alone = parts(source)
    truth = {t: ms * source.uniform(0.8, 1.3) for t, ms in alone.items()}
    timed = [TimedConfig(c, sum(truth[t] for t in c)) for c in (config(source) for _ in range(16))]
    left_out = []
    for i, one in enumerate(timed):
        others = fit(alone, groups(alone), timed[:i] + timed[i + 1 :])
        left_out.append(total(others, one.terms) / one.latency_ms - 1)
    expected = float(np.sqrt(np.mean(np.square(left_out))))
    assert fit(alone, groups(alone), timed).spread == pytest.approx(expected, rel=0.1)
