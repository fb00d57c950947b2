"""Times of shapes that were not measured, learned from those that were.

One model per kind of kernel and precision, as nn-Meter has it (Zhang et al., MobiSys 2021), but a Gaussian process of
the logarithm of time per operation instead of a random forest: it is smooth where time is, and its intervals widen far
from what was measured. Its length scales take a while to learn, so a profile may hold them; with them at hand,
conditioning on thousands of rows takes a moment.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement
from hawqsearch.errors import InputError
from hawqsearch.hardware.gaussian_process import Process, condition, learn_scales
from hawqsearch.hardware.kernel_features import features_of, kind_of, work_of

__all__ = ["LatencyPredictor", "fit_predictor", "learned"]

_FEWEST: Final = 12

Key = KernelKey | ChangeKey


@dataclass(frozen=True, slots=True)
class LatencyPredictor:
    """Predicts `Measurement`s of origin `predicted`; build it with `fit_predictor`."""

    processes: FrozenDict[str, Process]
    date: str

    def predict(self, keys: Iterable[Key]) -> dict[Key, Measurement]:
        """Times of `keys`, low and high the ends of 95 % intervals.

        Raises `InputError` for a kind of kernel that too few measured shapes taught.
        """
        found: dict[Key, Measurement] = {}
        for kind, alike in _by_kind(keys).items():
            if kind not in self.processes:
                raise InputError(
                    f"fewer than {_FEWEST} {kind} kernels were measured here, too few to predict others from; "
                    "run `hawqsearch profile` to measure these"
                )
            means, halves = self.processes[kind].predict(_features(alike))
            for key, mean, half in zip(alike, means, halves, strict=True):
                found[key] = Measurement(
                    median_ms=work_of(key) * math.exp(mean),
                    low_ms=work_of(key) * math.exp(mean - half),
                    high_ms=work_of(key) * math.exp(mean + half),
                    n=0,
                    date=self.date,
                    origin="predicted",
                )
        return found

    def fill(self, profile: HardwareProfile, keys: Iterable[Key]) -> HardwareProfile:
        """`profile` with every one of `keys` that it lacks."""
        known = profile.rows
        return profile.with_rows(known | self.predict(k for k in keys if k not in known))


def fit_predictor(profile: HardwareProfile, *, wanted: Iterable[Key] | None = None) -> LatencyPredictor:
    """A predictor taught by every row of `profile`; kinds with fewer than 12 rows are left out.

    Scales that the profile does not hold are learned here, which takes seconds for each kind.

    Args:
        wanted: what will be asked of it, so that other kinds are left out; None for all.
    """
    rows = _rows(profile)
    kinds = None if wanted is None else set(map(kind_of, wanted))
    processes = {}
    for kind, keys in _taught(rows, kinds).items():
        told = _features(keys), _values(keys, rows), _variances(keys, rows)
        known = profile.scales.get(kind)
        usable = known is not None and len(known) == told[0].shape[1] + 2
        processes[kind] = condition(*told, known if usable and known else learn_scales(*told))
    return LatencyPredictor(processes=FrozenDict(processes), date=profile.date)


def learned(
    profile: HardwareProfile, *, on_kind: Callable[[str], object] = lambda kind: None
) -> HardwareProfile:
    """`profile` with the scales of every kind that it has enough rows of."""
    rows, found = _rows(profile), {}
    for kind, keys in _taught(rows, None).items():
        found[kind] = learn_scales(_features(keys), _values(keys, rows), _variances(keys, rows))
        on_kind(kind)
    return replace(profile, scales=FrozenDict(found))


def _rows(profile: HardwareProfile) -> dict[Key, Measurement]:
    """Those that took any time: a runtime may do nothing for a node, of which nothing is to be learned."""
    return {key: row for key, row in profile.rows.items() if row.median_ms > 0}


def _taught(rows: Iterable[Key], kinds: set[str] | None) -> dict[str, list[Key]]:
    return {
        kind: keys
        for kind, keys in _by_kind(rows).items()
        if len(keys) >= _FEWEST and (kinds is None or kind in kinds)
    }


def _by_kind(keys: Iterable[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = defaultdict(list)
    for key in keys:
        found[kind_of(key)].append(key)
    return dict(found)


def _features(keys: Sequence[Key]) -> np.ndarray:
    return np.array([features_of(k) for k in keys])


def _values(keys: Sequence[Key], rows: dict[Key, Measurement]) -> np.ndarray:
    """Logarithm of time per operation."""
    return np.log([rows[k].median_ms / work_of(k) for k in keys])


def _variances(keys: Sequence[Key], rows: dict[Key, Measurement]) -> np.ndarray:
    """Of the logarithm of time, from the 95 % interval of the row where it has one."""
    return np.array([((rows[k].half_width or 0.0) / 1.96) ** 2 for k in keys])
