"""The output-error criterion against brute force, the bias correction, and the search for a range."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hawqsearch.core.model import NodeSpec
from hawqsearch.core.target import Scheme
from hawqsearch.quant.bias import least_weight_scale, round_bias
from hawqsearch.quant.statistics import InputStatistics
from hawqsearch.quant.weights import RANGE_RATIOS, QuantizedWeight, output_error, quantize_weight
from tests.quant.test_statistics import CONVOLUTIONS, linear, random_input, statistics_of

BITS = (2, 3, 4, 5, 6, 8)
LAYERS = [*CONVOLUTIONS, linear(6, 4)]


def layer_input(node: NodeSpec) -> torch.Tensor:
    """Skewed and correlated, so that neither mean nor covariance is trivial."""
    x = random_input(node) if node.op == "conv" else torch.randn(50, node.weight_shape[1]) + 1
    return (x + x.roll(1, -1)).relu()


def output(x: torch.Tensor, node: NodeSpec, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The layer in float64: (positions, out)."""
    x, weight, bias = x.double(), weight.double(), bias.double()
    if node.op == "linear":
        return F.linear(x, weight, bias)
    settings = node.stride, node.padding, node.dilation, node.groups
    return F.conv2d(x, weight, bias, *settings).movedim(1, -1).flatten(0, -2)


def quantized(node: NodeSpec, bits: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, QuantizedWeight]:
    """Input, weight, bias, and what the quantizer makes of them."""
    torch.manual_seed(3)
    x, weight, bias = layer_input(node), torch.randn(node.weight_shape), torch.randn(node.weight_shape[0])
    return x, weight, bias, quantize_weight(weight, bias, statistics_of(x, node), bits=bits, scheme=Scheme())


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("node", LAYERS, ids=lambda node: node.name)
def test_criterion_is_the_output_error_after_bias_correction(node: NodeSpec, bits: int) -> None:
    x, weight, bias, result = quantized(node, bits)
    change = output(x, node, result.dequantized, result.bias) - output(x, node, weight, bias)
    error = (result.dequantized - weight).flatten(1).double()
    priced = output_error(error, statistics_of(x, node))
    torch.testing.assert_close(priced, change.square().mean(0), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("node", LAYERS, ids=lambda node: node.name)
def test_bias_correction_restores_the_mean_output(node: NodeSpec) -> None:
    x, weight, bias, result = quantized(node, 2)
    expected = output(x, node, weight, bias).mean(0)
    restored = output(x, node, result.dequantized, result.bias).mean(0)
    torch.testing.assert_close(restored, expected, rtol=1e-5, atol=1e-5)
    uncorrected = output(x, node, result.dequantized, bias).mean(0)
    assert (uncorrected - expected).abs().max() > 0.01


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("node", LAYERS, ids=lambda node: node.name)
def test_no_share_of_the_range_has_a_smaller_error(node: NodeSpec, bits: int) -> None:
    x, weight, _, result = quantized(node, bits)
    statistics = statistics_of(x, node)
    low, high = Scheme().weight_codes(bits)
    found = output_error((result.dequantized - weight).flatten(1), statistics)
    for ratio in RANGE_RATIOS:
        scale = (ratio * weight.abs().flatten(1).amax(1, keepdim=True)) / high
        other = (weight.flatten(1) / scale).round().clamp(low, high) * scale
        assert (found <= output_error(other - weight.flatten(1), statistics) * (1 + 1e-4) + 1e-9).all()


def test_two_bits_need_a_range_well_below_the_largest_weight() -> None:
    """Were the ratios [1.0] alone, nearly all codes would be 0."""
    node = linear(64, 8)
    torch.manual_seed(0)
    x, weight = torch.randn(500, 64), torch.randn(8, 64)
    statistics = statistics_of(x, node)
    result = quantize_weight(weight, None, statistics, bits=2, scheme=Scheme())
    largest = weight.abs().amax(1, keepdim=True)
    naive = output_error((weight / largest).round() * largest - weight, statistics)
    assert set(result.codes.flatten().tolist()) == {-1, 0, 1}
    assert (output_error(result.dequantized - weight, statistics) < 0.6 * naive).all()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_the_weights_codes_fit_and_scales_are_positive(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from(BITS))
    scheme = Scheme(
        narrow_weights=data.draw(st.booleans()), weight_code_bits=data.draw(st.sampled_from([7, 8]))
    )
    values = st.one_of(st.just(0.0), st.floats(-4, 4, width=32), st.sampled_from([1e-38, -1e-30, 1e20]))
    weight = torch.tensor(data.draw(st.lists(values, min_size=12, max_size=12)), dtype=torch.float32).view(
        3, 4
    )
    statistics = InputStatistics(mean=torch.ones(1, 4), covariance=torch.eye(4)[None], n=9)
    result = quantize_weight(weight, None, statistics, bits=bits, scheme=scheme)
    low, high = scheme.weight_codes(bits)
    assert result.codes.dtype == torch.int8
    assert low <= result.codes.min() <= result.codes.max() <= high
    assert (result.scale > 0).all()
    assert torch.isfinite(result.bias).all()
    assert torch.isfinite(result.dequantized).all()


def test_a_dead_channel_stays_zero_and_keeps_its_bias() -> None:
    node = linear(6, 4)
    weight = torch.randn(4, 6)
    weight[2] = 0
    bias = torch.tensor([1.0, 2.0, 3.0, 4.0])
    statistics = statistics_of(layer_input(node), node)
    result = quantize_weight(weight, bias, statistics, bits=4, scheme=Scheme())
    assert (result.codes[2] == 0).all()
    assert result.bias[2] == 3.0


def test_an_all_but_dead_channel_keeps_its_bias_in_int32() -> None:
    """Batch-norm folding makes such channels; without a least scale the bias would saturate."""
    node, input_scale = linear(6, 2), 0.02
    weight, bias = torch.randn(2, 6), torch.tensor([1.0, 5.0])
    weight[1] *= 1e-9
    statistics = statistics_of(layer_input(node), node)
    floor = least_weight_scale(bias, input_scale)
    safe = quantize_weight(weight, bias, statistics, bits=8, scheme=Scheme(), least_scale=floor)
    unsafe = quantize_weight(weight, bias, statistics, bits=8, scheme=Scheme())
    assert round_bias(safe.bias, input_scale, safe.scale)[1] == pytest.approx(5.0, rel=1e-6)
    assert round_bias(unsafe.bias, input_scale, unsafe.scale)[1] < 1.0


@given(st.floats(-1e4, 1e4), st.floats(2.0**-12, 1.0), st.floats(2.0**-12, 1.0))
def test_a_rounded_bias_is_off_by_half_a_step(bias: float, input_scale: float, weight_scale: float) -> None:
    value, scale = torch.tensor([bias]), torch.tensor([weight_scale])
    rounded = round_bias(value, input_scale, scale)
    step = input_scale * weight_scale
    if abs(bias) < 2**30 * step:
        assert abs(float(rounded - value)) <= 0.5 * step + 1e-6 * abs(bias)
