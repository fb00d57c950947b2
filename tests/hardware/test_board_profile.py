"""Rows that a board's profile lacks: the table's, at the board's pace."""

from __future__ import annotations

import pytest

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import (
    Change,
    ChangeKey,
    HardwareProfile,
    KernelKey,
    Measurement,
    Rig,
    Signature,
)
from hawqsearch.errors import InputError
from hawqsearch.hardware.board_profile import fill_from, only_measured

FLOAT, INT8 = (
    [
        KernelKey(Signature(op="linear", input_shape=(1, n), output_shape=(1, n)), precision)
        for n in range(1, 12)
    ]
    for precision in ("fp32", "w8a8")
)
CHANGE = ChangeKey((1, 8), Change.TO_INT8)


def row(ms: float, origin: str) -> Measurement:
    return Measurement(median_ms=ms, low_ms=ms, high_ms=ms, n=1, date="2026-11-21", origin=origin)


def profile(kernels: dict[KernelKey, float], changes: dict[ChangeKey, float], origin: str) -> HardwareProfile:
    return HardwareProfile(
        target="arm-neon",
        rig=Rig(device=origin, runtime="onnxruntime 1.31.0", threads=1, batch=1),
        date="2026-11-21",
        kernels=FrozenDict({k: row(ms, origin) for k, ms in kernels.items()}),
        changes=FrozenDict({k: row(ms, origin) for k, ms in changes.items()}),
    )


TABLE = profile(dict.fromkeys([*FLOAT, *INT8], 2.0), {CHANGE: 10.0}, "simulated")


def test_each_precision_has_a_pace_of_its_own() -> None:
    times = dict.fromkeys(FLOAT[:5], 4.0) | dict.fromkeys(INT8[:6], 1.0)
    found = fill_from(profile(times, {}, "measured"), TABLE, [*FLOAT, *INT8, CHANGE])
    assert [found.kernels[k].median_ms for k in FLOAT] == [4.0] * 11
    assert [found.kernels[k].median_ms for k in INT8] == [1.0] * 11
    assert [found.kernels[k].origin for k in FLOAT] == ["measured"] * 5 + ["predicted"] * 6
    assert found.changes[CHANGE].median_ms == 5.0  # the median of all: no change was measured
    assert found.rig.device == "measured"
    assert found.origin.startswith("predicted: ")


def test_the_interval_is_that_of_the_ratios() -> None:
    times = {key: 2.0 * (1 + k) for k, key in enumerate(FLOAT[:9])}  # 1 to 9 times the table's
    filled = fill_from(profile(times, {}, "measured"), TABLE, [FLOAT[10]]).kernels
    assert list(filled) == [FLOAT[10]]
    found = filled[FLOAT[10]]
    assert (found.low_ms, found.median_ms, found.high_ms) == pytest.approx((2.4, 10.0, 17.6))
    assert found.n == 0


def test_nothing_in_common() -> None:
    other = KernelKey(Signature(op="linear", input_shape=(1, 99), output_shape=(1, 9)), "fp32")
    with pytest.raises(InputError, match="same --space"):
        fill_from(profile({other: 1.0}, {}, "measured"), TABLE, [CHANGE])


def test_rows_of_other_origins_are_left_out() -> None:
    assert not only_measured(TABLE).kernels
    measured = profile({FLOAT[0]: 1.0}, {CHANGE: 1.0}, "measured")
    assert only_measured(measured) == measured
