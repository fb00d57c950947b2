"""Means of examples that are not independent, with honest standard errors."""

from __future__ import annotations

import numpy as np

from hawqsearch.core.sensitivity import Score

__all__ = ["clustered_mean"]


def clustered_mean(values: np.ndarray, groups: np.ndarray) -> Score:
    """Mean of `values` (n,) with its standard error clustered by `groups` (n,).

    Examples made from one source share its fate: their deviations are summed before they are squared
    (Cameron & Miller 2015, eq. 11, with the small-sample factor G / (G - 1)). With a single group there
    is nothing to cluster by: the examples then count as independent.
    """
    exact = np.asarray(values, dtype=np.float64)
    mean = float(exact.mean())
    _, index = np.unique(groups, return_inverse=True)
    sums: np.ndarray = np.bincount(index, weights=exact - mean)
    if len(sums) < 2:
        sums = exact - mean
    clusters = len(sums)
    correction = clusters / max(clusters - 1, 1)
    return Score(mean, float(np.sqrt(correction * np.sum(sums**2)) / len(exact)))
