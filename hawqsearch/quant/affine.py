"""Affine quantization step by step: scale, round half to even, shift, clamp, and back.

ONNX `QuantizeLinear` (opset 13 and later): code = saturate(round(x / scale) + zero_point), the quotient
in float32, halves to even; `DequantizeLinear`: (code - zero_point) * scale in float32. Both are
reproduced bit for bit. torch's own fake quantization multiplies by 1 / scale, which moves about
one value in a million across a rounding boundary; hence `scaled` is an argument of `codes`.

Codes stay float32 tensors with integer values between the steps (exact up to 2^24).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["clamp", "codes", "dequantize", "fake_quantize", "per_channel", "quantize", "round_half_even"]

Parameter = Tensor | float
"""A scale or zero point: one number, or a tensor that broadcasts against x (see `per_channel`)."""


def round_half_even(x: Tensor) -> Tensor:
    """The nearest integer, the even one of two equally near: the shape and dtype of `x`."""
    return torch.round(x)


def clamp(x: Tensor, low: int, high: int) -> Tensor:
    """`x` limited to [low, high]; NaN stays NaN."""
    return torch.clamp(x, low, high)


def codes(scaled: Tensor, zero_point: Parameter, low: int, high: int) -> Tensor:
    """Codes of values that are divided by their scale already: integers in [low, high], as floats."""
    return clamp(round_half_even(scaled) + zero_point, low, high)


def quantize(x: Tensor, scale: Parameter, zero_point: Parameter, low: int, high: int) -> Tensor:
    """Codes of `x` as floats: divides by the scale in float32, as onnxruntime does."""
    return codes(x / _as_tensor(scale, x), zero_point, low, high)


def dequantize(code: Tensor, scale: Parameter, zero_point: Parameter) -> Tensor:
    """The values that codes stand for: (code - zero_point) * scale."""
    return (code - zero_point) * _as_tensor(scale, code)


def fake_quantize(x: Tensor, scale: Parameter, zero_point: Parameter, low: int, high: int) -> Tensor:
    """`x` rounded to the values that codes in [low, high] stand for."""
    return dequantize(quantize(x, scale, zero_point, low, high), scale, zero_point)


def per_channel(parameter: Tensor, ndim: int, axis: int) -> Tensor:
    """A scale or zero point (channels,) shaped to broadcast along `axis` of an `ndim`-dimensional tensor."""
    return parameter.reshape([-1 if d == axis % ndim else 1 for d in range(ndim)])


def _as_tensor(scale: Parameter, like: Tensor) -> Tensor:
    """The scale in the dtype of `like`: a Python float would be rounded by other rules."""
    return torch.as_tensor(scale, dtype=like.dtype, device=like.device)
