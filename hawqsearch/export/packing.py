"""Weights stored in 2 to 6 bits that a stock runtime widens to int8 when it loads the file.

Eight codes, offset to unsigned, share `bits` bytes: one for their lowest bits, one for the next, and so on. The file
carries one model-local function made of ordinary operators; onnxruntime inlines it and folds it to an int8 constant,
so the kernels that run, and their speed, are those of 8-bit weights. All of it fits 32-bit integers: OpenVINO folds
wider ones to 32 bits.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["DOMAIN", "PACKED_BITS", "constants", "pack", "unpack", "unpack_function"]

DOMAIN: Final = "hawqsearch"
PACKED_BITS: Final = (2, 3, 4, 5, 6)
_PER_BYTE: Final = 8


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Signed `codes` of any shape as planes of bits, the lowest first: uint8 (bits, ceil(n / 8), 1)."""
    flat = (codes.reshape(-1).astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    flat = np.pad(flat, (0, -len(flat) % _PER_BYTE))
    planes = (flat >> np.arange(bits, dtype=np.uint8)[:, None]) & 1
    return np.packbits(planes, axis=1, bitorder="little")[..., None]


def unpack(packed: np.ndarray, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `pack`: int8 codes of `shape`."""
    planes = np.unpackbits(packed[..., 0], axis=1, bitorder="little").astype(np.int16)
    flat = (planes << np.arange(bits)[:, None]).sum(axis=0) - 2 ** (bits - 1)
    codes: np.ndarray = flat[: int(np.prod(shape))].reshape(shape).astype(np.int8)
    return codes


def constants(bits: int) -> list[onnx.TensorProto]:
    """What the function needs to know about `bits`, shared by all layers of that width."""
    lanes = 2 ** np.arange(_PER_BYTE, dtype=np.int32)
    planes = 2 ** np.arange(bits, dtype=np.int32).reshape(bits, 1, 1)
    offset = np.array(2 ** (bits - 1), dtype=np.int32)
    named = {"lanes": lanes, "planes": planes, "offset": offset}
    return [numpy_helper.from_array(array, f"{name}{bits}") for name, array in named.items()]


def unpack_function(opset: int) -> onnx.FunctionProto:
    """`Unpack(packed, lanes, planes, offset, count, shape) -> int8 codes`, for every width."""
    nodes = [
        helper.make_node("Cast", ["packed"], ["bytes"], to=TensorProto.INT32),
        helper.make_node("Div", ["bytes", "lanes"], ["shifted"]),
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.array(2, np.int32))),
        helper.make_node("Mod", ["shifted", "two"], ["bits"]),
        helper.make_node("Mul", ["bits", "planes"], ["placed"]),
        helper.make_node("Constant", [], ["first"], value_ints=[0]),
        helper.make_node("ReduceSum", ["placed", "first"], ["unsigned"], keepdims=0),
        helper.make_node("Sub", ["unsigned", "offset"], ["centred"]),
        helper.make_node("Cast", ["centred"], ["narrow"], to=TensorProto.INT8),
        helper.make_node("Constant", [], ["flat_shape"], value_ints=[-1]),
        helper.make_node("Reshape", ["narrow", "flat_shape"], ["flat"]),
        helper.make_node("Slice", ["flat", "first", "count"], ["cut"]),
        helper.make_node("Reshape", ["cut", "shape"], ["codes"]),
    ]
    return helper.make_function(
        DOMAIN,
        "Unpack",
        ["packed", "lanes", "planes", "offset", "count", "shape"],
        ["codes"],
        nodes,
        [helper.make_opsetid("", opset)],
    )
