"""Shapes at the ends of what networks use, which the grid seldom draws: vectors, images, wide and pooling layers.

Sizes and channels are drawn from whole ranges rather than from the numbers that networks favour, so that few
rows of a network are among them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final

from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Signature

__all__ = ["wide_change_grid", "wide_kernel_grid"]

_MOST_MACS: Final = 150_000_000
_ACTIVATIONS: Final = (None, "relu", "relu", "relu6")
_SHARES: Final = (
    ("stem", 0.1125),
    ("pointwise", 0.2),
    ("depthwise", 0.0875),
    ("average", 0.1125),
    ("maximum", 0.1125),
    ("linear", 0.25),
    ("concat", 0.125),
)


def wide_kernel_grid(n: int, *, seed: int, precisions: tuple[str, ...] = ("fp32", "w8a8")) -> list[KernelKey]:
    """About `n` distinct signatures, each in every precision, batch 1."""
    rng = random.Random(seed)
    found: dict[Signature, None] = {}
    for kind, share in _SHARES:
        wanted = len(found) + round(n * share)
        while len(found) < wanted:
            drawn = _DRAW[kind](rng)
            if _macs(drawn) <= _MOST_MACS:
                found[drawn] = None
    return [KernelKey(signature, precision) for signature in found for precision in precisions]


def wide_change_grid(n: int, *, seed: int) -> list[ChangeKey]:
    """About `n` tensor shapes, each with both changes of precision: vectors, images and deep small maps."""
    rng = random.Random(seed)
    shapes: dict[tuple[int, ...], None] = {}
    while len(shapes) < n:
        kind = rng.choice(("vector", "pooled", "image", "deep"))
        if kind == "vector":
            shapes[1, _between(rng, 4, 4096)] = None
        elif kind == "pooled":
            shapes[1, _channels(rng, 16, 2048), 1, 1] = None
        elif kind == "image":
            size = _between(rng, 24, 320)
            shapes[1, rng.choice((1, 3)), size, size] = None
        else:
            size = _between(rng, 4, 20)
            shapes[1, _channels(rng, 256, 2048), size, size] = None
    return [ChangeKey(shape, change) for shape in shapes for change in Change]


def _stem(rng: random.Random) -> Signature:
    size, kernel = _between(rng, 24, 256), rng.choice((3, 3, 5, 7))
    return _conv(rng, rng.choice((1, 3)), _channels(rng, 8, 64), size, kernel, rng.choice((1, 2)))


def _pointwise(rng: random.Random) -> Signature:
    channels, out = _channels(rng, 64, 2048), _channels(rng, 256, 2048)
    if rng.random() < 0.5:
        channels, out = out, channels
    return _conv(rng, channels, out, _between(rng, 4, 32), 1, rng.choice((1, 1, 2)))


def _depthwise(rng: random.Random) -> Signature:
    channels = _channels(rng, 192, 1280)
    size, kernel = _between(rng, 5, 32), rng.choice((3, 3, 5))
    return _conv(rng, channels, channels, size, kernel, rng.choice((1, 2)), groups=channels)


def _average(rng: random.Random) -> Signature:
    size, channels = _between(rng, 2, 16), _channels(rng, 16, 2048)
    return Signature(
        op="avg_pool",
        input_shape=(1, channels, size, size),
        output_shape=(1, channels, 1, 1),
        weight_shape=(size, size),
        stride=(size, size),
        padding=(0, 0),
    )


def _maximum(rng: random.Random) -> Signature:
    kernel, size, channels = rng.choice((2, 3, 3)), _between(rng, 8, 120), _channels(rng, 16, 192)
    padding = kernel // 2 if kernel == 3 else 0
    out = (size + 2 * padding - kernel) // 2 + 1
    return Signature(
        op="max_pool",
        input_shape=(1, channels, size, size),
        output_shape=(1, channels, out, out),
        weight_shape=(kernel, kernel),
        stride=(2, 2),
        padding=(padding, padding),
        dilation=(1, 1),
    )


def _linear(rng: random.Random) -> Signature:
    inputs, outputs = _between(rng, 8, 4096), rng.choice((10, 100, 1000, _between(rng, 8, 2048)))
    return Signature(
        op="linear",
        input_shape=(1, inputs),
        output_shape=(1, outputs),
        weight_shape=(outputs, inputs),
        activation=rng.choice((None, None, "relu")),
    )


def _concat(rng: random.Random) -> Signature:
    channels, size = _channels(rng, 8, 512), _between(rng, 4, 32)
    return Signature(
        op="concat", input_shape=(1, channels, size, size), output_shape=(1, 2 * channels, size, size)
    )


_DRAW: Final[dict[str, Callable[[random.Random], Signature]]] = {
    "stem": _stem,
    "pointwise": _pointwise,
    "depthwise": _depthwise,
    "average": _average,
    "maximum": _maximum,
    "linear": _linear,
    "concat": _concat,
}


def _conv(
    rng: random.Random, channels: int, out: int, size: int, kernel: int, stride: int, *, groups: int = 1
) -> Signature:
    size_out = (size - 1) // stride + 1
    return Signature(
        op="conv",
        input_shape=(1, channels, size, size),
        output_shape=(1, out, size_out, size_out),
        weight_shape=(out, channels // groups, kernel, kernel),
        stride=(stride, stride),
        padding=(kernel // 2, kernel // 2),
        dilation=(1, 1),
        groups=groups,
        activation=rng.choice(_ACTIVATIONS),
    )


def _macs(signature: Signature) -> int:
    if not signature.is_weighted:
        return 0
    return math.prod(signature.weight_shape) * math.prod(signature.output_shape[2:])


def _between(rng: random.Random, low: int, high: int) -> int:
    """A whole number, small ones as often as large ones on a logarithmic scale."""
    return round(low * math.pow(high / low, rng.random()))


def _channels(rng: random.Random, low: int, high: int) -> int:
    """Channels in steps of 8, as layers have."""
    return max(8, 8 * round(_between(rng, low, high) / 8))
