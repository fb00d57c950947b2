"""Ranges of activations: the clip with the least squared error among shares of what was observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hawqsearch.core.model import TensorSpec
from hawqsearch.core.target import Scheme
from hawqsearch.errors import UnsupportedModelError
from hawqsearch.graph.run import Sweep
from hawqsearch.graph.trace import TracedModel
from hawqsearch.quant import affine
from hawqsearch.quant.statistics import CHUNK

__all__ = ["ActivationRange", "Observed", "calibrate_range", "observe"]

_RATIOS = tuple(1 - i / 40 for i in range(33))
"""Candidate ends as shares of the observed end: 8 bits want little clipping, 0.2 is far enough."""
_LEAST_SCALE = 2.0**-40
_SAMPLE = 2**16
"""Values of a tensor that are kept: enough to see what 8 bits may clip."""


@dataclass(frozen=True, slots=True)
class ActivationRange:
    """Scale (a float32 number, positive) and zero point (a code) of one tensor."""

    scale: float
    zero_point: int

    def fake_quantize(self, x: Tensor, scheme: Scheme) -> Tensor:
        """`x` as its int8 readers see it."""
        return affine.fake_quantize(x, self.scale, self.zero_point, *scheme.activation_codes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a tensor was seen to hold: a random sample (n,) of its values, and its true extremes."""

    sample: Tensor
    least: float
    greatest: float


def observe(traced: TracedModel, inputs: Tensor, tensors: Iterable[str], *, seed: int) -> dict[str, Observed]:
    """What each named tensor holds while the float network runs over `inputs` (n, …)."""
    parts: dict[str, list[Observed]] = {name: [] for name in tensors}
    generator = torch.Generator().manual_seed(seed)
    for chunk in torch.split(inputs, CHUNK):
        wanted = _SAMPLE * len(chunk) // len(inputs) + 1
        sweep = Sweep(traced, chunk)
        for name in sweep:
            if name in parts:
                parts[name].append(_observed(sweep.value(name), wanted, generator))
    return {name: _merged(seen) for name, seen in parts.items()}


def _observed(x: Tensor, wanted: int, generator: torch.Generator) -> Observed:
    """`wanted` values of `x` drawn with replacement, or all where there are no more."""
    values = x.detach().flatten()
    if len(values) > wanted:
        values = values[torch.randint(len(values), (wanted,), generator=generator)]
    return Observed(sample=values, least=float(x.min()), greatest=float(x.max()))


def _merged(parts: list[Observed]) -> Observed:
    return Observed(
        sample=torch.cat([p.sample for p in parts]),
        least=float(np.min([p.least for p in parts])),
        greatest=float(np.max([p.greatest for p in parts])),
    )


def calibrate_range(tensor: TensorSpec, observed: Observed, scheme: Scheme) -> ActivationRange:
    """The range of `tensor` with the least squared error on the sample; it always contains 0.

    Behind a ReLU it starts at exactly 0, so that the zero point is the lowest code, and behind a ReLU6 it
    ends at 6 at most: only then do the kernels absorb the activation. A symmetric scheme has
    its zero point in the middle of the codes whatever the tensor.

    Raises:
        UnsupportedModelError: where the tensor held NaN or infinities.
    """
    _check_finite(tensor, observed)
    low = 0.0 if tensor.floor_at_zero else min(0.0, observed.least)
    high = max(0.0, observed.greatest)
    high = high if tensor.ceiling is None else min(high, tensor.ceiling)
    if low == high:
        low, high = (0.0, 1.0) if tensor.floor_at_zero else (-1.0, 1.0)
    if scheme.symmetric_activations:
        end = max(-low, high)
        return _best([_symmetric(r * end, scheme) for r in _RATIOS], observed.sample, scheme)
    top = _searched(lambda end: _affine(low, end, scheme), high, observed.sample, scheme)
    if low == 0.0:
        return _affine(low, top, scheme)
    return _affine(
        _searched(lambda end: _affine(end, top, scheme), low, observed.sample, scheme), top, scheme
    )


def _check_finite(tensor: TensorSpec, observed: Observed) -> None:
    if not (np.isfinite(observed.least) and np.isfinite(observed.greatest)):
        raise UnsupportedModelError(
            f"tensor {tensor.name!r} holds values that are not finite on the calibration examples; "
            "look for a division by zero or an overflow in the network, or for broken inputs"
        )


def _searched(
    range_of: Callable[[float], ActivationRange], end: float, sample: Tensor, scheme: Scheme
) -> float:
    """The share of `end` whose range has the least squared error."""
    ends = [r * end for r in _RATIOS]
    errors = [_squared_error(range_of(e), sample, scheme) for e in ends]
    return ends[int(np.argmin(errors))]


def _best(ranges: list[ActivationRange], sample: Tensor, scheme: Scheme) -> ActivationRange:
    return min(ranges, key=lambda r: _squared_error(r, sample, scheme))


def _squared_error(candidate: ActivationRange, sample: Tensor, scheme: Scheme) -> float:
    """Mean square of the rounding and clipping error over the sample."""
    return float((candidate.fake_quantize(sample, scheme) - sample).square().mean(dtype=torch.float64))


def _affine(low: float, high: float, scheme: Scheme) -> ActivationRange:
    """The range [low, high] moved by less than half a step, so that 0 has a code."""
    lowest, highest = scheme.activation_codes
    scale = _float32((high - low) / (highest - lowest))
    return ActivationRange(scale, int(np.clip(np.rint(lowest - low / scale), lowest, highest)))


def _symmetric(end: float, scheme: Scheme) -> ActivationRange:
    """The range [-end, end] around the middle code."""
    lowest, highest = scheme.activation_codes
    middle = (lowest + highest + 1) // 2
    return ActivationRange(_float32(end / (highest - middle)), middle)


def _float32(scale: float) -> float:
    """The nearest float32, as a Python float; not so small that products of scales vanish."""
    return float(np.float32(max(scale, _LEAST_SCALE)))
