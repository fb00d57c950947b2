"""Forms of instructions, the ports that they need, and blocks, also against what LLVM 19 says of them."""

from __future__ import annotations

import csv
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.errors import UnknownNameError
from hawqsearch.hardware.arm.forms import Form, decode, form_of, loops
from hawqsearch.hardware.arm.port_model import (
    PIPELINES,
    Use,
    block_cycles,
    cycles_of,
    throughput,
    use_of,
)

REFERENCES = Path(__file__).parents[2] / "references"

FMLA = struct.pack("<I", 0x4F881090)  # fmla v16.4s, v4.4s, v8.s[0]
SDOT = struct.pack("<I", 0x4F80E090)  # sdot v16.4s, v4.16b, v0.4b[0]
LDR_Q = struct.pack("<I", 0x3DC00000)  # ldr q0, [x0]
ADD = struct.pack("<I", 0x91000400)  # add x0, x0, #1
BACK_ONE = struct.pack("<I", 0x54FFFFE1)  # b.ne to the instruction before


@pytest.mark.parametrize(
    ("mnemonic", "operands", "form"),
    [
        ("fmla", "v16.4s, v4.4s, v8.s[0]", "v.4s v.4s v.s[i]"),
        ("sdot", "v16.4s, v4.16b, v0.4b[0]", "v.4s v.16b v.4b[i]"),
        ("ldr", "q0, [x0], #0x10", "q []!"),
        ("ldp", "x29, x30, [sp, #0x10]!", "x x []!"),
        ("ldr", "q31, [x5, x0, lsl #4]", "q [r]"),
        ("st4", "{v28.4s, v29.4s, v30.4s, v31.4s}, [x7], #64", "{4.4s} []!"),
        ("ld1", "{v0.s}[1], [x1]", "{1.s}[i] []"),
        ("add", "x1, x3, x1, lsl #3", "x x x lsl"),
        ("cbz", "w3, #0x130", "w #"),
        ("mov", "x29, sp", "x x"),
        ("csel", "x0, x0, xzr, ls", "x x x ls"),
        ("ret", "", ""),
    ],
)
def test_forms(mnemonic: str, operands: str, form: str) -> None:
    assert form_of(mnemonic, operands) == Form(mnemonic, form)


@pytest.mark.parametrize(
    ("mnemonic", "operands", "column", "operations", "cycles"),
    [
        ("fmla", "v.4s v.4s v.s[i]", "a76", 1, {"V": 1}),
        ("fmla", "v.4s v.4s v.s[i]", "a72", 2, {"V": 2}),
        ("sdot", "v.4s v.16b v.4b[i]", "a76", 1, {"V": 1}),
        ("ldr", "q []!", "a76", 2, {"L": 1, "I": 1}),
        ("mul", "x x x", "a76", 1, {"M": 3}),
        ("mul", "w w w", "a76", 1, {"M": 1}),
        ("mul", "v.4s v.4s v.4s", "a76", 2, {"V0": 2}),
        ("nop", "", "a76", 1, {}),
    ],
)
def test_uses(mnemonic: str, operands: str, column: str, operations: int, cycles: dict[str, int]) -> None:
    assert use_of(Form(mnemonic, operands), column) == Use(operations, FrozenDict(cycles))


def test_a_form_that_no_rule_names_still_takes_a_slot() -> None:
    assert use_of(Form("unknown", ""), "a76") == Use(1, FrozenDict())


def test_multiply_accumulates_per_cycle() -> None:
    """The peak that Arm states: an A76 issues two 128-bit multiply-accumulates a cycle, an A72 one."""
    assert block_cycles(FMLA * 8, PIPELINES["cortex-a76"]) == 4
    assert block_cycles(SDOT * 8, PIPELINES["cortex-a76"]) == 4
    assert block_cycles(FMLA * 8, PIPELINES["cortex-a72"]) == 8


