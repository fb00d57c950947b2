"""How often each block of instructions ran, as the counting plugin writes it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.errors import DeviceError

__all__ = ["Counts", "ModelRun", "NodeRun", "instructions", "parse_counts"]

Counts = Mapping[bytes, int]
"""Code of a block (four bytes an instruction) -> how often it ran."""

_WORD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRun:
    """One node of the executed graph while the runtime profiles itself: the profiler's own work is in it."""

    name: str
    op: str
    counts: FrozenDict[bytes, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRun:
    """One run of a model: all of it without the profiler, and its nodes, if asked for, with it."""

    whole: FrozenDict[bytes, int]
    nodes: tuple[NodeRun, ...] = ()

    def dump(self) -> bytes:
        """As a compressed file; the same run gives the same bytes."""
        number: dict[bytes, int] = {}
        runs = [("", "", self.whole), *((n.name, n.op, n.counts) for n in self.nodes)]
        rows = [
            [name, op, [[number.setdefault(b, len(number)), n] for b, n in counts.items()]]
            for name, op, counts in runs
        ]
        content = {"blocks": [code.hex() for code in number], "runs": rows}
        return gzip.compress(json.dumps(content, separators=(",", ":")).encode(), mtime=0)

    @classmethod
    def parse(cls, content: bytes) -> ModelRun:
        """The inverse of `dump`."""
        table = json.loads(gzip.decompress(content))
        blocks = [bytes.fromhex(code) for code in table["blocks"]]
        runs = [
            NodeRun(name=name, op=op, counts=FrozenDict({blocks[b]: n for b, n in counts}))
            for name, op, counts in table["runs"]
        ]
        return cls(whole=runs[0].counts, nodes=tuple(runs[1:]))


def instructions(counts: Counts) -> int:
    """Instructions executed."""
    return sum(n * (len(code) // _WORD) for code, n in counts.items())


def parse_counts(lines: Iterable[str]) -> dict[int, dict[bytes, int]]:
    """Tag of a mark -> counts since the mark before it; blocks of the same code are one.

    Raises `DeviceError` where the file is cut short.
    """
    marks: dict[int, dict[int, int]] = {}
    codes: dict[int, bytes] = {}
    current: dict[int, int] = {}
    for line in lines:
        match line.split():
            case ["s", tag]:
                current = marks.setdefault(int(tag), {})
            case ["b", number, code]:
                codes[int(number)] = bytes.fromhex(code)
            case [number, count]:
                current[int(number)] = int(count)
    try:
        return {tag: _by_code(counts, codes) for tag, counts in marks.items()}
    except KeyError as error:
        raise DeviceError(
            f"the counts of the simulated run are cut short: no code of block {error}"
        ) from None


def _by_code(counts: Mapping[int, int], codes: Mapping[int, bytes]) -> dict[bytes, int]:
    merged: dict[bytes, int] = {}
    for number, count in counts.items():
        code = codes[number]
        merged[code] = merged.get(code, 0) + count
    return merged
