"""Blocks of instructions -> cycles of a core, from the execution ports that its instructions need.

A block takes as long as its decoding, the dispatch of its operations, or the busiest group of ports, whichever
is longest:

    cycles = max(instructions / decode, operations / dispatch,
                 max over groups g of (port cycles needed within g) / (ports in g))

which is what a core reaches that never waits: for data, for the front end, or for a branch. The Cortex-A53,
which issues in order, does wait: see `in_order`. Which instruction
needs which ports is in `ports.csv`, one rule a line, the first that matches counts. An entry such as `2L+I`
is two operations on a load port and one on an integer port; `V0*7` is one that holds port V0 for seven cycles.

Sources: Arm's software optimization guides of the Cortex-A72, Cortex-A76 and Neoverse N1, as far as LLVM 19's
scheduling models for neoverse-n1 and cortex-a72 repeat them; the Cortex-A76 has the Neoverse N1's pipelines.
Where the A72's model (the Cortex-A57's) differs from its guide, the guide counts: shifts by a constant on one
pipe, 64-bit multiplies that hold theirs for three cycles. The A53's are LLVM's, but 128-bit loads and stores
take two cycles, as everyone finds who writes kernels for it.
"""

from __future__ import annotations

import csv
import importlib.resources
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from types import MappingProxyType
from typing import Final

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.errors import FileFormatError, UnknownNameError
from hawqsearch.hardware.arm.counts import Counts
from hawqsearch.hardware.arm.forms import Form, Instruction, decode, loops
from hawqsearch.hardware.arm.in_order import Step, in_order_cycles
from hawqsearch.hardware.arm.registers import access_of

__all__ = ["PIPELINES", "Pipelines", "Use", "block_cycles", "cycles_of", "throughput", "use_of"]

_USE: Final = re.compile(r"(?P<times>\d*)(?P<group>[A-Z]+[01]?)(?:\*(?P<cycles>\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipelines:
    """Ports of a core.

    Args:
        column: whose uses in `ports.csv` it has.
        decode: instructions that may be decoded in a cycle.
        dispatch: operations that may be sent to the ports in a cycle.
        groups: group -> how many ports it has, and the groups within it.
        latencies: group -> cycles until its result is there, on a core that issues in order and waits;
            None on one that finds other work meanwhile.
    """

    column: str
    decode: int
    dispatch: int
    groups: FrozenDict[str, tuple[int, frozenset[str]]]
    latencies: FrozenDict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """What one instruction needs: operations to dispatch, and group -> cycles of its ports."""

    operations: int
    cycles: FrozenDict[str, int]


def _groups(**groups: tuple[int, str]) -> FrozenDict[str, tuple[int, frozenset[str]]]:
    return FrozenDict({g: (ports, frozenset({g, *within.split()})) for g, (ports, within) in groups.items()})


_A76 = Pipelines(
    column="a76",
    decode=4,
    dispatch=8,
    groups=_groups(
        B=(1, ""), I=(3, "M"), M=(1, ""), L=(2, ""), D=(2, ""), V=(2, "V0 V1"), V0=(1, ""), V1=(1, "")
    ),
)
_A72 = Pipelines(
    column="a72",
    decode=3,
    dispatch=3,
    groups=_groups(B=(1, ""), I=(2, ""), M=(1, ""), L=(1, ""), S=(1, ""), V=(2, "W X"), W=(1, ""), X=(1, "")),
)
_A53 = Pipelines(
    column="a53",
    decode=2,
    dispatch=2,
    groups=_groups(B=(1, ""), A=(2, ""), MAC=(1, ""), DIV=(1, ""), LS=(1, ""), FA=(1, ""), FM=(1, "")),
    latencies=FrozenDict({"B": 1, "A": 1, "MAC": 4, "DIV": 8, "LS": 4, "FA": 6, "FM": 10}),
)
PIPELINES: Final = MappingProxyType(
    {"cortex-a76": _A76, "neoverse-n1": _A76, "cortex-a72": _A72, "cortex-a53": _A53}
)
"""Core -> its ports."""


def cycles_of(core: str) -> Callable[[Counts], float]:
    """A function from counts to cycles of `core`; raises `UnknownNameError` for one that is not modelled."""
    if core not in PIPELINES:
        raise UnknownNameError("core", core, PIPELINES)
    pipelines = PIPELINES[core]
    known = _blocks(pipelines.column)

    def cycles(counts: Counts) -> float:
        total = 0.0
        for code, times in counts.items():
            if code not in known:
                known[code] = block_cycles(code, pipelines)
            total += known[code] * times
        return total

    return cycles


@cache
def _blocks(column: str) -> dict[bytes, float]:
    """Blocks whose cycles are known already: every run has thousands, mostly the same."""
    return {}


def block_cycles(code: bytes, pipelines: Pipelines) -> float:
    """Cycles of one pass through a block."""
    instructions = decode(code)
    if pipelines.latencies is not None:
        steps = [_step(instruction, pipelines, pipelines.latencies) for instruction in instructions]
        ports = FrozenDict({group: n for group, (n, _) in pipelines.groups.items()})
        return in_order_cycles(steps, width=pipelines.dispatch, ports=ports, loops=loops(code))
    return throughput([use_of(i.form, pipelines.column) for i in instructions], pipelines)


def throughput(uses: Sequence[Use], pipelines: Pipelines) -> float:
    """Cycles that instructions take of a core that never waits."""
    needed: Counter[str] = Counter()
    for use in uses:
        needed.update(use.cycles)
    busiest = max(sum(needed[g] for g in within) / ports for ports, within in pipelines.groups.values())
    operations = sum(use.operations for use in uses)
    return max(len(uses) / pipelines.decode, operations / pipelines.dispatch, busiest)


def _step(instruction: Instruction, pipelines: Pipelines, latencies: Mapping[str, int]) -> Step:
    use = use_of(instruction.form, pipelines.column)
    latency = max((latencies[group] for group in use.cycles), default=1)
    return Step(access_of(instruction.mnemonic, instruction.operands), use.cycles, latency)


@cache
def use_of(form: Form, column: str) -> Use:
    """What an instruction of that form needs on a core."""
    for rule in _rules():
        if rule.matches(form):
            return rule.uses[column]
    return Use(1, FrozenDict())


@dataclass(frozen=True, slots=True)
class _Rule:
    mnemonics: tuple[str, ...]
    operands: str
    uses: Mapping[str, Use]

    def matches(self, form: Form) -> bool:
        named = any(fnmatchcase(form.mnemonic, m) for m in self.mnemonics)
        return named and fnmatchcase(form.operands, self.operands)


@cache
def _rules() -> tuple[_Rule, ...]:
    path = importlib.resources.files(__package__) / "ports.csv"
    columns = sorted({p.column for p in PIPELINES.values()})
    return tuple(
        _Rule(tuple(row["mnemonics"].split()), row["operands"], {c: _parse(row[c]) for c in columns})
        for row in csv.DictReader(path.read_text().splitlines())
    )


def _parse(text: str) -> Use:
    """`2L+I` as a use; empty is one operation that needs no port."""
    operations, cycles = 0, Counter[str]()
    for part in text.split("+") if text else ():
        match = _USE.fullmatch(part)
        if match is None:
            raise FileFormatError(f"ports.csv: cannot read {part!r} in {text!r}")
        times = int(match["times"] or 1)
        operations += times
        cycles[match["group"]] += times * int(match["cycles"] or 1)
    return Use(max(1, operations), FrozenDict(cycles))
