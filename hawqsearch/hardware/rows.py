"""Rows of a profile, from the times of the nodes that a runtime ran."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from hawqsearch.core.hardware import Measurement
from hawqsearch.core.timing import relative_half_width
from hawqsearch.errors import DeviceError
from hawqsearch.runtime.interface import KernelRun

__all__ = ["between_kernels", "kernel_time", "measurement", "today"]

_AROUND: Final = frozenset(
    {"ReorderInput", "ReorderOutput", "Transpose", "QuantizeLinear", "DequantizeLinear", "Reorder", "Convert"}
)
_INPUT: Final = "x"
"""How the names of a model's inputs begin, and of what brings them in."""
_BESIDE: Final = "kernel2"
"""The reader whose precision does not change."""


def kernel_time(runs: Sequence[KernelRun], rounds: Sequence[int]) -> Measurement:
    """Everything but what brings tensors in and out of the kernel's layout and type.

    Args:
        rounds: runs in each round, which follow one another in `runs`.
    """
    own = [run.times_ms for run in runs if _operator(run) not in _AROUND and not run.name.startswith(_INPUT)]
    if not own:
        raise DeviceError(f"the runtime's profile shows no kernel, only {sorted({r.op for r in runs})}")
    return measurement(np.sum(np.asarray(own), axis=0), rounds)


def between_kernels(runs: Sequence[KernelRun], rounds: Sequence[int]) -> Measurement:
    """What ran between the two kernels of a change; `rounds` as in `kernel_time`."""
    places = [
        [i for i, r in enumerate(runs) if r.name.startswith(f"kernel{k}") and _is_kernel(r)] for k in (0, 1)
    ]
    if not all(places):
        raise DeviceError(
            f"the runtime's profile shows no pair of kernels, only {sorted({r.op for r in runs})}"
        )
    first, second = (found[0] for found in places)
    between = [run.times_ms for run in runs[first + 1 : second] if not run.name.startswith(_BESIDE)]
    if not between:
        raise DeviceError("the runtime ran nothing between two kernels of different precision")
    return measurement(np.sum(np.asarray(between), axis=0), rounds)


def _is_kernel(run: KernelRun) -> bool:
    return _operator(run) not in _AROUND and run.op != "Cast"


def _operator(run: KernelRun) -> str:
    """Without the primitive that may follow it."""
    return run.op.partition(" ")[0]


def measurement(times_ms: np.ndarray, rounds: Sequence[int]) -> Measurement:
    """Interquartile mean and quartiles of all runs: the runtime's profiler counts whole microseconds, and the mean
    of the middle half is finer than that while it ignores runs that were disturbed, as a median does.

    The interval is of the median over rounds of such means: runs of one round are not independent.
    """
    low, high = np.quantile(times_ms, [0.25, 0.75])
    ends = np.cumsum(rounds)[:-1]
    width = relative_half_width(tuple(_middle(part) for part in np.split(times_ms, ends)))
    return Measurement(
        median_ms=min(max(_middle(times_ms), float(low)), float(high)),  # rounding may leave the range
        low_ms=float(low),
        high_ms=float(high),
        n=len(times_ms),
        date=today(),
        half_width=width if math.isfinite(width) else None,
    )


def _middle(times_ms: np.ndarray) -> float:
    ordered = np.sort(times_ms)
    quarter = len(ordered) // 4
    return float(ordered[quarter : len(ordered) - quarter].mean())


def today() -> str:
    """The day, as rows are dated."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
