"""Weights: the range by the layer's output error, and a bias that keeps each channel's mean.

A weight error d (one output channel, K entries) changes the output by d'x, x the unfolded input.
With the bias moved by -d'E[x] (Nagel et al. 2019, "Data-free quantization through weight
equalization and bias correction", arXiv 1906.04721, section 4.2) the mean of that change is zero
and its mean square is exactly d' Cov(x) d. That is the layer-wise quadratic of Nagel et al. 2020
("Up or down? Adaptive rounding", arXiv 2004.10568, section 3.2), with E[xx'] replaced by the
covariance because the bias takes care of the mean. One covariance therefore judges every range
and every bit-width without running the layer again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hawqsearch.core.target import Scheme
from hawqsearch.quant import affine
from hawqsearch.quant.statistics import InputStatistics

__all__ = ["RANGE_RATIOS", "QuantizedWeight", "output_error", "quantize_weight"]

RANGE_RATIOS: tuple[float, ...] = tuple(10.0 ** (-i / 32) for i in range(33))
"""Candidate ranges as shares of max|w|: 1 down to 0.1 in steps of 7 %.

Geometric, because what matters is the relative distance to the best scale (never above 4 %, and the
error is flat there). Codes -1, 0, 1 want a scale near 1.2 standard deviations (Gaussian weights),
which is 0.1 of the maximum where the largest weight is a 12-sigma outlier.
"""

_LEAST_SCALE = 2.0**-40


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedWeight:
    """Weights of one layer as the kernel stores them.

    Args:
        codes: int8, the shape of the weight.
        scale: float32 (out,), always positive.
        bias: float32 (out,), corrected; present also where the layer had none.
        bits: bits of a code.
    """

    codes: Tensor
    scale: Tensor
    bias: Tensor
    bits: int

    @property
    def dequantized(self) -> Tensor:
        """The weight that the kernel computes with: float32, the shape of `codes`."""
        return affine.dequantize(self.codes.float(), affine.per_channel(self.scale, self.codes.ndim, 0), 0)


def quantize_weight(
    weight: Tensor,
    bias: Tensor | None,
    statistics: InputStatistics,
    *,
    bits: int,
    scheme: Scheme,
    least_scale: Tensor | None = None,
) -> QuantizedWeight:
    """The weight in `bits` bits, symmetric per output channel, with its corrected bias.

    Args:
        weight: (out, in / groups, kernel…) or (out, in).
        bias: (out,) or None.
        statistics: of the layer's unfolded input.
        scheme: gives the range of codes.
        least_scale: (out,), scales are not below it: see `least_weight_scale`.
    """
    low, high = scheme.weight_codes(bits)
    rows = weight.detach().float().flatten(1)
    candidates = _candidate_scales(rows, high, least_scale)
    errors = torch.stack([output_error(_error(rows, s, low, high), statistics) for s in candidates])
    scale = candidates.gather(0, errors.argmin(0, keepdim=True))[0]
    shift = _mean_shift(_error(rows, scale, low, high), statistics)
    start = torch.zeros(len(rows)) if bias is None else bias.detach()
    return QuantizedWeight(
        codes=affine.quantize(rows, scale[:, None], 0, low, high).to(torch.int8).reshape(weight.shape),
        scale=scale,
        bias=(start.double() - shift).float(),
        bits=bits,
    )


def output_error(error: Tensor, statistics: InputStatistics) -> Tensor:
    """Mean square of the output's change, mean removed, per channel (out,): d' Cov d. Lower is better.

    Args:
        error: weight errors d (out, K), the channels of a group side by side. float32 products
            are exact to about 1e-6 of |d|² times the largest eigenvalue; pass float64 for more.
    """
    groups = error.reshape(len(statistics.mean), -1, error.shape[1])
    covariance = statistics.covariance.to(error.dtype)
    return (torch.bmm(groups, covariance) * groups).sum(-1).flatten()


def _candidate_scales(rows: Tensor, high: int, least_scale: Tensor | None) -> Tensor:
    """Scales (ratios, out), the one of max|w| first, all positive."""
    floor = torch.full((len(rows),), _LEAST_SCALE)
    floor = floor if least_scale is None else torch.maximum(floor, least_scale)
    ratios = torch.tensor(RANGE_RATIOS)[:, None]
    return torch.maximum(ratios * rows.abs().amax(1) / high, floor)


def _error(rows: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """Rounding errors (out, K): dequantized minus weight."""
    return affine.fake_quantize(rows, scale[:, None], 0, low, high) - rows


def _mean_shift(error: Tensor, statistics: InputStatistics) -> Tensor:
    """How far the rounding moves each channel's mean: d'E[x], float64 (out,)."""
    groups = error.double().reshape(len(statistics.mean), -1, error.shape[1])
    return torch.einsum("gok,gk->go", groups, statistics.mean.double()).flatten()
