"""The work of one kernel in PyTorch on CUDA: operands made once, and a function that multiplies them.

The values are random: a kernel takes the same time whatever it multiplies (its power does depend on them).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

import torch
import torch.nn.functional as F

from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Signature
from hawqsearch.errors import DeviceError, InputError

__all__ = ["change_work", "float_math", "kernel_work", "least_capability"]

Work = Callable[[], object]

_FLOATS: Final = MappingProxyType(
    {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
)
_CAPABILITY: Final = MappingProxyType(
    {"tf32": (8, 0), "bf16": (8, 0), "w8a8": (7, 5), "fp8e4m3": (8, 9), "w4a16": (8, 0)}
)
"""Least compute capability: NVIDIA's CUDA C++ Programming Guide, table of arithmetic throughput."""

_INT8_ROWS: Final = 32  # torch._int_mm refuses 16 rows and fewer
_INT8_MULTIPLE: Final = 8
_FP8_MULTIPLE: Final = 16
_INT4_GROUP: Final = 128
_INT4_TILES: Final = 8


def kernel_work(key: KernelKey, place: torch.device, capability: tuple[int, int]) -> Work:
    """The work of a kernel, operands on `place`.

    Raises:
        DeviceError: the GPU is older than the kernel.
        InputError: PyTorch has no such kernel on CUDA.
    """
    needed = least_capability(key.precision)
    if capability < needed:
        raise DeviceError(
            f"{key.precision} needs a GPU of compute capability {_dotted(needed)}, this one has {_dotted(capability)}; "
            "leave it out with --precisions"
        )
    if key.precision in _FLOATS:
        return _float_work(key.signature, _FLOATS[key.precision], place)
    build = _LINEAR.get(key.precision)
    if key.signature.op != "linear" or build is None:
        has = ", ".join([*_FLOATS, *(_LINEAR if key.signature.op == "linear" else ())])
        raise InputError(
            f"PyTorch has no {key.precision} kernel of {key.signature.op} on CUDA: it would buy size and no time; "
            f"there are {has}"
        )
    return build(key.signature, place)


def least_capability(precision: str) -> tuple[int, int]:
    """The compute capability that a GPU needs for kernels of that precision."""
    return _CAPABILITY.get(precision, (0, 0))


def change_work(key: ChangeKey, place: torch.device) -> Work:
    """A change of precision as PyTorch runs it without a compiler that would fuse its steps."""
    if key.change is Change.TO_INT8:
        values = _normal(key.shape, torch.float32, place)
        return lambda: torch.clamp(torch.round(values * 0.1), -128, 127).to(torch.int8)
    sums = torch.randint(-1000, 1000, key.shape, dtype=torch.int32, device=place)
    return lambda: sums * 0.1


@contextmanager
def float_math(precision: str) -> Iterator[None]:
    """fp32 products on tensor cores (`tf32`) or in full (all else), and convolutions by the fastest algorithm."""
    cudnn = torch.backends.cudnn
    matmul, conv = torch.backends.cuda.matmul, cudnn.conv  # type: ignore[attr-defined]
    before = matmul.fp32_precision, conv.fp32_precision, cudnn.benchmark
    chosen = "tf32" if precision == "tf32" else "ieee"
    matmul.fp32_precision, conv.fp32_precision, cudnn.benchmark = chosen, chosen, True
    try:
        yield
    finally:
        matmul.fp32_precision, conv.fp32_precision, cudnn.benchmark = before


def _float_work(signature: Signature, kind: torch.dtype, place: torch.device) -> Work:
    value = _normal(signature.input_shape, kind, place)
    after = _activation(signature)
    if signature.op == "linear":
        weight, bias = _weight_and_bias(signature, kind, place)
        return lambda: after(F.linear(value, weight, bias))
    value = value.to(memory_format=torch.channels_last) if value.dim() == 4 else value
    if signature.op == "conv":
        return _conv(signature, value, kind, place)
    other = value.clone()
    joins: dict[str, Work] = {
        "add": lambda: after(value + other),
        "concat": lambda: torch.cat([value, other], dim=1),
        "avg_pool": lambda: F.avg_pool2d(value, signature.weight_shape, signature.stride, signature.padding),
        "max_pool": lambda: F.max_pool2d(value, signature.weight_shape, signature.stride, signature.padding),
    }
    return joins[signature.op]


