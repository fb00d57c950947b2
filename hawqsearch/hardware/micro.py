"""Smallest ONNX models that make a runtime run one kernel, or one change of precision.

The values are arbitrary: integer and float kernels take the same time whatever they multiply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Signature
from hawqsearch.core.target import Scheme

__all__ = ["arbitrary_feed", "change_model", "kernel_model", "micro_model"]

_OPSET: Final = 21
_KERNEL: Final = "kernel"


@dataclass(slots=True)
class _Graph:
    scheme: Scheme
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def constant(self, array: npt.ArrayLike) -> str:
        name = f"constant{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op: str, inputs: Sequence[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def input(self, shape: Sequence[int], *, codes: bool) -> str:
        kind = self._code_type if codes else TensorProto.FLOAT
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return self.dequantize(name) if codes else name

    def quantize(self, value: str) -> str:
        return self.add("QuantizeLinear", [value, *self._scale_and_zero()], f"{value}_q")

    def dequantize(self, value: str) -> str:
        return self.add("DequantizeLinear", [value, *self._scale_and_zero()], f"{value}_dq")

    def weighted(self, signature: Signature, value: str, *, int8: bool, name: str) -> str:
        """Conv, Gemm, or MatMul and Add where the input has more than two dimensions, with its activation."""
        wide = signature.op == "linear" and len(signature.input_shape) > 2
        weight, bias = self._weights(signature, int8=int8, transposed=wide)
        if signature.op == "conv":
            pads = [*signature.padding, *signature.padding]
            output = self.add(
                "Conv",
                [value, weight, bias],
                name,
                strides=list(signature.stride),
                pads=pads,
                dilations=list(signature.dilation),
                group=signature.groups,
            )
        elif wide:
            output = self.add("Add", [self.add("MatMul", [value, weight], name), bias], f"{name}_add")
        else:
            output = self.add("Gemm", [value, weight, bias], name, transB=1)
        return self.activation(signature, output)

    def activation(self, signature: Signature, value: str) -> str:
        if signature.activation == "relu":
            return self.add("Relu", [value], f"{value}_relu")
        if signature.activation == "relu6":
            low, high = self.constant(np.float32(0)), self.constant(np.float32(6))
            return self.add("Clip", [value, low, high], f"{value}_relu6")
        return value

    def output(self, value: str, *, codes: bool) -> None:
        kind = self._code_type if codes else TensorProto.FLOAT
        name = self.quantize(value) if codes else value
        self.outputs.append(helper.make_tensor_value_info(name, kind, None))

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "micro", self.inputs, self.outputs, self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)

    def _weights(self, signature: Signature, *, int8: bool, transposed: bool) -> tuple[str, str]:
        rng = np.random.default_rng(0)
        shape, out = signature.weight_shape, signature.weight_shape[0]
        shape = shape[::-1] if transposed else shape
        if not int8:
            weight = rng.standard_normal(shape, dtype=np.float32)
            return self.constant(weight), self.constant(np.zeros(out, np.float32))
        codes = self.constant(rng.integers(-127, 128, shape).astype(np.int8))
        scale = self.constant(np.full(out, 0.01, np.float32))
        zero = self.constant(np.zeros(out, np.int8))
        weight_dq = self.add(
            "DequantizeLinear", [codes, scale, zero], f"weight_{codes}", axis=int(transposed)
        )
        bias = self.constant(np.zeros(out, np.int32))
        bias_scale = self.constant(np.full(out, 0.01 * self._input_scale, np.float32))
        return weight_dq, self.add("DequantizeLinear", [bias, bias_scale], f"bias_{codes}", axis=0)

    def _scale_and_zero(self) -> tuple[str, str]:
        lowest = self.scheme.activation_codes[0]
        zero = np.array(lowest, np.int8 if self.scheme.signed_activations else np.uint8)
        return self.constant(np.float32(self._input_scale)), self.constant(zero)

    @property
    def _input_scale(self) -> float:
        return 6 / 255  # a ReLU6 then ends at the highest code, which is when it is fused

    @property
    def _code_type(self) -> int:
        return int(TensorProto.INT8 if self.scheme.signed_activations else TensorProto.UINT8)


def micro_model(key: KernelKey | ChangeKey, scheme: Scheme, *, fuses: bool = False) -> onnx.ModelProto:
    """The model that a kernel or a change of precision is measured in.

    Args:
        fuses: the runtime computes quantizers in the kernels beside them.
    """
    if isinstance(key, KernelKey):
        return kernel_model(key.signature, int8=key.precision != "fp32", scheme=scheme, fuses=fuses)
    return change_model(key.shape, to_int8=key.change is Change.TO_INT8, scheme=scheme, fuses=fuses)


def arbitrary_feed(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Values for a model's inputs, the same each time."""
    rng = np.random.default_rng(0)
    feed = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [d.dim_value for d in tensor.shape.dim]
        feed[value.name] = (rng.random(shape) * 5).astype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return feed


