"""Packed weights: unpacking inverts packing, and the runtime unpacks the same codes when it loads a file."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hawqsearch.export import packing
from hawqsearch.runtime.onnxruntime_cpu import OnnxRuntime


@st.composite
def codes(draw: st.DrawFn, bits: int) -> np.ndarray:
    """int8 codes of `bits` bits, the lowest and the highest among them, in any shape."""
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    values = draw(st.lists(st.integers(low, high), min_size=1, max_size=64))
    return np.resize(np.array([low, *values, high], np.int8), shape)


@pytest.mark.parametrize("bits", packing.PACKED_BITS)
def test_unpack_inverts_pack(bits: int) -> None:
    @given(codes(bits))
    def law(array: np.ndarray) -> None:
        packed = packing.pack(array, bits)
        found = packing.unpack(packed, bits, array.shape)
        assert packed.shape == (bits, -(-array.size // 8), 1)
        assert (packed.dtype, found.dtype, found.shape) == (np.uint8, np.int8, array.shape)
        assert (found == array).all()

    law()


@pytest.mark.parametrize("bits", packing.PACKED_BITS)
@pytest.mark.parametrize("shape", [(1,), (8,), (3, 5), (5, 3, 3, 3), (64, 16, 3, 3)])
def test_the_runtime_unpacks_the_same(bits: int, shape: tuple[int, ...]) -> None:
    """Random codes, and all at either end, where the sums of the function are largest and smallest."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    random = np.random.default_rng(bits).integers(low, high + 1, shape).astype(np.int8)
    for array in (random, np.full(shape, low, np.int8), np.full(shape, high, np.int8)):
        assert (_unpacked_by_the_runtime(array, bits) == array).all()


def _unpacked_by_the_runtime(array: np.ndarray, bits: int) -> np.ndarray:
    initializers = [
        numpy_helper.from_array(packing.pack(array, bits), "packed"),
        *packing.constants(bits),
        numpy_helper.from_array(np.array([array.size], np.int64), "count"),
        numpy_helper.from_array(np.array(array.shape, np.int64), "shape"),
    ]
    inputs = [i.name for i in initializers]
    graph = helper.make_graph(
        [helper.make_node("Unpack", inputs, ["codes"], domain=packing.DOMAIN)],
        "unpack",
        [],
        [helper.make_tensor_value_info("codes", TensorProto.INT8, list(array.shape))],
        initializers,
    )
    model = helper.make_model(
        graph,
        functions=[packing.unpack_function(21)],
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(packing.DOMAIN, 1)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    with OnnxRuntime().open(model.SerializeToString()) as session:
        return session.run({})[0]
