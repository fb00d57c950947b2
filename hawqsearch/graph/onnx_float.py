"""The float network as ONNX, with the names of the traced graph: what every exporter starts from.

torch's exporter names values after its own last decomposition and its optimizer renames and removes
some. So each value that a `ModelSpec` names is marked before the export by an operator that no
optimizer knows, and renamed where its mark comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import onnx
import torch
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper
from torch.fx import Graph, GraphModule, Node

from hawqsearch.core.model import INPUT, OUTPUT, ModelSpec, NodeSpec
from hawqsearch.errors import UnsupportedModelError
from hawqsearch.graph.operators import arguments
from hawqsearch.graph.quiet import quiet
from hawqsearch.graph.trace import TracedModel

__all__ = ["IR_VERSION", "OPSET", "float_onnx"]

OPSET: Final = 21
"""The first with 4-bit weights."""

IR_VERSION: Final = 10
"""The one of opset 21: runtimes refuse files that are newer than they are."""

_DOMAIN: Final = "hawqsearch"
_MARK: Final = "Mark"


def float_onnx(traced: TracedModel, batch: int) -> ModelProto:
    """The network in float for `batch` rows, checked: opset 21, IR 10, no metadata.

    The graph reads `input` and returns `output`. Every `value` and `tensor` of the spec is a value's
    name; `input` and `output` reach those by an Identity, which runtimes remove at load. Nodes of a
    weighted layer are `<layer>/Conv`, `<layer>/Gemm` (transB=1), or, where a linear layer's input has
    more than two dimensions, `<layer>/MatMul` and `<layer>/Add`, the weight then (in, out). Other
    nodes are named after the value they produce. Parameters keep their names, `<layer>.weight` and
    `<layer>.bias`.

    Raises:
        UnsupportedModelError: where an operator has no ONNX form.
    """
    model = _exported(traced, batch)
    graph = model.graph
    _apply_marks(graph)
    for node in traced.spec.layers:
        _name_layer(graph, node, traced)
    _name_nodes(graph)
    _drop_metadata(model)
    _drop_unused(model)
    _check_names(graph, traced.spec)
    model.ir_version = IR_VERSION
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


# ---------------------------------------------------------------- marks


def _mark(value: torch.Tensor, name: str) -> torch.Tensor:
    marked: torch.Tensor = torch.onnx.ops.symbolic(
        f"{_DOMAIN}::{_MARK}", [value], {"name": name}, dtype=value.dtype, shape=value.shape, version=1
    )
    return marked


def _marked(traced: TracedModel) -> GraphModule:
    """A copy whose named values pass through a mark; parameters are shared."""
    names = {n.value for n in traced.spec.nodes} | {t.name for t in traced.spec.tensors}
    graph = Graph()
    made: dict[Node, Node] = {}
    for node in traced.module.graph.nodes:
        made[node] = graph.node_copy(node, made.__getitem__)
        if node.name in names:
            made[node] = graph.call_function(_mark, (made[node], node.name))
    return GraphModule(traced.module, graph)


def _exported(traced: TracedModel, batch: int) -> ModelProto:
    example = torch.zeros(batch, *traced.spec.input_shape[1:], dtype=traced.input_dtype)
    with quiet(), torch.no_grad():
        try:
            program = torch.export.export(_marked(traced), (example,))
            exported = torch.onnx.export(
                program,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
            )
        except torch.onnx.OnnxExporterError as error:
            raise UnsupportedModelError(f"the model has no ONNX form: {_cause(error)}") from error
    assert exported is not None
    return exported.model_proto


def _cause(error: BaseException) -> str:
    """First line of what lies at the bottom of torch's chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).splitlines()), type(error).__name__)


