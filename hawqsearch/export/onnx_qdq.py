"""An ONNX file with quantize / dequantize pairs: what onnxruntime, OpenVINO and others turn into int8 kernels.

Layout per quantized layer: `x -> Q -> DQ -> Conv | Gemm -> [Relu] -> Q -> DQ`, weights as int8 (or packed,
see `packing`) behind a DequantizeLinear, bias as int32 with scale x_scale * w_scale. One pair per tensor,
shared by all readers. A float layer behind a quantized tensor reads through a pair of Casts that the
runtime removes, but only after its rewrite of float layers to int8 has looked away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.inliner import inline_local_functions

from hawqsearch.core.model import ModelSpec, NodeSpec
from hawqsearch.core.placement import Placement
from hawqsearch.core.precision import Precision
from hawqsearch.core.problem import Config
from hawqsearch.core.target import Scheme
from hawqsearch.export import packing
from hawqsearch.quant.calibrated import CalibratedModel

__all__ = ["write_qdq"]

_OPSET: Final = 21
_VIEWS: Final = frozenset(
    {"Flatten", "Identity", "Pad", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)


def write_qdq(
    float_model: onnx.ModelProto,
    spec: ModelSpec,
    scheme: Scheme,
    placement: Placement,
    config: Config,
    values: CalibratedModel,
    *,
    functions: bool = True,
) -> onnx.ModelProto:
    """`float_model` with the quantizers of `placement` written into it; the input is not changed.

    Args:
        float_model: values named as in `spec`, weighted nodes named `<layer>/<op>`, opset 21.
        config: node name -> precision, every node of the placement named.
        functions: whether what widens narrow weights may be a function of the model, or is written out per layer.
    """
    writer = _Writer(float_model, spec, scheme, placement, config, values)
    for layer in placement.weights:
        writer.quantize_weight(spec.node(layer))
    for tensor in placement.activations:
        writer.quantize_tensor(tensor)
    written = writer.model()
    return written if functions else inline_local_functions(written)


@dataclass(slots=True)
class _Writer:
    """The graph while it is being rewritten."""

    source: onnx.ModelProto
    spec: ModelSpec
    scheme: Scheme
    placement: Placement
    config: Config
    values: CalibratedModel
    nodes: list[onnx.NodeProto] = field(init=False)
    initializers: dict[str, onnx.TensorProto] = field(init=False)
    packed_bits: set[int] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.nodes = []
        for node in self.source.graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            self.nodes.append(copy)
        self.initializers = {i.name: i for i in self.source.graph.initializer}

    def quantize_weight(self, layer: NodeSpec) -> None:
        """Replace the layer's weight and bias by codes and their DequantizeLinear."""
        weight = self.values.weight(layer.name, self.placement.weights[layer.name].bits)
        kernel = self._kernel(layer)
        dequantized = self._write_codes(
            layer, weight.codes.numpy(), weight.scale.numpy(), transposed=kernel.op_type == "MatMul"
        )
        bias = self._write_bias(layer, weight.scale.numpy(), weight.bias.numpy())
        kernel.input[1] = dequantized
        if kernel.op_type == "MatMul":
            self._add_bias(layer, kernel, bias)
        else:
            kernel.input[:] = [*kernel.input[:2], bias]
        if self._would_fuse_as_float(layer, kernel):
            self._lead_activation(layer)

    def quantize_tensor(self, tensor: str) -> None:
        """Put the tensor's Q/DQ pair behind it and lead the readers that see rounded values to it."""
        spec = self.spec.tensor(tensor)
        reads = {
            n: self.placement.reads_quantized(self._precision(n), tensor)
            for n in spec.targets
            if n in self.config
        }
        everyone = tensor in self.placement.requantized
        pair = self._pair(tensor, tensor)
        self._insert_after(tensor, pair.nodes)
        quantized = {tensor: pair.output}
        for node in self._views_of(tensor):
            quantized[node.output[0]] = self._quantized_view(node, quantized[node.input[0]], tensor)
        own = {id(n) for n in pair.nodes}
        for node in list(self.nodes):
            if (
                id(node) in own
                or not (set(node.input) & set(quantized))
                or self._is_quantized_view(node, quantized)
            ):
                continue
            reader = self._reader(node)
            if everyone or (reader is not None and reads.get(reader.name, False)):
                self._lead(node, quantized, reader)
        if everyone:
            self._lead_output(quantized)

    def model(self) -> onnx.ModelProto:
        """The finished, topologically sorted model with nothing unused in it."""
        nodes = _sorted(self.nodes, {i.name for i in self.source.graph.input} | set(self.initializers))
        nodes = _without_dead(nodes, {o.name for o in self.source.graph.output})
        shared = [c for bits in sorted(self.packed_bits) for c in packing.constants(bits)]
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            "hawqsearch",
            list(self.source.graph.input),
            list(self.source.graph.output),
            [t for t in [*self.initializers.values(), *shared] if t.name in used],
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        functions = []
        if self.packed_bits:
            opsets.append(helper.make_opsetid(packing.DOMAIN, 1))
            functions.append(packing.unpack_function(_OPSET))
        return helper.make_model(
            graph, opset_imports=opsets, functions=functions, ir_version=10, producer_name="hawqsearch"
        )

    def _add_bias(self, layer: NodeSpec, product: onnx.NodeProto, bias: str) -> None:
        """The bias behind a MatMul, which takes none itself; onnxruntime fuses both into one integer kernel."""
        last = self._producer(layer.value)
        if last is product:
            product.output[0] = f"{layer.value}_product"
            inputs = [product.output[0], bias]
            self.nodes.append(helper.make_node("Add", inputs, [layer.value], name=f"{layer.name}/Add"))
        else:
            last.input[:] = [product.output[0], bias]

    def _would_fuse_as_float(self, layer: NodeSpec, kernel: onnx.NodeProto) -> bool:
        """Whether the runtime would fuse a Gemm and its activation before it sees that the Gemm is int8."""
        if kernel.op_type != "Gemm" or layer.activation is None:
            return False
        return not self._precision(layer.name).is_float and layer.tensor not in self.placement.activations

    def _lead_activation(self, layer: NodeSpec) -> None:
        activation = self._producer(layer.tensor)
        activation.input[0] = self._guard(layer.value)

    def _write_codes(self, layer: NodeSpec, codes: np.ndarray, scale: np.ndarray, *, transposed: bool) -> str:
        bits = self.placement.weights[layer.name].bits
        name = f"{layer.name}.weight"
        codes, axis = (np.ascontiguousarray(codes.T), 1) if transposed else (codes, 0)
        if bits in packing.PACKED_BITS:
            codes_name = self._write_packed(name, codes, bits)
        else:
            codes_name = self._constant(f"{name}_q", codes.astype(np.int8))
        output = f"{name}_dq"
        inputs = [codes_name, self._constant(f"{name}_scale", scale.astype(np.float32))]
        inputs.append(
            self._constant(f"zeros{len(scale)}", np.zeros(len(scale), np.int8))
        )  # QGemm insists on one
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [output], name=output, axis=axis))
        return output

    def _write_packed(self, name: str, codes: np.ndarray, bits: int) -> str:
        self.packed_bits.add(bits)
        inputs = [self._constant(f"{name}_w{bits}", packing.pack(codes, bits))]
        inputs += [tensor.name for tensor in packing.constants(bits)]
        inputs.append(self._constant(f"{name}_n", np.array([codes.size], np.int64)))
        inputs.append(self._constant(f"{name}_shape", np.array(codes.shape, np.int64)))
        output = f"{name}_q"
        self.nodes.append(helper.make_node("Unpack", inputs, [output], name=output, domain=packing.DOMAIN))
        return output

    def _write_bias(self, layer: NodeSpec, scale: np.ndarray, bias: np.ndarray) -> str:
        name = f"{layer.name}.bias"
        if not self._precision(layer.name).quantizes_input:
            return self._constant(f"{name}_f", bias.astype(np.float32))
        input_scale = np.float32(self.values.activation(layer.inputs[0]).scale)
        bias_scale = scale.astype(np.float32) * input_scale
        codes = np.clip(np.rint(bias.astype(np.float64) / bias_scale), -(2**31), 2**31 - 1).astype(np.int32)
        inputs = [self._constant(f"{name}_q", codes), self._constant(f"{name}_scale", bias_scale)]
        output = f"{name}_dq"
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [output], name=output, axis=0))
        return output

    def _pair(self, tensor: str, value: str) -> _Pair:
        """A quantize / dequantize pair on `value` with the scale and zero point of `tensor`."""
        spec_range = self.values.activation(tensor)
        code_type = np.int8 if self.scheme.signed_activations else np.uint8
        scale = self._constant(f"{tensor}_scale", np.float32(spec_range.scale))
        zero = self._constant(f"{tensor}_zero", np.array(spec_range.zero_point, dtype=code_type))
        codes, output = f"{value}_q", f"{value}_dq"
        return _Pair(
            [
                helper.make_node("QuantizeLinear", [value, scale, zero], [codes], name=codes),
                helper.make_node("DequantizeLinear", [codes, scale, zero], [output], name=output),
            ],
            output,
        )

    def _quantized_view(self, view: onnx.NodeProto, quantized_input: str, tensor: str) -> str:
        """A copy of `view` that reads rounded values, with the same pair behind it so that it runs on codes."""
        copy = onnx.NodeProto()
        copy.CopyFrom(view)
        copy.input[0] = quantized_input
        copy.output[0] = f"{view.output[0]}_view"
        copy.name = copy.output[0]
        pair = self._pair(tensor, copy.output[0])
        self.nodes += [copy, *pair.nodes]
        return pair.output

    def _lead(self, node: onnx.NodeProto, quantized: Mapping[str, str], reader: NodeSpec | None) -> None:
        """Make `node` read rounded values; a float layer or join reads them through the guard."""
        guarded = reader is not None and self._precision(reader.name).is_float
        for index, name in enumerate(node.input):
            if name in quantized:
                node.input[index] = self._guard(quantized[name]) if guarded else quantized[name]

    def _guard(self, value: str) -> str:
        """Casts to double and back: gone from the runtime's final graph, but its int8 rewrite stops at them."""
        wide, back = f"{value}_wide", f"{value}_float"
        if not any(back in n.output for n in self.nodes):
            self.nodes.append(helper.make_node("Cast", [value], [wide], name=wide, to=TensorProto.DOUBLE))
            self.nodes.append(helper.make_node("Cast", [wide], [back], name=back, to=TensorProto.FLOAT))
        return back

    def _lead_output(self, quantized: Mapping[str, str]) -> None:
        """Where the network returns the tensor, return its rounded values under the same name."""
        for output in self.source.graph.output:
            if output.name in quantized:
                raw = f"{output.name}_raw"
                dequantized = quantized[output.name]
                for node in self.nodes:
                    _rename(node.output, output.name, raw)
                    _rename(node.input, output.name, raw)
                    _rename(node.output, dequantized, output.name)
                    _rename(node.input, dequantized, output.name)

    def _views_of(self, tensor: str) -> list[onnx.NodeProto]:
        """View nodes that show `tensor`, directly or through other views, in order."""
        shown, views = {tensor}, []
        for node in self.nodes:
            if node.op_type in _VIEWS and node.input[0] in shown and self._reader(node) is None:
                shown.add(node.output[0])
                views.append(node)
        return views

    def _is_quantized_view(self, node: onnx.NodeProto, quantized: Mapping[str, str]) -> bool:
        """Whether `node` is a view whose rounded copy exists already."""
        return bool(node.output) and node.output[0] in quantized

    def _reader(self, node: onnx.NodeProto) -> NodeSpec | None:
        """The spec's node that this ONNX node computes or is part of, None for views."""
        layer = node.name.rpartition("/")[0]
        return next((n for n in self.spec.nodes if n.value in node.output or n.name == layer), None)

    def _producer(self, value: str) -> onnx.NodeProto:
        return next(n for n in self.nodes if value in n.output)

    def _kernel(self, layer: NodeSpec) -> onnx.NodeProto:
        names = {f"{layer.name}/{op}" for op in ("Conv", "Gemm", "MatMul")}
        return next(n for n in self.nodes if n.name in names)

    def _precision(self, name: str) -> Precision:
        return Precision.parse(self.config.get(name, "fp32"))

    def _constant(self, name: str, array: npt.ArrayLike) -> str:
        self.initializers[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def _insert_after(self, value: str, new: Iterable[onnx.NodeProto]) -> None:
        self.nodes.extend(new)  # order is restored at the end


@dataclass(frozen=True, slots=True)
class _Pair:
    nodes: list[onnx.NodeProto]
    output: str


def _rename(names: object, old: str, new: str) -> None:
    for index, name in enumerate(names):  # type: ignore[arg-type, var-annotated]
        if name == old:
            names[index] = new  # type: ignore[index]


def _sorted(nodes: list[onnx.NodeProto], ready: set[str]) -> list[onnx.NodeProto]:
    """Topological order, stable: a node moves back only as far as its inputs force it."""
    known, order, waiting = set(ready), [], list(nodes)
    shared = {name for node in nodes for name in node.output}
    while waiting:
        rest = []
        for node in waiting:
            if all(name in known or name not in shared for name in node.input):
                order.append(node)
                known.update(node.output)
            else:
                rest.append(node)
        assert len(rest) < len(waiting), "a cycle in the graph"
        waiting = rest
    return order


def _without_dead(nodes: list[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """Nodes that something reads, in the same order."""
    alive = []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            alive.append(node)
    return alive[::-1]
