"""The end-to-end correction: parts measured alone, refined by whole networks timed.

Layer times do not add up. The model is linear in the terms that a configuration pays,

    y = fixed + sum_k m_k (1 + group_g(k) + own_k) + noise,

with m_k the time of part k measured alone. Everything in brackets is Gaussian with mean zero before
any whole network was timed: `group` for all kernels of an operator kind and precision (caches, fusions),
`own` for this very term. The posterior mean is the corrected model (Bishop 2006, section 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.latency import LatencyModel, Term

__all__ = ["TimedConfig", "fit", "left_out_ms"]

_GROUP_SD: Final = 0.35
_OWN_SD: Final = 0.15
_OWN_FLOOR_MS: Final = 0.002
_FIXED_SD_SHARE: Final = 0.05
_NOISE_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class TimedConfig:
    """A configuration as the terms that it pays, and its measured latency in ms."""

    terms: tuple[Term, ...]
    latency_ms: float


def fit(
    parts: Mapping[Term, float],
    groups: Mapping[Term, str],
    timed: Sequence[TimedConfig],
    *,
    fixed_ms: float = 0.0,
) -> LatencyModel:
    """`parts` (ms, measured alone) corrected by `timed`; with none of these, their plain sum.

    The spread is that of leave-one-out predictions.
    """
    if not timed:
        return LatencyModel(fixed_ms=fixed_ms, terms=FrozenDict(parts), spread=0.25, n_fitted=0)
    solution, left_out = _solved(parts, groups, timed, fixed_ms)
    measured = np.array([t.latency_ms for t in timed])
    times = np.maximum(solution[1:], 0.0)
    return LatencyModel(
        fixed_ms=float(max(solution[0], 0.0)),
        terms=FrozenDict(zip(parts, times.tolist(), strict=True)),
        spread=float(np.sqrt(np.mean((left_out / measured) ** 2))),
        n_fitted=len(timed),
    )


def left_out_ms(
    parts: Mapping[Term, float],
    groups: Mapping[Term, str],
    timed: Sequence[TimedConfig],
    *,
    fixed_ms: float = 0.0,
) -> tuple[float, ...]:
    """What the correction says of each of `timed` when it is fitted on all the others, in ms."""
    _, left_out = _solved(parts, groups, timed, fixed_ms)
    return tuple(max(t.latency_ms - float(r), 0.0) for t, r in zip(timed, left_out, strict=True))


def _solved(
    parts: Mapping[Term, float], groups: Mapping[Term, str], timed: Sequence[TimedConfig], fixed_ms: float
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean (1 + terms) in ms, and the residual of every one of `timed` when the others predict it."""
    order = list(parts)
    alone = np.array([parts[t] for t in order])
    design = _design(order, timed)
    measured = np.array([t.latency_ms for t in timed])
    prior = _prior_covariance(order, alone, groups, float(measured.max()))
    mean = np.concatenate([[fixed_ms], alone])
    # (n, n): covariance of what is observed; relative noise
    observed = design @ prior @ design.T + np.diag((_NOISE_SHARE * measured) ** 2)
    residual = measured - design @ mean
    inverse = np.linalg.inv(observed)
    solution = mean + prior @ design.T @ inverse @ residual
    left_out = (inverse @ residual) / np.diag(inverse)  # Rasmussen 2006, eq. 5.12
    return solution, left_out


def _design(order: Sequence[Term], timed: Sequence[TimedConfig]) -> np.ndarray:
    """(configurations, 1 + terms): how often each pays the fixed part and each term."""
    column = {term: i + 1 for i, term in enumerate(order)}
    design = np.zeros((len(timed), len(order) + 1))
    design[:, 0] = 1.0
    for row, config in enumerate(timed):
        for term in config.terms:
            design[row, column[term]] += 1.0
    return design


def _prior_covariance(
    order: Sequence[Term], alone: np.ndarray, groups: Mapping[Term, str], largest_ms: float
) -> np.ndarray:
    """(1 + terms, 1 + terms) in ms²."""
    same = np.array([[groups[a] == groups[b] for b in order] for a in order])
    covariance = np.zeros((len(order) + 1, len(order) + 1))
    covariance[0, 0] = (_FIXED_SD_SHARE * largest_ms) ** 2
    covariance[1:, 1:] = _GROUP_SD**2 * np.outer(alone, alone) * same
    covariance[1:, 1:] += np.diag((_OWN_SD * alone + _OWN_FLOOR_MS) ** 2)
    return covariance
