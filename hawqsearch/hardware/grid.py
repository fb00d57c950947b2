"""Shapes that a latency predictor is trained on: drawn evenly over what networks for edge devices use."""

from __future__ import annotations

import random
from typing import Final

from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Signature

__all__ = ["change_grid", "kernel_grid"]

_SIZES: Final = (6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 112)
_CHANNELS: Final = (
    8,
    12,
    16,
    20,
    24,
    32,
    40,
    48,
    64,
    72,
    80,
    96,
    112,
    120,
    128,
    144,
    160,
    192,
    240,
    256,
    320,
    384,
    480,
    512,
)
_FEATURES: Final = (10, 16, 32, 64, 100, 128, 192, 256, 384, 512, 768, 1000, 1024, 1280, 1536, 2048)
_ACTIVATIONS: Final = (None, "relu", "relu", "relu6")
_MOST_MACS: Final = 150_000_000
_MOST_WEIGHTS: Final = 3_000_000
_MOST_VALUES: Final = 1_300_000
_SHARES: Final = (
    ("dense", 0.35),
    ("pointwise", 0.30),
    ("depthwise", 0.15),
    ("linear", 0.08),
    ("add", 0.08),
    ("pool", 0.04),
)


def kernel_grid(n: int, *, seed: int, precisions: tuple[str, ...] = ("fp32", "w8a8")) -> list[KernelKey]:
    """About `n` distinct signatures, each in every precision, batch 1."""
    rng = random.Random(seed)
    signatures: dict[Signature, None] = {}
    for kind, share in _SHARES:
        wanted = len(signatures) + round(n * share)
        tries = 0
        while len(signatures) < wanted and tries < 50 * n:
            tries += 1
            drawn = _draw(kind, rng)
            if drawn is not None:
                signatures[drawn] = None
    return [KernelKey(signature, precision) for signature in signatures for precision in precisions]


def change_grid(n: int, *, seed: int) -> list[ChangeKey]:
    """About `n` tensor shapes, each with both changes of precision."""
    rng = random.Random(seed)
    shapes: dict[tuple[int, ...], None] = {}
    while len(shapes) < n:
        size, channels = rng.choice(_SIZES), rng.choice(_CHANNELS)
        if size * size * channels <= _MOST_VALUES:
            shapes[1, channels, size, size] = None
    return [ChangeKey(shape, change) for shape in shapes for change in Change]


def _draw(kind: str, rng: random.Random) -> Signature | None:
    """A random signature of that kind, None where it is too large to be worth measuring."""
    if kind == "linear":
        inputs, outputs = rng.choice(_FEATURES), rng.choice(_FEATURES)
        if inputs * outputs > _MOST_WEIGHTS:
            return None
        weight_shape = (outputs, inputs)
        return Signature(
            op="linear", input_shape=(1, inputs), output_shape=(1, outputs), weight_shape=weight_shape
        )
    size, channels = rng.choice(_SIZES), rng.choice(_CHANNELS)
    if size * size * channels > _MOST_VALUES:
        return None
    shape = (1, channels, size, size)
    if kind == "add":
        return Signature(
            op="add", input_shape=shape, output_shape=shape, activation=rng.choice((None, "relu"))
        )
    if kind == "pool":
        window = (size, size)
        return Signature(
            op="avg_pool",
            input_shape=shape,
            output_shape=(1, channels, 1, 1),
            weight_shape=window,
            stride=window,
            padding=(0, 0),
        )
    return _convolution(kind, size, channels, rng)


def _convolution(kind: str, size: int, channels: int, rng: random.Random) -> Signature | None:
    kernel = 1 if kind == "pointwise" else rng.choice((3, 3, 3, 5, 7) if kind == "dense" else (3, 3, 5))
    stride = rng.choice((1, 1, 1, 2))
    if kind == "dense" and rng.random() < 0.08:
        channels = rng.choice((1, 3))  # stems
    out = channels if kind == "depthwise" else rng.choice(_CHANNELS)
    groups = channels if kind == "depthwise" else 1
    size_out = (size - 1) // stride + 1
    weight = (out, channels // groups, kernel, kernel)
    weights = out * (channels // groups) * kernel * kernel
    too_large = (
        weights > _MOST_WEIGHTS or weights * size_out**2 > _MOST_MACS or out * size_out**2 > _MOST_VALUES
    )
    if too_large or kernel > size:
        return None
    return Signature(
        op="conv",
        input_shape=(1, channels, size, size),
        output_shape=(1, out, size_out, size_out),
        weight_shape=weight,
        stride=(stride, stride),
        padding=(kernel // 2, kernel // 2),
        dilation=(1, 1),
        groups=groups,
        activation=rng.choice(_ACTIVATIONS),
    )
