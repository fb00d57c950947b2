"""A smooth function of a few dozen features from noisy values of it, and how little it is known where.

Rasmussen and Williams, Gaussian Processes for Machine Learning (2006): squared differences of features are weighed by a
length scale of each (eq. 5.1, with a Matérn covariance, 4.17); left-out rows come from one inverse (eq. 5.12).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import cho_solve
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

__all__ = ["Process", "condition", "learn_scales"]

_LEARNED_FROM: Final = 300
_SMOOTHNESS: Final = 2.5
_INTERVAL: Final = 0.95
_LEAST_WIDENING: Final = 1.96
_LEAST_NOISE: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Process:
    """Build it with `condition`.

    Args:
        widening: half of a 95 % interval in standard deviations: at least the normal distribution's, and what rows
            that were left out one by one ask for.
        left_out: predicted less true of every row, by the others.
    """

    regressor: GaussianProcessRegressor
    mean: float
    widening: float
    left_out: np.ndarray

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values at rows of features, and half of their 95 % intervals; both of shape (n,)."""
        values, deviations = self.regressor.predict(features, return_std=True)
        return values + self.mean, deviations * self.widening


def learn_scales(features: np.ndarray, values: np.ndarray, variances: np.ndarray) -> tuple[float, ...]:
    """Logarithms of the amplitude, of the length scale of each feature and of the noise that make the values most
    likely; from 300 rows at most, since the work grows with their third power.

    Args:
        features: shape (n, d).
        values: shape (n,).
        variances: what is known of the noise of each value beforehand, shape (n,).
    """
    some = np.random.default_rng(0).permutation(len(values))[:_LEARNED_FROM]
    centred = values[some] - values[some].mean()
    process = GaussianProcessRegressor(
        _covariance(features.shape[1]), alpha=variances[some] + _LEAST_NOISE, random_state=0
    )
    with warnings.catch_warnings():
        # a feature that does not matter has its length scale at the bound, and says so
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(features[some], centred)
    return tuple(map(float, process.kernel_.theta))


def condition(
    features: np.ndarray, values: np.ndarray, variances: np.ndarray, scales: tuple[float, ...]
) -> Process:
    """The process with those scales (see `learn_scales`), given all rows."""
    mean = float(values.mean())
    process = GaussianProcessRegressor(
        _covariance(features.shape[1]).clone_with_theta(np.array(scales)),
        alpha=variances + _LEAST_NOISE,
        optimizer=None,
    ).fit(features, values - mean)
    inverse = cho_solve((process.L_, True), np.eye(len(values)))
    own = np.diag(inverse)
    left_out = -process.alpha_ / own
    widening = float(np.quantile(np.abs(left_out) * np.sqrt(own), _INTERVAL))
    return Process(process, mean, max(widening, _LEAST_WIDENING), left_out)


def _covariance(n_features: int) -> Kernel:
    shape = Matern(np.full(n_features, 3.0), (0.03, 1e3), nu=_SMOOTHNESS)
    return ConstantKernel(1.0, (1e-3, 1e3)) * shape + WhiteKernel(math.exp(-7), (1e-6, 1e-1))