def test_a_block_is_as_long_as_what_is_busiest() -> None:
    a76 = PIPELINES["cortex-a76"]
    assert block_cycles(FMLA * 8 + LDR_Q * 4, a76) == 4
    assert block_cycles(FMLA * 4 + LDR_Q * 10, a76) == 5
    assert block_cycles(ADD * 12, a76) == 4
    assert block_cycles(FMLA * 2 + LDR_Q * 2 + ADD * 2, a76) == 1.5  # decoding: four a cycle


def test_an_in_order_core_waits_for_its_load() -> None:
    """The multiply-accumulate reads what was loaded just before."""
    load = struct.pack("<I", 0x3DC00004)  # ldr q4, [x0]
    a53 = PIPELINES["cortex-a53"]
    assert block_cycles(load + FMLA, a53) > block_cycles(LDR_Q + FMLA, a53)


def test_which_blocks_loop() -> None:
    assert loops(ADD + BACK_ONE)
    assert not loops(FMLA + ADD + BACK_ONE)
    assert not loops(ADD)


@given(st.lists(st.sampled_from([FMLA, SDOT, LDR_Q, ADD]), min_size=1), st.sampled_from(sorted(PIPELINES)))
def test_more_instructions_never_take_less(words: list[bytes], core: str) -> None:
    code = b"".join(words)
    assert block_cycles(code + FMLA, PIPELINES[core]) >= block_cycles(code, PIPELINES[core])


@given(st.lists(st.sampled_from([FMLA, SDOT, LDR_Q, ADD]), min_size=1), st.integers(1, 5))
def test_a_core_that_never_waits_takes_in_proportion(words: list[bytes], times: int) -> None:
    a76 = PIPELINES["cortex-a76"]
    uses = [use_of(i.form, a76.column) for i in decode(b"".join(words))]
    assert throughput(uses * times, a76) == pytest.approx(times * throughput(uses, a76))


def test_cycles_of_counts_are_a_sum_over_blocks() -> None:
    cycles = cycles_of("cortex-a76")
    assert cycles({FMLA * 8: 100, ADD * 12: 10}) == pytest.approx(440)
    with pytest.raises(UnknownNameError, match="cortex-a76"):
        cycles_of("cortex-a77")


# ---------------------------------------------------------------- against LLVM 19


def _rows(name: str) -> list[dict[str, str]]:
    with (REFERENCES / name).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("core", "least"), [("cortex-a76", 0.999), ("cortex-a72", 0.93)])
def test_instructions_against_llvm(core: str, least: float) -> None:
    """Share of the instructions that run whose port cycles are LLVM's to within a quarter of a cycle.

    On the A72, Arm's guide is followed where LLVM's model, the Cortex-A57's, differs from it.
    """
    pipelines, rows = PIPELINES[core], _rows("llvm_forms.csv")
    agree = total = 0.0
    for row in rows:
        (instruction,) = decode(bytes.fromhex(row["word"]))
        ours = throughput([use_of(instruction.form, pipelines.column)], pipelines)
        theirs, share = float(row[f"{core}_cycles"]), float(row["share"])
        slots = 1 / pipelines.decode  # LLVM's front end is wider
        agree += share * (abs(ours - theirs) <= 0.26 or (ours == slots and theirs < slots))
        total += share
    assert len(rows) > 300
    assert agree / total >= least


@pytest.mark.parametrize(("core", "apart"), [("cortex-a76", 0.05), ("cortex-a72", 0.05)])
def test_blocks_against_llvm(core: str, apart: float) -> None:
    """The blocks that take most cycles, weighted by them; and the innermost ones of convolutions to a per cent."""
    pipelines = PIPELINES[core]
    rows = [row for row in _rows("llvm_blocks.csv") if row["core"] == core]
    ours = sum(float(r["share"]) for r in rows)
    theirs = sum(
        float(r["share"]) * float(r["cycles"]) / block_cycles(bytes.fromhex(r["code"]), pipelines)
        for r in rows
    )
    assert len(rows) >= 40
    assert abs(theirs / ours - 1) <= apart
    hottest = max(rows, key=lambda r: float(r["share"]))
    assert block_cycles(bytes.fromhex(hottest["code"]), pipelines) == pytest.approx(
        float(hottest["cycles"]), rel=0.01
    )
