"""Fake quantization: its laws, torch's own and onnxruntime's bit for bit."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from hawqsearch.quant import affine

_CODES = {"uint8": (0, 255), "int8": (-128, 127)}
scales = st.floats(2.0**-20, 16.0, width=32)


@st.composite
def tensors(draw: st.DrawFn, scale: float, reach: float = 400.0) -> torch.Tensor:
    """Values up to `reach` steps from 0, exact half-way points among them."""
    steps = st.one_of(
        st.floats(-reach, reach, width=32), st.integers(-int(reach), int(reach)).map(lambda i: i + 0.5)
    )
    return torch.tensor(draw(st.lists(steps, min_size=1, max_size=20)), dtype=torch.float32) * scale


@st.composite
def quantizers(draw: st.DrawFn) -> tuple[float, int, int, int]:
    """Scale, zero point, lowest and highest code."""
    low, high = draw(st.sampled_from([(0, 255), (-128, 127), (-127, 127), (-7, 7), (-1, 1)]))
    return draw(scales), draw(st.integers(low, high)), low, high


def half_way(scale: float, low: int, high: int) -> torch.Tensor:
    """Values around every rounding boundary: the boundary itself and its float neighbours."""
    middle = (torch.arange(low - 300, high + 300, dtype=torch.float32) + 0.5) * scale
    far = torch.tensor([0.0, -0.0, 1e-30, 1e30, -1e30], dtype=torch.float32)
    return torch.cat([middle, torch.nextafter(middle, far[3]), torch.nextafter(middle, far[4]), far])


@given(st.data())
def test_fake_quantize_is_idempotent(data: st.DataObject) -> None:
    quantizer = data.draw(quantizers())
    once = affine.fake_quantize(data.draw(tensors(quantizer[0])), *quantizer)
    assert torch.equal(affine.fake_quantize(once, *quantizer), once)


@given(st.data())
def test_fake_quantize_is_monotone(data: st.DataObject) -> None:
    quantizer = data.draw(quantizers())
    x = data.draw(tensors(quantizer[0])).sort().values
    assert (affine.fake_quantize(x, *quantizer).diff() >= 0).all()


def is_odd(x: torch.Tensor, scale: float, low: int, high: int) -> bool:
    quantized = [affine.fake_quantize(sign * x, scale, 0, low, high) for sign in (1, -1)]
    return torch.equal(quantized[0], -quantized[1])


@given(st.data(), st.integers(2, 8))
def test_fake_quantize_is_odd_where_the_range_is_symmetric(data: st.DataObject, bits: int) -> None:
    top = 2 ** (bits - 1) - 1
    scale = data.draw(scales)
    assert is_odd(data.draw(tensors(scale)), scale, -top, top)


def test_a_full_range_is_not_odd() -> None:
    assert not is_odd(torch.tensor([-128.0]), 1.0, -128, 127)


@given(st.data())
def test_error_is_at_most_half_a_step_inside_the_range(data: st.DataObject) -> None:
    scale, zero_point, low, high = data.draw(quantizers())
    x = data.draw(tensors(scale))
    inside = (x >= (low - zero_point) * scale) & (x <= (high - zero_point) * scale)
    error = (affine.fake_quantize(x, scale, zero_point, low, high) - x).abs()[inside]
    float_rounding = 1e-4 * scale  # of a value some hundred steps from 0
    assert (error.double() <= 0.5 * scale + float_rounding).all()


@given(st.data())
def test_zero_is_exact(data: st.DataObject) -> None:
    assert affine.fake_quantize(torch.zeros(1), *data.draw(quantizers())) == 0


@given(st.data())
def test_per_channel_is_per_tensor_of_each_channel(data: st.DataObject) -> None:
    axis = data.draw(st.integers(-3, 2))
    x = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    scale = torch.tensor(data.draw(st.lists(scales, min_size=3, max_size=3)), dtype=torch.float32)
    zero_point = torch.tensor([0.0, 3.0, 120.0])
    whole = affine.fake_quantize(
        x, affine.per_channel(scale, 3, axis), affine.per_channel(zero_point, 3, axis), -128, 127
    )
    for channel in range(3):
        one = affine.fake_quantize(x.select(axis, channel), scale[channel], zero_point[channel], -128, 127)
        assert torch.equal(whole.select(axis, channel), one)


@pytest.mark.parametrize(("scale", "zero_point"), [(0.1, 3), (0.0078125, 0), (1 / 3, 77), (6 / 255, 0)])
@pytest.mark.parametrize("dtype", _CODES)
def test_is_torchs_bit_for_bit_where_it_multiplies_by_the_reciprocal(
    scale: float, zero_point: int, dtype: str
) -> None:
    low, high = _CODES[dtype]
    x = half_way(scale, low, high).clamp(-1e6, 1e6)
    torchs = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, low, high)
    scaled = x * (1 / torch.tensor(scale, dtype=torch.float32))
    ours = affine.dequantize(affine.codes(scaled, zero_point, low, high), scale, zero_point)
    assert torch.equal(torchs, ours)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_per_channel_is_torchs_bit_for_bit(axis: int) -> None:
    x = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(1)) * 3
    scale = torch.tensor([0.1, 0.02, 1 / 3, 0.5])
    zero_point = torch.tensor([0, 3, -7, 100], dtype=torch.int32)
    x.view(-1)[:16] = (torch.arange(16) + 0.5) * 0.5
    torchs = torch.fake_quantize_per_channel_affine(x, scale, zero_point, axis, -128, 127)
    shaped = affine.per_channel(scale, 3, axis), affine.per_channel(zero_point.float(), 3, axis)
    ours = affine.dequantize(affine.codes(x * (1 / shaped[0]), shaped[1], -128, 127), *shaped)
    assert torch.equal(torchs, ours)


def onnxruntimes(x: torch.Tensor, scale: float, zero_point: int, dtype: str) -> torch.Tensor:
    """`x` after QuantizeLinear and DequantizeLinear."""
    code = TensorProto.UINT8 if dtype == "uint8" else TensorProto.INT8
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "quantize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        [
            helper.make_tensor("s", TensorProto.FLOAT, [], [scale]),
            helper.make_tensor("z", code, [], [zero_point]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return torch.from_numpy(np.asarray(session.run(None, {"x": x.numpy()})[0]))


@pytest.mark.parametrize("scale", [0.1, 0.0078125, 1 / 3, 6 / 255, 0.0374, 1e-6])
@pytest.mark.parametrize("dtype", _CODES)
def test_is_onnxruntimes_bit_for_bit(scale: float, dtype: str) -> None:
    low, high = _CODES[dtype]
    x = half_way(scale, low, high)
    for zero_point in (low, 7, high):
        ours = affine.fake_quantize(x, scale, zero_point, low, high)
        assert torch.equal(onnxruntimes(x, scale, zero_point, dtype), ours)


def test_multiplying_by_the_reciprocal_would_not_be_onnxruntimes() -> None:
    """The generated values reach the difference: a planted wrong quantizer is caught."""
    scale, (low, high) = 0.1, _CODES["uint8"]
    x = half_way(scale, low, high)
    wrong = affine.dequantize(affine.codes(x * (1 / torch.tensor(scale)), 0, low, high), scale, 0)
    assert not torch.equal(onnxruntimes(x, scale, 0, "uint8"), wrong)


def test_halves_go_to_even() -> None:
    """Rounding halves away from zero, the other common rule, gives 1, 2, 3, 4 here."""
    halves = torch.tensor([0.5, 1.5, 2.5, 3.5])
    assert affine.quantize(halves, 1.0, 0, 0, 255).tolist() == [0, 2, 2, 4]
