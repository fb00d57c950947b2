"""Biases of int8 kernels: int32 codes whose scale is the product of the input's and the weight's.

ONNX `QLinearConv` adds the bias to the int32 accumulator, so its scale is not a choice.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["LARGEST_BIAS_CODE", "bias_codes", "bias_scale", "least_weight_scale", "round_bias"]

LARGEST_BIAS_CODE = 2**30
"""Half of what int32 holds: the other half is left to the accumulated products."""


def bias_scale(input_scale: float, weight_scale: Tensor) -> Tensor:
    """Scale of the bias (out,): the float32 product of both scales."""
    return torch.tensor(input_scale, dtype=torch.float32) * weight_scale


def bias_codes(bias: Tensor, scale: Tensor) -> Tensor:
    """int32 codes (out,) of a float bias; divides in float64, because codes may pass 2^24."""
    codes = torch.round(bias.double() / scale.double())
    return codes.clamp(-LARGEST_BIAS_CODE, LARGEST_BIAS_CODE).to(torch.int32)


def round_bias(bias: Tensor, input_scale: float, weight_scale: Tensor) -> Tensor:
    """The bias (out,) as an int8 kernel adds it, in float32."""
    scale = bias_scale(input_scale, weight_scale)
    return bias_codes(bias, scale).float() * scale


def least_weight_scale(bias: Tensor, input_scale: float) -> Tensor:
    """Smallest scale (out,) that leaves the bias within int32.

    Batch-norm folding leaves channels whose weights are all but zero beside an ordinary bias; the
    range of such weights alone would make the bias saturate.
    """
    return (2 * bias.double().abs() / (input_scale * LARGEST_BIAS_CODE)).float()
