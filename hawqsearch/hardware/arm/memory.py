"""The memory term: what a network that does not fit into the core's cache waits for DRAM.

The port model knows no cache. Where weights and the largest activations exceed L2, each node takes at least
as long as its weights, input and output take from DRAM, once each: t = max(t_core, bytes / bandwidth).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hawqsearch.core.hardware import ChangeKey, KernelKey
from hawqsearch.core.model import ModelSpec
from hawqsearch.hardware.arm.cores import Core

__all__ = ["FITS", "WorkingSet", "latency_ms", "moved_bytes", "working_set"]

_FLOAT: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingSet:
    """Bytes of a network's weights and its largest input and output of a node, all in fp32 and all in int8."""

    float_bytes: int
    int8_bytes: int

    def exceeds(self, core: Core, precision: str) -> bool:
        """Whether the network in that precision does not fit into the core's L2."""
        size = self.float_bytes if precision == "fp32" else self.int8_bytes
        return size > core.l2_kib * 1024


FITS = WorkingSet(float_bytes=0, int8_bytes=0)
"""Of a network that fits into any cache."""


def working_set(spec: ModelSpec) -> WorkingSet:
    """What `spec` keeps busy, at batch 1."""
    weights = sum(n.n_weights + n.n_bias for n in spec.nodes)
    largest = max(math.prod(n.input_shape[1:]) + math.prod(n.output_shape[1:]) for n in spec.nodes)
    return WorkingSet(float_bytes=_FLOAT * (weights + largest), int8_bytes=weights + largest)


def moved_bytes(key: KernelKey | ChangeKey) -> int:
    """Bytes that a kernel or a change reads and writes, once each."""
    if isinstance(key, ChangeKey):
        return math.prod(key.shape) * (_FLOAT + 1)
    s = key.signature
    weights = math.prod(s.weight_shape) if s.is_weighted else 0
    inputs = 2 if s.op in ("add", "concat") else 1
    values = weights + inputs * math.prod(s.input_shape) + math.prod(s.output_shape)
    return values * (_FLOAT if key.precision == "fp32" else 1)


def latency_ms(cycles: float, key: KernelKey | ChangeKey, core: Core, network: WorkingSet) -> float:
    """Latency of a kernel or a change as part of `network`; a change touches floats, as fp32 does."""
    computing = cycles / core.clock_ghz / 1e6
    precision = key.precision if isinstance(key, KernelKey) else "fp32"
    if not network.exceeds(core, precision):
        return computing
    return max(computing, moved_bytes(key) / core.bandwidth_gbs / 1e6)
