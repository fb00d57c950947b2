"""Configurations that tell most about a network's latency, and the fixed points of every comparison."""

from __future__ import annotations

import random

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.precision import Precision
from hawqsearch.core.target import Target

__all__ = ["all_float", "all_int8", "random_mixed"]


def all_float(spec: ModelSpec) -> FrozenDict[str, str]:
    """Every node fp32."""
    return FrozenDict({n.name: "fp32" for n in spec.nodes})


def all_int8(spec: ModelSpec, target: Target) -> FrozenDict[str, str]:
    """Every node w8a8 that has a kernel for it."""
    return FrozenDict({n.name: "w8a8" if target.kernel(n.op, "w8a8") else "fp32" for n in spec.nodes})


def random_mixed(
    spec: ModelSpec, target: Target, precisions: FrozenDict[str, tuple[Precision, ...]], *, n: int, seed: int
) -> list[FrozenDict[str, str]]:
    """`n` configurations of fp32 and w8a8 whose share of int8 nodes runs evenly from few to nearly all.

    Every node, joins too, draws on its own; nodes with one choice keep it. Widths below 8 bits run the same
    kernels, so they need no timing of their own.
    """
    rng = random.Random(seed)
    configs = []
    for index in range(n):
        share = (index + 0.5) / n
        config = {}
        for node in spec.nodes:
            timed = [
                p
                for p in ("w8a8", "fp32")
                if Precision.parse(p) in precisions[node.name] and _exists(target, node.op, p)
            ]
            drawn = "w8a8" if rng.random() < share else "fp32"
            config[node.name] = drawn if drawn in timed else (timed or [str(precisions[node.name][0])])[0]
        configs.append(FrozenDict(config))
    return configs


def _exists(target: Target, op: str, precision: str) -> bool:
    return precision == "fp32" or target.kernel(op, precision) is not None
