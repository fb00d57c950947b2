"""Registers of instructions, and the order in which a core that waits may issue them."""

from __future__ import annotations

import pytest

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.hardware.arm.in_order import Step, in_order_cycles
from hawqsearch.hardware.arm.registers import Access, access_of

PORTS = FrozenDict({"A": 2, "F": 1})


@pytest.mark.parametrize(
    ("mnemonic", "operands", "reads", "writes", "moved"),
    [
        ("add", "x1, x3, x2, lsl #3", "x3 x2", "x1", ""),
        ("add", "w1, w1, #1", "x1", "x1", ""),
        ("fmla", "v16.4s, v4.4s, v8.s[0]", "v16 v4 v8", "v16", ""),
        ("fmul", "v16.4s, v4.4s, v8.4s", "v4 v8", "v16", ""),
        ("sqxtn2", "v4.8h, v24.4s", "v4 v24", "v4", ""),
        ("ldr", "q0, [x1], #0x10", "x1", "v0", "x1"),
        ("ldp", "x29, x30, [sp, #0x10]!", "sp", "x29 x30", "sp"),
        ("ldr", "s31, [x26, x2, lsl #2]", "x26 x2", "v31", ""),
        ("str", "q31, [x3, x0]", "v31 x3 x0", "", ""),
        ("st1", "{v0.16b}, [x5], #16", "v0 x5", "", "x5"),
        ("ld1", "{v0.s}[1], [x1]", "v0 x1", "v0", ""),
        ("cmp", "x3, x4", "x3 x4", "nzcv", ""),
        ("subs", "x2, x2, #64", "x2", "x2 nzcv", ""),
        ("b.ne", "#0x20", "nzcv", "", ""),
        ("cbz", "x0, #0x20", "x0", "", ""),
        ("csel", "x0, x1, xzr, ls", "x1 nzcv", "x0", ""),
        ("mov", "v0.s[1], v2.s[0]", "v0 v2", "v0", ""),
        ("fmov", "s1, w2", "x2", "v1", ""),
        ("ret", "", "", "", ""),
    ],
)
def test_registers(mnemonic: str, operands: str, reads: str, writes: str, moved: str) -> None:
    expected = Access(*(frozenset(names.split()) for names in (reads, writes, moved)))
    assert access_of(mnemonic, operands) == expected


def _step(reads: str, writes: str, group: str = "A", latency: int = 1, holds: int = 1) -> Step:
    access = Access(frozenset(reads.split()), frozenset(writes.split()))
    return Step(access, FrozenDict({group: holds}), latency)


def _cycles(*steps: Step, loops: bool = True) -> float:
    return in_order_cycles(steps, width=2, ports=PORTS, loops=loops)


def test_two_independent_instructions_issue_together() -> None:
    assert _cycles(_step("a", "b"), _step("c", "d")) == 1
    assert _cycles(*[_step("a", "b")] * 8) == 4


def test_a_chain_takes_its_latencies() -> None:
    assert _cycles(_step("a", "a", latency=4)) == 4
    assert _cycles(_step("a", "b", latency=3), _step("b", "a", latency=2)) == 5


def test_a_port_that_is_held_is_waited_for() -> None:
    assert _cycles(_step("a", "b", "F", holds=3)) == 3


def test_a_wait_holds_up_what_follows() -> None:
    """Out of order, the third would have gone ahead."""
    load, use, other = _step("p", "a", latency=4), _step("a", "b"), _step("c", "d")
    assert _cycles(load, use, other, loops=False) == 5


def test_a_block_that_does_not_loop_ends_with_its_last_issue() -> None:
    assert _cycles(_step("a", "b", latency=30), loops=False) == 1
