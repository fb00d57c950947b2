"""Bytes of the file that a configuration is written to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.precision import Precision

__all__ = ["SizeModel", "container_sizes"]

_SCALE_BYTES = 4
_BIAS_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeModel:
    """What the file holds, part by part.

    Args:
        base: everything that no choice changes.
        layers: (layer, precision) -> weights in their container, scales, zero points, bias.
        quantizers: tensor -> its quantize / dequantize pair.
        guards: tensor -> what keeps float readers of its rounded values float.
    """

    base: float
    layers: FrozenDict[tuple[str, str], float]
    quantizers: FrozenDict[str, float]
    guards: FrozenDict[str, float]


def container_sizes(spec: ModelSpec, precisions: FrozenDict[str, tuple[Precision, ...]]) -> SizeModel:
    """Sizes without a file format: codes packed to whole bytes, one float scale per output channel."""
    layers = {
        (layer.name, str(precision)): float(
            math.ceil(layer.n_weights * precision.weight.bits / 8)
            + (0 if precision.is_float else _SCALE_BYTES * layer.weight_shape[0])
            + _BIAS_BYTES * layer.n_bias
        )
        for layer in spec.layers
        for precision in precisions[layer.name]
    }
    nothing = FrozenDict({t.name: 0.0 for t in spec.tensors})
    return SizeModel(base=0.0, layers=FrozenDict(layers), quantizers=nothing, guards=nothing)
