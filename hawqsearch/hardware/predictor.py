"""Times of shapes that were not measured, learned from those that were.

One model per kind of kernel and precision, as nn-Meter has it (Zhang et al., MobiSys 2021); gradient boosting
of the logarithm of time per operation instead of its random forest of time, and a 95 % interval from
cross-validation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold, cross_val_predict

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement, Signature
from hawqsearch.errors import InputError

__all__ = ["LatencyPredictor", "fit_predictor", "kind_of"]

_FEWEST = 12


@dataclass(frozen=True, slots=True)
class _Model:
    """A fitted regressor of log(ms / work), and the 95th percentile of its relative error, cross-validated."""

    regressor: HistGradientBoostingRegressor
    error: float


@dataclass(frozen=True, slots=True)
class LatencyPredictor:
    """Predicts `Measurement`s of origin `predicted`; build it with `fit_predictor`."""

    models: FrozenDict[str, _Model]
    date: str

    def predict(self, key: KernelKey | ChangeKey) -> Measurement:
        """Time of `key`, its low and high the ends of a 95 % interval.

        Raises `InputError` for a kind of kernel that no measured shape taught.
        """
        kind = kind_of(key)
        if kind not in self.models:
            raise InputError(
                f"no {kind} kernel was ever measured here; run `hawqsearch profile` to measure it"
            )
        model = self.models[kind]
        features, work = _features(key)
        median = math.exp(float(model.regressor.predict([features])[0])) * work
        return Measurement(
            median_ms=median,
            low_ms=median / (1 + model.error),
            high_ms=median * (1 + model.error),
            n=0,
            date=self.date,
            origin="predicted",
        )

    def fill(self, profile: HardwareProfile, keys: list[KernelKey | ChangeKey]) -> HardwareProfile:
        """`profile` with every one of `keys` that it lacks."""
        missing = [k for k in keys if k not in profile.kernels and k not in profile.changes]
        filled = {k: self.predict(k) for k in missing}
        return HardwareProfile(
            target=profile.target,
            rig=profile.rig,
            date=profile.date,
            kernels=FrozenDict(
                {**profile.kernels, **{k: m for k, m in filled.items() if isinstance(k, KernelKey)}}
            ),
            changes=FrozenDict(
                {**profile.changes, **{k: m for k, m in filled.items() if isinstance(k, ChangeKey)}}
            ),
        )


def fit_predictor(profile: HardwareProfile) -> LatencyPredictor:
    """A predictor taught by every measured row of `profile`; kinds with fewer than 12 rows are left out."""
    rows: dict[KernelKey | ChangeKey, Measurement] = dict(profile.kernels.items())
    rows.update(profile.changes.items())
    by_kind: dict[str, list[KernelKey | ChangeKey]] = {}
    for key in rows:
        by_kind.setdefault(kind_of(key), []).append(key)
    return LatencyPredictor(
        models=FrozenDict({k: _fit(keys, rows) for k, keys in by_kind.items() if len(keys) >= _FEWEST}),
        date=profile.date,
    )


def kind_of(key: KernelKey | ChangeKey) -> str:
    """What one model is for: operator (dense, pointwise, depthwise convolutions apart) and precision."""
    if isinstance(key, ChangeKey):
        return f"change {key.change.value}"
    return f"{_operator(key.signature)} {key.precision}"


def _operator(signature: Signature) -> str:
    if signature.op != "conv":
        return signature.op
    if signature.groups > 1:
        return "depthwise conv"
    return "pointwise conv" if signature.weight_shape[2:] == (1, 1) else "dense conv"


def _fit(keys: list[KernelKey | ChangeKey], rows: Mapping[KernelKey | ChangeKey, Measurement]) -> _Model:
    described = [_features(k) for k in keys]
    features = np.array([f for f, _ in described])
    target = np.log([rows[k].median_ms / work for k, (_, work) in zip(keys, described, strict=True)])
    regressor = HistGradientBoostingRegressor(
        max_iter=400,
        learning_rate=0.05,
        max_leaf_nodes=12,
        min_samples_leaf=3,
        l2_regularization=0.1,
        random_state=0,
    )
    folds = KFold(n_splits=5, shuffle=True, random_state=0)
    left_out = cross_val_predict(regressor, features, target, cv=folds)
    error = float(np.quantile(np.abs(np.expm1(left_out - target)), 0.95))
    return _Model(regressor.fit(features, target), error)


def _features(key: KernelKey | ChangeKey) -> tuple[list[float], float]:
    """Numbers that the time per unit of work depends on, and the work: multiply-accumulates, or values moved."""
    if isinstance(key, ChangeKey):
        values = math.prod(key.shape)
        spatial = math.prod(key.shape[2:])
        return [
            math.log2(values),
            math.log2(key.shape[1]),
            math.log2(spatial),
            key.shape[1] % 16,
        ], values + 500.0
    s = key.signature
    read, written, weights = (
        math.prod(s.input_shape),
        math.prod(s.output_shape),
        math.prod(s.weight_shape or (1,)),
    )
    channels, out = s.input_shape[1], s.output_shape[1]
    spatial = math.prod(s.output_shape[2:])
    per_output = math.prod(s.weight_shape[1:]) if s.is_weighted else math.prod(s.weight_shape or (1,))
    macs = float(written * per_output)
    shape = [macs, read, written, weights, channels, out, spatial, per_output, s.output_shape[-1]]
    discrete = [
        s.weight_shape[-1] if s.op == "conv" else 0,
        s.stride[0] if s.stride else 1,
        channels % 16,
        out % 16,
        channels % 4,
        per_output % 16,
        s.output_shape[-1] % 16 if spatial > 1 else 0,
        {None: 0, "relu": 1, "relu6": 2}[s.activation],
    ]
    return [*(math.log2(v) for v in shape), *map(float, discrete)], macs + 2000.0
