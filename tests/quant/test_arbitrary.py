"""Values for a file that is only to be timed: of the right shape, within the codes, and loaded as int8."""

from __future__ import annotations

import pytest
import torch

from hawqsearch.core.target import Scheme
from hawqsearch.graph.trace import trace
from hawqsearch.quant.arbitrary import ArbitraryValues
from hawqsearch.testing import tiny

SCHEMES = [
    Scheme(),
    Scheme(signed_activations=True),
    Scheme(signed_activations=True, symmetric_activations=True),
]


@pytest.mark.parametrize("scheme", SCHEMES, ids=["unsigned", "signed", "symmetric"])
def test_codes_and_zero_points_are_those_of_the_scheme(scheme: Scheme) -> None:
    spec = trace(tiny.model().eval(), torch.from_numpy(tiny.data().calibration.inputs[:2])).spec
    values = ArbitraryValues(spec, scheme)
    lowest, highest = scheme.activation_codes
    for layer in spec.layers:
        for bits in (2, 4, 8):
            weight = values.weight(layer.name, bits)
            assert tuple(weight.codes.shape) == layer.weight_shape
            low, high = scheme.weight_codes(bits)
            assert low <= int(weight.codes.min()) < int(weight.codes.max()) <= high
    for tensor in spec.tensors:
        zero_point = values.activation(tensor.name).zero_point
        floor = tensor.floor_at_zero and not scheme.symmetric_activations
        assert zero_point == (lowest if floor else (lowest + highest + 1) // 2)
