"""Tables of simulated work as files, and their rows as latencies."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Signature
from hawqsearch.errors import FileFormatError
from hawqsearch.hardware.arm import tables
from hawqsearch.hardware.arm.cores import find_core
from hawqsearch.hardware.arm.memory import FITS, WorkingSet, latency_ms, moved_bytes
from hawqsearch.hardware.arm.tables import SimulatedRig, WholeKey, Work
from hawqsearch.hardware.shipped import NotInTableError

WORK = Work(FrozenDict({column: float(index) for index, column in enumerate(tables.columns())}))
CONV = KernelKey(
    Signature(
        op="conv",
        input_shape=(1, 64, 28, 28),
        output_shape=(1, 128, 14, 14),
        weight_shape=(128, 64, 3, 3),
        stride=(2, 2),
        padding=(1, 1),
        dilation=(1, 1),
        activation="relu",
    ),
    "w8a8",
)
ADD = KernelKey(Signature(op="add", input_shape=(1, 8, 6, 6), output_shape=(1, 8, 6, 6)), "fp32")
CHANGE = ChangeKey((1, 64, 28, 28), Change.TO_INT8)
WHOLE = WholeKey("net", "abc", FrozenDict({"conv1": "w8a8", "fc": "fp32"}))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tables.merge(tmp_path, {CONV: WORK, ADD: WORK, CHANGE: WORK, WHOLE: WORK})
    assert tables.read_kernels(tmp_path / tables.KERNELS) == {ADD: WORK, CONV: WORK}
    assert tables.read_changes(tmp_path / tables.CHANGES) == {CHANGE: WORK}
    assert tables.read_whole(tmp_path / tables.WHOLE) == {WHOLE: WORK}
    rig = SimulatedRig.today("onnxruntime 1.2.3", WORK)
    tables.write_rig(tmp_path / tables.RIG, rig)
    assert tables.read_rig(tmp_path / tables.RIG) == rig


def test_merging_keeps_other_rows_and_replaces_a_network(tmp_path: Path) -> None:
    older = WholeKey("net", "abc", FrozenDict({"conv1": "fp32"}))
    other = WholeKey("other", "def", FrozenDict({"conv1": "fp32"}))
    tables.merge(tmp_path, {CONV: WORK, older: WORK, other: WORK})
    tables.merge(tmp_path, {ADD: WORK, WHOLE: WORK})
    assert set(tables.read_kernels(tmp_path / tables.KERNELS)) == {CONV, ADD}
    assert set(tables.read_whole(tmp_path / tables.WHOLE)) == {WHOLE, other}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cycles_a76", "cycles_a77", "did you mean"),
        ("cycles_a76,", "", "has not the columns"),
        ("0,1,2,3,4,5", "0,1,nan,3,4,5", r"line 2.*nan is no amount"),
        ("0,1,2,3,4,5", "0,1,-2,3,4,5", r"line 2.*-2 is no amount"),
        ("0,1,2,3,4,5", "0,1,2,3", "line 2"),
        ("1x64x28x28", "1xsix", "line 2"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    tables.merge(tmp_path, {CONV: WORK})
    path = tmp_path / tables.KERNELS
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(FileFormatError, match=message):
        tables.read_kernels(path)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="cannot read"):
        tables.read_changes(tmp_path / tables.CHANGES)
    (tmp_path / tables.CHANGES).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="cannot read"):
        tables.read_changes(tmp_path / tables.CHANGES)
    (tmp_path / tables.RIG).write_text("runtime = 3")
    with pytest.raises(FileFormatError, match="what the tables were made with"):
        tables.read_rig(tmp_path / tables.RIG)


# ---------------------------------------------------------------- memory


def test_bytes_that_move() -> None:
    weights, inputs, outputs = 128 * 64 * 9, 64 * 28 * 28, 128 * 14 * 14
    assert moved_bytes(CONV) == weights + inputs + outputs
    assert moved_bytes(ADD) == 4 * 3 * 8 * 6 * 6
    assert moved_bytes(CHANGE) == 5 * inputs


def test_only_a_network_that_does_not_fit_waits_for_memory() -> None:
    core = find_core("cortex-a76")  # 512 KiB, 8 bytes a ns
    large = WorkingSet(float_bytes=4 << 20, int8_bytes=1 << 20)
    half = WorkingSet(float_bytes=1 << 20, int8_bytes=1 << 18)
    streaming = moved_bytes(CONV) / 8e6
    assert latency_ms(2.4e6, CONV, core, FITS) == pytest.approx(1)
    assert latency_ms(24.0, CONV, core, FITS) == pytest.approx(1e-5)
    assert latency_ms(24.0, CONV, core, half) == pytest.approx(1e-5)
    assert latency_ms(24.0, CONV, core, large) == pytest.approx(streaming)
    assert latency_ms(2.4e6, CONV, core, large) == pytest.approx(1)
    assert latency_ms(24.0, ADD, core, half) == pytest.approx(moved_bytes(ADD) / 8e6)


def test_the_error_names_what_is_not_there_and_pickles() -> None:
    error = NotInTableError([CONV, CHANGE])
    assert str(CONV.signature) in str(error)
    assert "and 1 more" in str(error)
    assert pickle.loads(pickle.dumps(error)).keys == (CONV, CHANGE)
