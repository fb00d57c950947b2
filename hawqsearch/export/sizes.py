"""Bytes of the Q/DQ file, part by part, read off files that are really written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    *,
    functions: bool = True,
) -> SizeModel:
    """Each part as the difference between a file with it and one without; sums lie a little above files.

    What narrow weights share is in `base` if any precision needs it: constants, and the function that widens them
    where the file may hold `functions`.
    Layers that share one weight in float have codes each: they are written together, and share that too.
    """

    def written(weights: dict[str, Format], activations: dict[str, Format], config: dict[str, str]) -> _Bytes:
        placement = Placement(
            weights=FrozenDict(weights),
            activations=FrozenDict(activations),
            requantized=frozenset(activations),
        )
        model = write_qdq(float_model, spec, scheme, placement, config, values, functions=functions)
        return _Bytes.of(model)

    int8 = Format("int8")
    plain = written({}, {}, {}).rest
    alone = {t.name: written({}, {t.name: int8}, {}) for t in spec.tensors}
    quantizers = {name: float(found.rest - plain) for name, found in alone.items()}
    layers: dict[tuple[str, str], float] = {}
    floats = 0.0
    for layer in spec.layers:
        group = next((g for g in spec.ties if layer.name in g), (layer.name,))
        sources = {spec.node(name).inputs[0] for name in group}
        float_bytes = 4 * (layer.n_weights + layer.n_bias) / len(group)
        for precision in precisions[layer.name]:
            name = str(precision)
            if precision.is_float:
                layers[layer.name, name] = float_bytes
                continue
            quantized = written(
                dict.fromkeys(group, precision.weight),
                dict.fromkeys(sources, int8),
                dict.fromkeys(group, name),
            )
            bits = precision.weight.bits
            shared = _unpack_bytes([bits], functions=functions) if bits in packing.PACKED_BITS else 0
            own = quantized.rest - plain - sum(quantizers[s] for s in sources) - shared
            layers[layer.name, name] = float_bytes + own / len(group)
        floats += float_bytes
    bits_used = {p.weight.bits for options in precisions.values() for p in options}
    packed = sorted(bits_used & set(packing.PACKED_BITS))
    return SizeModel(
        base=float(plain - floats + (_unpack_bytes(packed, functions=functions) if packed else 0)),
        layers=FrozenDict(layers),
        quantizers=FrozenDict(quantizers),
        guards=FrozenDict({name: float(found.guards) for name, found in alone.items()}),
    )


@dataclass(frozen=True, slots=True)
class _Bytes:
    """Bytes of a file: of the Casts behind quantized tensors, and of everything else."""

    guards: int
    rest: int

    @classmethod
    def of(cls, model: onnx.ModelProto) -> _Bytes:
        rounded = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
        guards = 0
        for node in model.graph.node:
            if node.op_type == "Cast" and node.input[0] in rounded:
                rounded.add(node.output[0])  # the second Cast of the pair
                guards += _size_in_list(node)
        return cls(guards, len(model.SerializeToString()) - guards)


def _size_in_list(node: onnx.NodeProto) -> int:
    """Bytes of a node in its graph: a tag, its length, and itself."""
    size = len(node.SerializeToString())
    return 1 + (size.bit_length() + 6) // 7 + size


def _unpack_bytes(widths: Sequence[int], *, functions: bool) -> int:
    """What the file holds once for all layers of these widths: the function, and its constants for each."""
    shared = [t for bits in widths for t in packing.constants(bits)]
    function = len(packing.unpack_function(21).SerializeToString()) if functions else 0
    return function + sum(len(t.SerializeToString()) + 4 for t in shared)
