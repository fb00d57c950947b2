"""Weights stored in 2 to 6 bits that a stock onnxruntime widens to int8 when it loads the file.

Eight codes, offset to unsigned, share `bits` bytes. The file carries one model-local function made
of ordinary operators; onnxruntime inlines it and folds it to an int8 constant, so the kernels that
run, and their speed, are those of 8-bit weights. Sums stay below 2^53, the limit of the runtime's
64-bit reduction; that is why 7 bits are not offered.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["DOMAIN", "PACKED_BITS", "constants", "pack", "unpack", "unpack_function"]

DOMAIN: Final = "hawqsearch"
PACKED_BITS: Final = (2, 3, 4, 5, 6)
_PER_GROUP: Final = 8


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Signed `codes` of any shape as little-endian bit groups: uint8 (ceil(n / 8), bits)."""
    flat = codes.reshape(-1).astype(np.int64) + 2 ** (bits - 1)
    flat = np.pad(flat, (0, -len(flat) % _PER_GROUP)).reshape(-1, _PER_GROUP).astype(np.uint64)
    words = (flat << (np.arange(_PER_GROUP, dtype=np.uint64) * np.uint64(bits))).sum(axis=1, dtype=np.uint64)
    shifts = np.arange(bits, dtype=np.uint64) * np.uint64(8)
    packed: np.ndarray = ((words[:, None] >> shifts) & np.uint64(255)).astype(np.uint8)
    return packed


def unpack(packed: np.ndarray, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `pack`: int8 codes of `shape`."""
    shifts = np.arange(bits, dtype=np.uint64) * np.uint64(8)
    words = (packed.astype(np.uint64) << shifts).sum(axis=1, dtype=np.uint64)
    lanes = words[:, None] >> (np.arange(_PER_GROUP, dtype=np.uint64) * np.uint64(bits))
    flat = (lanes & np.uint64(2**bits - 1)).astype(np.int64) - 2 ** (bits - 1)
    count = int(np.prod(shape))
    codes: np.ndarray = flat.reshape(-1)[:count].reshape(shape).astype(np.int8)
    return codes


def constants(bits: int) -> list[onnx.TensorProto]:
    """What the function needs to know about `bits`, shared by all layers of that width."""
    left = np.arange(bits, dtype=np.uint64) * np.uint64(8)
    right = np.arange(_PER_GROUP, dtype=np.uint64) * np.uint64(bits)
    mask = np.array(2**bits - 1, dtype=np.uint64)
    offset = np.array(2 ** (bits - 1), dtype=np.int32)
    named = {"left": left, "right": right, "mask": mask, "offset": offset}
    return [numpy_helper.from_array(array, f"{name}{bits}") for name, array in named.items()]


def unpack_function(opset: int) -> onnx.FunctionProto:
    """`Unpack(packed, left, right, mask, offset, count, shape) -> int8 codes`, for every width."""
    nodes = [
        helper.make_node("Cast", ["packed"], ["bytes"], to=TensorProto.UINT64),
        helper.make_node("BitShift", ["bytes", "left"], ["placed"], direction="LEFT"),
        helper.make_node("Cast", ["placed"], ["signed"], to=TensorProto.INT64),
        helper.make_node("Constant", [], ["axis"], value_ints=[1]),
        helper.make_node("ReduceSum", ["signed", "axis"], ["sum"], keepdims=1),
        helper.make_node("Cast", ["sum"], ["word"], to=TensorProto.UINT64),
        helper.make_node("BitShift", ["word", "right"], ["lanes"], direction="RIGHT"),
        helper.make_node("BitwiseAnd", ["lanes", "mask"], ["unsigned"]),
        helper.make_node("Cast", ["unsigned"], ["wide"], to=TensorProto.INT32),
        helper.make_node("Sub", ["wide", "offset"], ["centred"]),
        helper.make_node("Cast", ["centred"], ["narrow"], to=TensorProto.INT8),
        helper.make_node("Constant", [], ["flat_shape"], value_ints=[-1]),
        helper.make_node("Reshape", ["narrow", "flat_shape"], ["flat"]),
        helper.make_node("Constant", [], ["start"], value_ints=[0]),
        helper.make_node("Slice", ["flat", "start", "count"], ["cut"]),
        helper.make_node("Reshape", ["cut", "shape"], ["codes"]),
    ]
    return helper.make_function(
        DOMAIN,
        "Unpack",
        ["packed", "left", "right", "mask", "offset", "count", "shape"],
        ["codes"],
        nodes,
        [helper.make_opsetid("", opset)],
    )
