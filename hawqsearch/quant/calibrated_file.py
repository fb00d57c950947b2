"""A calibrated network's numbers as bytes, so that calibration is done once."""

from __future__ import annotations

import json
from collections.abc import Iterable

import torch
from safetensors.torch import load, save

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.target import Scheme
from hawqsearch.graph.trace import TracedModel
from hawqsearch.quant.calibrated import CalibratedModel
from hawqsearch.quant.ranges import ActivationRange
from hawqsearch.quant.weights import QuantizedWeight

__all__ = ["dump", "parse"]

_RANGES = "ranges"


def dump(calibrated: CalibratedModel, weights: Iterable[tuple[str, int]]) -> bytes:
    """Ranges of all tensors and the named weights (layer, bits), as a safetensors file."""
    table = {name: [r.scale, r.zero_point] for name, r in calibrated.ranges.items()}
    tensors = {_RANGES: torch.frombuffer(bytearray(json.dumps(table).encode()), dtype=torch.uint8)}
    for layer, bits in weights:
        quantized = calibrated.weight(layer, bits)
        for part in ("codes", "scale", "bias"):
            tensors[f"{layer}/{bits}/{part}"] = getattr(quantized, part).contiguous()
    content: bytes = save(tensors)
    return content


def parse(content: bytes, traced: TracedModel, scheme: Scheme) -> CalibratedModel:
    """The network with the numbers of `dump`; weights that were not dumped cannot be asked for."""
    tensors = load(content)
    table = json.loads(bytes(tensors.pop(_RANGES).tolist()))
    known = {}
    for key in [k for k in tensors if k.endswith("/codes")]:
        layer, bits, _ = key.rsplit("/", 2)
        parts = {part: tensors[f"{layer}/{bits}/{part}"] for part in ("codes", "scale", "bias")}
        known[layer, int(bits)] = QuantizedWeight(bits=int(bits), **parts)
    return CalibratedModel(
        traced=traced,
        scheme=scheme,
        statistics=FrozenDict(),
        ranges=FrozenDict({n: ActivationRange(scale=s, zero_point=z) for n, (s, z) in table.items()}),
        known=FrozenDict(known),
    )
