"""Numbers that the time of a kernel or of a precision change depends on, for a predictor to learn from."""

from __future__ import annotations

import math
from typing import Final

from hawqsearch.core.hardware import ChangeKey, KernelKey, Signature

__all__ = ["features_of", "kind_of", "work_of"]

_VECTOR: Final = 16
"""Float lanes of the widest registers, and channels in a block of blocked layouts."""
_TILE_ROWS: Final = 6
"""Outputs that one pass of a matrix kernel computes."""
_OVERHEAD_WORK: Final = 2000.0
"""So that work of next to nothing does not look expensive for each of its operations."""


def kind_of(key: KernelKey | ChangeKey) -> str:
    """What one model is for: operator (dense, pointwise, depthwise convolutions apart) and precision; the change of
    an image and of a flat tensor apart."""
    if isinstance(key, ChangeKey):
        return f"change {key.change.value}" + ("" if len(key.shape) > 2 else " flat")
    return f"{_operator(key.signature)} {key.precision}"


def work_of(key: KernelKey | ChangeKey) -> float:
    """Multiply-accumulates, or values moved: what time is nearly proportional to."""
    if isinstance(key, ChangeKey):
        return math.prod(key.shape) + _OVERHEAD_WORK
    return math.prod(key.signature.output_shape) * _per_output(key.signature) + _OVERHEAD_WORK


def features_of(key: KernelKey | ChangeKey) -> tuple[float, ...]:
    """As many numbers for all keys of a kind (see `kind_of`), sizes as logarithms."""
    return _of_change(key.shape) if isinstance(key, ChangeKey) else _of_kernel(key.signature)


def _of_change(shape: tuple[int, ...]) -> tuple[float, ...]:
    channels, spatial = shape[1], math.prod(shape[2:])
    return (
        math.log2(math.prod(shape)),
        math.log2(channels),
        math.log2(spatial),
        math.log2(min(channels, _VECTOR)),
        _padding(channels, _VECTOR),
        _padding(spatial, _VECTOR),
    )


def _of_kernel(s: Signature) -> tuple[float, ...]:
    read, written = math.prod(s.input_shape), math.prod(s.output_shape)
    channels, out = s.input_shape[1], s.output_shape[1]
    weights, depth = math.prod(s.weight_shape), _per_output(s)
    spatial, width = math.prod(s.output_shape[2:]), (s.output_shape[-1] if len(s.output_shape) > 2 else 1)
    sizes = (
        written * depth,
        read,
        written,
        weights,
        channels,
        out,
        spatial,
        depth,
        width,
        spatial * depth,
        read + written + weights,
    )
    return (
        *(math.log2(size) for size in sizes),
        _padding(out, _VECTOR),
        _padding(out, 4 * _VECTOR),
        _padding(channels, _VECTOR),
        _padding(depth, 4),
        _padding(spatial, _TILE_ROWS),
        _padding(width, _TILE_ROWS),
        _padding(width, _VECTOR),
        *(math.log2(share) for share in _inside(s)),
        float(channels % _VECTOR == 0),
        float(out % _VECTOR == 0),
        float(channels % 4 == 0),
        float(s.weight_shape[-1] if s.op == "conv" else 0),
        float(s.stride[0] if s.stride else 1),
        {None: 0.0, "relu": 1.0, "relu6": 2.0}[s.activation],
    )


def _operator(signature: Signature) -> str:
    if signature.op != "conv":
        return signature.op
    if signature.groups > 1:
        return "depthwise conv" if signature.weight_shape[1] == 1 else "grouped conv"
    return "pointwise conv" if math.prod(signature.weight_shape[2:]) == 1 else "dense conv"


def _per_output(signature: Signature) -> int:
    """Operations per value written."""
    return math.prod(signature.weight_shape[1:] if signature.is_weighted else signature.weight_shape)


def _padding(size: int, block: int) -> float:
    """How much is computed for each that is wanted where `size` is rounded up to whole blocks, as a logarithm."""
    return math.log2(math.ceil(size / block) * block / size)


def _inside(signature: Signature) -> tuple[float, float]:
    """Of an output row: the share of taps that are not padding, and of outputs that see none."""
    if signature.op != "conv":
        return 1.0, 1.0
    size, size_out = signature.input_shape[-1], signature.output_shape[-1]
    window, stride, padding = signature.weight_shape[-1], signature.stride[-1], signature.padding[-1]
    taps = [
        sum(0 <= start + tap * signature.dilation[-1] < size for tap in range(window))
        for start in range(-padding, -padding + stride * size_out, stride)
    ]
    whole = sum(t == window for t in taps)
    return sum(taps) / (window * size_out), (whole + 1) / (size_out + 1)
