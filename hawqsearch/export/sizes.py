"""Bytes of the Q/DQ file, part by part, read off files that are really written."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.placement import Placement
from hawqsearch.core.precision import Format, Precision
from hawqsearch.core.size import SizeModel
from hawqsearch.core.target import Scheme
from hawqsearch.export import packing
from hawqsearch.export.onnx_qdq import write_qdq
from hawqsearch.quant.calibrated import CalibratedModel

__all__ = ["file_sizes"]


def file_sizes(
    float_model: onnx.ModelProto,
    spec: ModelSpec,
    scheme: Scheme,
    precisions: FrozenDict[str, tuple[Precision, ...]],
    values: CalibratedModel,
) -> SizeModel:
    """Each part as the difference between a file with it and one without; sums lie a little above files.

    The function that widens narrow weights is written once; it is in `base` if any precision needs it.
    """

    def written(weights: dict[str, Format], activations: dict[str, Format], config: dict[str, str]) -> int:
        placement = Placement(
            weights=FrozenDict(weights),
            activations=FrozenDict(activations),
            requantized=frozenset(activations),
        )
        return len(write_qdq(float_model, spec, scheme, placement, config, values).SerializeToString())

    int8 = Format("int8")
    plain = written({}, {}, {})
    quantizers = {t.name: float(written({}, {t.name: int8}, {}) - plain) for t in spec.tensors}
    layers: dict[tuple[str, str], float] = {}
    for layer in spec.layers:
        source = layer.inputs[0]
        float_bytes = float(4 * (layer.n_weights + layer.n_bias))
        for precision in precisions[layer.name]:
            name = str(precision)
            if precision.is_float:
                layers[layer.name, name] = float_bytes
                continue
            own = (
                written({layer.name: precision.weight}, {source: int8}, {layer.name: name})
                - plain
                - quantizers[source]
            )
            bits = precision.weight.bits
            shared = _unpack_bytes([bits]) if bits in packing.PACKED_BITS else 0
            layers[layer.name, name] = float_bytes + own - shared
    floats = sum(4 * (layer.n_weights + layer.n_bias) for layer in spec.layers)
    bits_used = {p.weight.bits for options in precisions.values() for p in options}
    packed = sorted(bits_used & set(packing.PACKED_BITS))
    return SizeModel(
        base=float(plain - floats + (_unpack_bytes(packed) if packed else 0)),
        layers=FrozenDict(layers),
        quantizers=FrozenDict(quantizers),
        guards=FrozenDict({t.name: float(_GUARD_BYTES + 6 * len(t.name)) for t in spec.tensors}),
    )


_GUARD_BYTES = 110
"""Two Cast nodes without the tensor's name, which they carry six times."""


def _unpack_bytes(widths: Sequence[int]) -> int:
    """What the file holds once for all layers of these widths: the function, and its constants for each."""
    shared = [t for bits in widths for t in packing.constants(bits)]
    return len(packing.unpack_function(21).SerializeToString()) + sum(
        len(t.SerializeToString()) + 4 for t in shared
    )