def kernel_model(signature: Signature, *, int8: bool, scheme: Scheme, fuses: bool = False) -> onnx.ModelProto:
    """A model of one node named `kernel…`; integer ones read and write codes, so nothing else is timed.

    A runtime that `fuses` sees a quantized fully connected layer only behind a quantizer, which it then has to run.
    """
    graph = _Graph(scheme)
    if signature.is_weighted:
        behind = int8 and fuses and signature.op == "linear"
        source = graph.input(signature.input_shape, codes=int8 and not behind)
        if behind:
            source = graph.dequantize(graph.quantize(source))
        value = graph.weighted(signature, source, int8=int8, name=_KERNEL)
        # a fully connected kernel may leave its output in float, where it fuses no activation
        codes = int8 and (signature.op == "conv" or signature.activation is not None)
    else:
        value, codes = _join(graph, signature, int8=int8), int8
    graph.output(value, codes=codes)
    return graph.model()


def change_model(
    shape: Sequence[int], *, to_int8: bool, scheme: Scheme, fuses: bool = False
) -> onnx.ModelProto:
    """Two 1x1 convolutions (two fully connected layers unless the tensor is an image), `kernel0` and `kernel1`,
    of different precision with a tensor of `shape` (batch first) between them: what runs between the two
    kernels is the price of the change.

    Where the runtime `fuses`, a `kernel2` reads the tensor too, in the precision that `kernel0` has: else nothing
    would run between the two.
    """
    graph = _Graph(scheme)
    signature = _neutral(shape)
    source = graph.input(signature.input_shape, codes=not to_int8)
    first = graph.weighted(signature, source, int8=not to_int8, name=f"{_KERNEL}0")
    between = rounded = graph.dequantize(graph.quantize(first))
    if not to_int8:
        wide = graph.add("Cast", [rounded], "wide", to=int(TensorProto.DOUBLE))
        between = graph.add("Cast", [wide], "back", to=int(TensorProto.FLOAT))
    graph.output(graph.weighted(signature, between, int8=to_int8, name=f"{_KERNEL}1"), codes=to_int8)
    if fuses:
        beside = first if to_int8 else rounded
        third = graph.weighted(signature, beside, int8=not to_int8, name=f"{_KERNEL}2")
        graph.output(third, codes=not to_int8)
    return graph.model()


def _neutral(shape: Sequence[int]) -> Signature:
    """A layer whose input and output have that shape; more dimensions than two are flattened but the last."""
    conv = len(shape) == 4
    channels = shape[1] if conv else shape[-1]
    own = tuple(shape) if conv else (math.prod(shape[:-1]), channels)
    return Signature(
        op="conv" if conv else "linear",
        input_shape=own,
        output_shape=own,
        weight_shape=(channels, channels, 1, 1) if conv else (channels, channels),
        stride=(1, 1) if conv else (),
        padding=(0, 0) if conv else (),
        dilation=(1, 1) if conv else (),
    )


def _join(graph: _Graph, signature: Signature, *, int8: bool) -> str:
    if signature.op == "add":
        sides = [graph.input(signature.input_shape, codes=int8) for _ in range(2)]
        return graph.activation(signature, graph.add("Add", sides, _KERNEL))
    value = graph.input(signature.input_shape, codes=int8)
    if signature.op == "concat":
        return graph.add("Concat", [value, graph.input(signature.input_shape, codes=int8)], _KERNEL, axis=1)
    kernel = signature.weight_shape
    op = "AveragePool" if signature.op == "avg_pool" else "MaxPool"
    pads = [*signature.padding, *signature.padding]
    return graph.add(
        op, [value], _KERNEL, kernel_shape=list(kernel), strides=list(signature.stride), pads=pads
    )