def _conv(signature: Signature, value: torch.Tensor, kind: torch.dtype, place: torch.device) -> Work:
    weight, bias = _weight_and_bias(signature, kind, place)
    weight = weight.to(memory_format=torch.channels_last)
    stride, padding, dilation = signature.stride, signature.padding, signature.dilation
    after = _activation(signature)
    return lambda: after(F.conv2d(value, weight, bias, stride, padding, dilation, signature.groups))


def _int8_linear(signature: Signature, place: torch.device) -> Work:
    """int8 x int8 -> int32, then scale and bias to fp32; rows and columns filled up to what the kernel takes, as a
    deployment must."""
    rows, inputs, outputs = _gemm(signature)
    rows = max(_up(rows, _INT8_MULTIPLE), _INT8_ROWS)
    left = _codes((rows, _up(inputs, _INT8_MULTIPLE)), place)
    right = _codes((_up(outputs, _INT8_MULTIPLE), _up(inputs, _INT8_MULTIPLE)), place).t()
    scale, bias = torch.ones(right.shape[1], device=place), torch.zeros(right.shape[1], device=place)
    after = _activation(signature)
    return lambda: after(torch._int_mm(left, right) * scale + bias)


def _fp8_linear(signature: Signature, place: torch.device) -> Work:
    """e4m3 x e4m3 -> bf16, one scale per tensor."""
    rows, inputs, outputs = _gemm(signature)
    inputs, outputs = _up(inputs, _FP8_MULTIPLE), _up(outputs, _FP8_MULTIPLE)
    left = _normal((rows, inputs), torch.float32, place).to(torch.float8_e4m3fn)
    right = _normal((outputs, inputs), torch.float32, place).to(torch.float8_e4m3fn).t()
    one, bias = torch.ones((), device=place), torch.zeros(outputs, dtype=torch.bfloat16, device=place)
    after = _activation(signature)
    return lambda: after(
        torch._scaled_mm(left, right, scale_a=one, scale_b=one, bias=bias, out_dtype=torch.bfloat16)
    )


def _int4_linear(signature: Signature, place: torch.device) -> Work:
    """int4 weights in groups of 128 and bf16 inside; what it reads and returns is fp32, as other layers hand it on."""
    rows, inputs, outputs = _gemm(signature)
    inputs, outputs = _up(inputs, _INT4_GROUP), _up(outputs, _INT8_MULTIPLE)
    value = _normal((rows, inputs), torch.float32, place)
    pairs = torch.randint(0, 256, (outputs, inputs // 2), dtype=torch.uint8, device=place)
    packed = torch.ops.aten._convert_weight_to_int4pack(pairs, _INT4_TILES)
    scales = _normal((inputs // _INT4_GROUP, outputs, 2), torch.bfloat16, place)
    bias, after = torch.zeros(outputs, device=place), _activation(signature)
    multiply = torch.ops.aten._weight_int4pack_mm
    return lambda: after(multiply(value.to(torch.bfloat16), packed, _INT4_GROUP, scales).float() + bias)


_LINEAR: Final = MappingProxyType({"w8a8": _int8_linear, "fp8e4m3": _fp8_linear, "w4a16": _int4_linear})


def _gemm(signature: Signature) -> tuple[int, int, int]:
    """Rows, inputs and outputs of a linear layer."""
    outputs, inputs = signature.weight_shape
    return math.prod(signature.input_shape[:-1]), inputs, outputs


def _activation(signature: Signature) -> Callable[[torch.Tensor], torch.Tensor]:
    if signature.activation == "relu":
        return torch.relu
    if signature.activation == "relu6":
        return lambda value: torch.clamp(value, 0, 6)
    return lambda value: value


def _weight_and_bias(
    signature: Signature, kind: torch.dtype, place: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    bias = torch.zeros(signature.weight_shape[0], dtype=kind, device=place)
    return _normal(signature.weight_shape, kind, place), bias


def _normal(shape: tuple[int, ...], kind: torch.dtype, place: torch.device) -> torch.Tensor:
    return torch.randn(shape, device=place).to(kind)


def _codes(shape: tuple[int, int], place: torch.device) -> torch.Tensor:
    return torch.randint(-127, 128, shape, dtype=torch.int8, device=place)


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