def _apply_marks(graph: GraphProto) -> None:
    """Give each marked value its mark's name; where that cannot be (the graph's ends), by an Identity."""
    _split_outputs(graph)
    fixed = {v.name for v in (*graph.input, *graph.output)} | {i.name for i in graph.initializer}
    marks = [n for n in graph.node if n.domain == _DOMAIN]
    names = {n.output[0]: helper.get_node_attr_value(n, "name").decode() for n in marks}
    renamed = dict(names)
    for mark in marks:
        source = mark.input[0]
        if source in fixed or source in renamed:
            mark.CopyFrom(helper.make_node("Identity", list(mark.input), list(mark.output)))
        else:
            renamed[source] = names[mark.output[0]]
    values = {v for n in graph.node for v in n.output} - fixed - renamed.keys()
    renamed |= {v: f"{v}_inner" for v in values & set(names.values())}
    kept = [n for n in graph.node if n.domain != _DOMAIN]
    del graph.node[:]
    graph.node.extend(kept)
    _rename(graph, renamed)
    del graph.value_info[:]


def _split_outputs(graph: GraphProto) -> None:
    """An Identity behind each mark that makes a graph output, so that both names can be."""
    outputs = {o.name for o in graph.output}
    for node in [n for n in graph.node if n.domain == _DOMAIN and n.output[0] in outputs]:
        name = node.output[0]
        _rename(graph, {name: f"{name}_marked"})
        graph.node.append(helper.make_node("Identity", [f"{name}_marked"], [name]))


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(v, v) for v in node.input]
        node.output[:] = [names.get(v, v) for v in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)


# ---------------------------------------------------------------- layers


def _name_layer(graph: GraphProto, layer: NodeSpec, traced: TracedModel) -> None:
    """Name a layer's nodes and give it its own parameters: torch merges equal ones and drops zeros."""
    producer = {v: n for n in graph.node for v in n.output}
    last = producer[layer.value]
    weight, bias = _parameters(traced, layer.value)
    parts = [producer[v] for v in last.input if v in producer] if last.op_type == "Add" else [last]
    (kernel,) = [n for n in parts if n.op_type in ("Conv", "Gemm", "MatMul")]
    for node in {kernel.op_type: kernel, last.op_type: last}.values():
        node.name = f"{layer.name}/{node.op_type}"
    values = _array(traced, weight)
    kernel.input[1] = _put(graph, weight, values.T if kernel.op_type == "MatMul" else values)
    if bias is not None and kernel is not last:
        last.input[:] = [kernel.output[0], _put(graph, bias, _array(traced, bias))]
    elif bias is not None:
        kernel.input[:] = [*kernel.input[:2], _put(graph, bias, _array(traced, bias))]


def _parameters(traced: TracedModel, value: str) -> tuple[str, str | None]:
    """Paths of the weight and the bias of the layer that produces `value`."""
    (node,) = [n for n in traced.module.graph.nodes if n.name == value]
    given = arguments(node)
    return str(given["weight"].target), None if given["bias"] is None else str(given["bias"].target)


def _array(traced: TracedModel, path: str) -> np.ndarray:
    array: np.ndarray = traced.module.get_parameter(path).numpy()
    return array


def _put(graph: GraphProto, name: str, values: np.ndarray) -> str:
    """Name of an initializer with these values; one that has another shape keeps `name` for itself."""
    there = {i.name: i for i in graph.initializer}
    if name in there and tuple(there[name].dims) != values.shape:
        name += "_transposed"
    if name not in there:
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name


# ---------------------------------------------------------------- the rest


def _name_nodes(graph: GraphProto) -> None:
    for node in graph.node:
        if "/" not in node.name:
            node.name = node.output[0]


def _drop_unused(model: ModelProto) -> None:
    used = {v for n in _nodes(model.graph) for v in n.input}
    kept = [i for i in model.graph.initializer if i.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    kept_domains = [d for d in model.opset_import if d.domain != _DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept_domains)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _drop_metadata(model: ModelProto) -> None:
    """Traces of the machine that built the file: paths of sources, mostly."""
    graph = model.graph
    for thing in (model, graph, *_nodes(graph), *graph.initializer, *graph.input, *graph.output):
        del thing.metadata_props[:]
        thing.doc_string = ""


def _check_names(graph: GraphProto, spec: ModelSpec) -> None:
    there = {v for n in graph.node for v in n.output}
    missing = [n for node in spec.nodes for n in (node.value, node.tensor) if n not in there]
    if missing:
        raise RuntimeError(f"the exported graph lacks {missing}")
