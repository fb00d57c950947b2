"""Counts as the plugin writes them, and what of a run is the kernel's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.arm.attribution import Overheads, change_cost, kernel_cost, named_cost, overheads
from hawqsearch.hardware.arm.counts import Counts, ModelRun, NodeRun, instructions, parse_counts

counts = st.dictionaries(
    st.binary(min_size=4, max_size=40).map(lambda b: b[: len(b) // 4 * 4]), st.integers(1, 10**12), max_size=6
).map(FrozenDict)
nodes = st.builds(NodeRun, name=st.text(max_size=8), op=st.sampled_from(["Conv", "Transpose"]), counts=counts)


@given(st.builds(ModelRun, whole=counts, nodes=st.lists(nodes, max_size=3).map(tuple)))
def test_a_run_as_a_file_is_the_run(run: ModelRun) -> None:
    assert ModelRun.parse(run.dump()) == run
    assert run.dump() == ModelRun.parse(run.dump()).dump()


def test_what_the_plugin_writes() -> None:
    lines = ["s 1", "0 10", "3 5", "s 102", "3 7", "b 0 0102030405060708", "b 3 0a0b0c0d"]
    marks = parse_counts(lines)
    assert marks == {
        1: {bytes(range(1, 9)): 10, bytes([10, 11, 12, 13]): 5},
        102: {bytes([10, 11, 12, 13]): 7},
    }
    assert instructions(marks[1]) == 25


def test_blocks_of_the_same_code_are_one() -> None:
    assert parse_counts(["s 1", "0 10", "1 5", "b 0 01020304", "b 1 01020304"]) == {1: {b"\1\2\3\4": 15}}


def test_a_file_that_is_cut_short_is_refused() -> None:
    with pytest.raises(DeviceError, match="cut short"):
        parse_counts(["s 1", "0 10", "3 5", "b 0 01020304"])


# ---------------------------------------------------------------- attribution


def _run(whole: int, *parts: tuple[str, str, int]) -> ModelRun:
    """A run of so many instructions, in nodes (name, operator, instructions with the profiler's)."""
    named = tuple(NodeRun(name=n, op=op, counts=FrozenDict({b"node": c})) for n, op, c in parts)
    return ModelRun(whole=FrozenDict({b"code": whole}), nodes=named)


def _cost(counts: Counts) -> float:
    return float(instructions(counts))


def test_overheads_from_the_calibration_runs() -> None:
    """A run costs 100 and a node 40; the profiler adds 25 to a Transpose and 35 to the others."""
    runs = {
        "one": _run(140),
        "two": _run(180),
        "Transpose": _run(150, ("t", "Transpose", 75)),
        "QuantizeLinear": _run(160, ("q", "QuantizeLinear", 95)),
        "DequantizeLinear": _run(120, ("d", "DequantizeLinear", 55)),
    }
    found = overheads(runs, _cost)
    assert found.run == 100
    assert found.profiler == {"Transpose": 25, "QuantizeLinear": 35, "DequantizeLinear": 35}


OVERHEADS = Overheads(100, FrozenDict({"Transpose": 25, "QuantizeLinear": 35}))


def test_a_kernel_is_what_is_left_without_the_run_and_the_transposes() -> None:
    run = _run(1000, ("t", "Transpose", 75), ("kernel", "QLinearConv", 900), ("t2", "Transpose", 85))
    assert kernel_cost(run, OVERHEADS, _cost) == 1000 - 100 - (75 - 25) - (85 - 25)
    assert kernel_cost(_run(1000), OVERHEADS, _cost) == 900


def test_a_kernel_that_never_ran_is_told() -> None:
    with pytest.raises(DeviceError, match="no kernel, only"):
        kernel_cost(_run(1000, ("t", "Transpose", 75)), OVERHEADS, _cost)


def test_a_kernel_among_others_is_known_by_its_name() -> None:
    run = _run(5000, ("before_kernel", "QLinearConv", 900), ("kernel_token_2", "NhwcMaxPool", 400))
    assert named_cost(run, OVERHEADS, _cost) == 400 - 35
    with pytest.raises(DeviceError, match="no kernel, only"):
        named_cost(_run(5000, ("before_kernel", "QLinearConv", 900)), OVERHEADS, _cost)


def test_a_change_is_what_ran_between_the_kernels() -> None:
    run = _run(
        5000,
        ("kernel0", "Conv", 900),
        ("kernel0_q", "QuantizeLinear", 135),
        ("t", "Transpose", 75),
        ("kernel1_token_2", "QLinearConv", 800),
        ("t2", "Transpose", 75),
    )
    assert change_cost(run, OVERHEADS, _cost) == (135 - 35) + (75 - 25)


def test_a_change_that_cost_nothing_is_told() -> None:
    run = _run(5000, ("kernel0", "Conv", 900), ("kernel1", "Conv", 800))
    with pytest.raises(DeviceError, match="nothing between"):
        change_cost(run, OVERHEADS, _cost)
