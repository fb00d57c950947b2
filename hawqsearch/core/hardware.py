"""What a device takes for a kernel: signatures, measurements with their spread, and where they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from hawqsearch.core.conditions import Conditions
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import WEIGHTED_OPS, NodeSpec
from hawqsearch.core.whole import WholeFit

__all__ = [
    "ORIGINS",
    "WIDE_SHARE",
    "Change",
    "ChangeKey",
    "Energy",
    "HardwareProfile",
    "KernelKey",
    "Measurement",
    "Rig",
    "Signature",
    "weakest_origin",
]

WIDE_SHARE = 0.02
"""Half of the 95 % interval of a row's median, as a share of it, above which the row is said to be wide."""
ORIGINS = ("measured", "simulated", "published", "predicted")


class Change(StrEnum):
    """A change of precision on a tensor."""

    TO_INT8 = "to_int8"
    TO_FLOAT = "to_float"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a kernel's time depends on: operator, shapes and fused activation; batch is in the shapes.

    For pooling, `weight_shape` holds the window.
    """

    op: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weight_shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    activation: str | None = None

    @property
    def is_weighted(self) -> bool:
        """Whether the kernel multiplies by weights."""
        return self.op in WEIGHTED_OPS

    def __str__(self) -> str:
        parts = [self.op, _by(self.input_shape), _by(self.output_shape)]
        if self.weight_shape:
            parts.append(f"k{_by(self.weight_shape)}")
        if self.stride:
            parts.append(f"s{_by(self.stride)}p{_by(self.padding)}d{_by(self.dilation)}g{self.groups}")
        return " ".join([*parts, self.activation or "-"])

    @classmethod
    def of(cls, node: NodeSpec, batch: int) -> Signature:
        """The signature of a node at that batch."""
        return cls(
            op=node.op,
            input_shape=(batch, *node.input_shape[1:]),
            output_shape=(batch, *node.output_shape[1:]),
            weight_shape=node.weight_shape or node.window,
            stride=node.stride,
            padding=node.padding,
            dilation=node.dilation,
            groups=node.groups,
            activation=node.activation,
        )


@dataclass(frozen=True, slots=True)
class KernelKey:
    """A kernel: its signature, and the precision that is timed (`w8a8`, `fp32`)."""

    signature: Signature
    precision: str


@dataclass(frozen=True, slots=True)
class ChangeKey:
    """A change of precision on a tensor of a shape, batch first."""

    shape: tuple[int, ...]
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Median of `n` readings of `counter` in mJ above idle, with the quartiles; always measured."""

    median_mj: float
    low_mj: float
    high_mj: float
    n: int
    counter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Middle (median, or mean of the middle half) of `n` runs in ms, with the quartiles, origin and day.

    Args:
        energy: None where no counter metered it.
        half_width: half of the 95 % interval of the median over rounds, as a share of it; None where it is not known.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    n: int
    date: str
    origin: str = "measured"
    energy: Energy | None = None
    half_width: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """What was measured on: part of every key, because a profile of one is not one of another."""

    device: str
    runtime: str
    threads: int
    batch: int

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.device}, {self.runtime}, {threads}, batch {self.batch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """Times of kernels and of precision changes on one rig; where they come from is told per row.

    Args:
        conditions: of each measurement that rows come from, where that is known.
        whole: of networks that were timed whole, what the rows said of them.
        scales: kind of kernel -> what a predictor learned once of how time varies with a shape, from these rows.
    """

    target: str
    rig: Rig
    date: str
    kernels: FrozenDict[KernelKey, Measurement]
    changes: FrozenDict[ChangeKey, Measurement]
    conditions: tuple[Conditions, ...] = ()
    whole: tuple[WholeFit, ...] = ()
    scales: FrozenDict[str, tuple[float, ...]] = FrozenDict({})  # noqa: RUF009  (frozen)

    @property
    def rows(self) -> dict[KernelKey | ChangeKey, Measurement]:
        """Kernels, then changes of precision."""
        found: dict[KernelKey | ChangeKey, Measurement] = dict(self.kernels.items())
        found.update(self.changes.items())
        return found

    def with_rows(self, rows: Mapping[KernelKey | ChangeKey, Measurement]) -> HardwareProfile:
        """The same machine with these rows instead."""
        return replace(
            self,
            kernels=FrozenDict({k: m for k, m in rows.items() if isinstance(k, KernelKey)}),
            changes=FrozenDict({k: m for k, m in rows.items() if isinstance(k, ChangeKey)}),
        )

    @property
    def origin(self) -> str:
        """The weakest word of its rows, with the rig and the date."""
        words = {m.origin for m in self.rows.values()}
        return f"{weakest_origin(words)}: {self.rig}, {self.date}"

    @property
    def wide(self) -> tuple[KernelKey | ChangeKey, ...]:
        """Rows whose median is known less well than to `WIDE_SHARE` of it."""
        return tuple(
            key for key, m in self.rows.items() if m.half_width is not None and m.half_width > WIDE_SHARE
        )

    @property
    def counters(self) -> tuple[str, ...]:
        """What metered its rows' energy; empty where energy is absent."""
        return tuple(sorted({m.energy.counter for m in self.rows.values() if m.energy is not None}))


def weakest_origin(words: Iterable[str]) -> str:
    """Of the words measured, simulated, published, predicted: the one that claims least."""
    return max(words, key=ORIGINS.index, default="measured")


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
