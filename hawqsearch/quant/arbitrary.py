"""Scales and codes for a network whose answers nobody reads: kernels take the same time whatever they multiply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from hawqsearch.core.model import ModelSpec
from hawqsearch.core.target import Scheme
from hawqsearch.quant.ranges import ActivationRange
from hawqsearch.quant.weights import QuantizedWeight

__all__ = ["ArbitraryValues"]

_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class ArbitraryValues:
    """Stands in for a `CalibratedModel` where an int8 file is only to be timed."""

    spec: ModelSpec
    scheme: Scheme

    def weight(self, layer: str, bits: int) -> QuantizedWeight:
        """Random codes."""
        shape = self.spec.node(layer).weight_shape
        lowest, highest = self.scheme.weight_codes(bits)
        generator = torch.Generator().manual_seed(_SEED)
        codes = torch.randint(lowest, highest + 1, shape, generator=generator, dtype=torch.int8)
        out = shape[0]
        return QuantizedWeight(codes=codes, scale=torch.full((out,), 0.01), bias=torch.zeros(out), bits=bits)

    def activation(self, tensor: str) -> ActivationRange:
        """From 0 (to the activation's ceiling) where there is an activation, else around 0."""
        spec = self.spec.tensor(tensor)
        lowest, highest = self.scheme.activation_codes
        floor = spec.floor_at_zero and not self.scheme.symmetric_activations
        zero_point = lowest if floor else (lowest + highest + 1) // 2
        return ActivationRange(scale=(spec.ceiling or 6.0) / (highest - lowest), zero_point=zero_point)
