"""The ONNX file computes what the traced model computes, value by value, under the same names."""

from __future__ import annotations

import functools
import time

import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import ModelProto, numpy_helper

from hawqsearch.graph.onnx_float import float_onnx
from hawqsearch.graph.quiet import quiet
from hawqsearch.graph.run import Sweep
from hawqsearch.graph.trace import TracedModel, trace
from hawqsearch.zoo import resnet20
from tests.graph import networks


@functools.cache
def _exported(name: str) -> ModelProto:
    """The network of that name for two rows."""
    return float_onnx(networks.traced(name), 2)


def _named_values(model: ModelProto, names: list[str], x: torch.Tensor) -> dict[str, torch.Tensor]:
    """`output` and the named inner values, as onnxruntime computes them."""
    open_model = ModelProto()
    open_model.CopyFrom(model)
    shapes = {v.name: v for v in model.graph.value_info}
    open_model.graph.output.extend(shapes[n] for n in names)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        open_model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    answers = session.run(["output", *names], {"input": x.numpy()})
    return {n: torch.from_numpy(a) for n, a in zip(["output", *names], answers, strict=True)}


def _check_values(traced: TracedModel, model: ModelProto, x: torch.Tensor) -> None:
    spec = traced.spec
    names = list(dict.fromkeys([t.name for t in spec.tensors] + [n.value for n in spec.nodes]))
    found = _named_values(model, names, x)
    sweep = Sweep(traced, x)
    for name in sweep:
        if name in names:
            torch.testing.assert_close(found.pop(name), sweep.value(name), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.pop("output"), sweep.output, rtol=1e-4, atol=1e-4)
    assert not found


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_every_named_value_is_there_and_right(name: str) -> None:
    traced = networks.traced(name)
    model = _exported(name)
    _check_values(traced, model, networks.inputs(name, 2))
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (10, [("", 21)])
    assert [i.name for i in model.graph.input] == ["input"]
    assert [o.name for o in model.graph.output] == ["output"]


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_layers_have_their_names_and_their_parameters(name: str) -> None:
    traced = networks.traced(name)
    graph = _exported(name).graph
    nodes = {n.name: n for n in graph.node}
    assert len(nodes) == len(graph.node)
    arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for layer in traced.spec.layers:
        (kernel,) = [
            n for k, n in nodes.items() if k in {f"{layer.name}/{o}" for o in ("Conv", "Gemm", "MatMul")}
        ]
        weight = traced.module.get_parameter(str(layer.weight)).numpy()
        stored = arrays[kernel.input[1]]
        assert kernel.input[1] == layer.weight
        assert (stored == (weight.T if kernel.op_type == "MatMul" else weight)).all()
        assert kernel.op_type == "Conv" or (kernel.op_type == "Gemm") == (len(layer.input_shape) == 2)
        last = nodes.get(f"{layer.name}/Add", kernel)
        assert list(last.output) == [layer.value]
        assert any(v.endswith(".bias") for v in last.input) == layer.has_bias
    assert all(n.name == n.output[0] or "/" in n.name for n in graph.node)


def test_gemm_has_the_weight_as_it_is() -> None:
    (gemm,) = [n for n in _exported("residual").graph.node if n.op_type == "Gemm"]
    assert {a.name: onnx.helper.get_attribute_value(a) for a in gemm.attribute}["transB"] == 1
    assert list(gemm.input)[1:] == ["fc.weight", "fc.bias"]


def test_biases_of_zero_and_equal_biases_stay() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 1), torch.nn.Conv2d(2, 2, 1), torch.nn.Flatten())
    for layer, value in zip(model, (0.0, 0.0), strict=False):
        torch.nn.init.constant_(layer.bias, value)
        torch.nn.init.eye_(layer.weight[:, :, 0, 0].data)
    graph = float_onnx(trace(model, torch.randn(1, 2, 3, 3)), 1).graph
    convs = [n for n in graph.node if n.op_type == "Conv"]
    assert [list(n.input)[1:] for n in convs] == [["0.weight", "0.bias"], ["1.weight", "1.bias"]]


def test_no_trace_of_the_machine_is_left() -> None:
    model = ModelProto()
    model.CopyFrom(_exported("depthwise"))
    del model.graph.initializer[:]
    text = str(model)
    assert "metadata" not in text
    assert ".py" not in text


def test_runtimes_remove_the_identities_at_both_ends(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = _exported("residual")
    path = tmp_path_factory.mktemp("ort") / "optimized.onnx"
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [n.op_type for n in onnx.load(path).graph.node]
    assert kinds.count("FusedConv") + kinds.count("Conv") == 5
    assert "Identity" not in kinds


def test_resnet20_is_exported_in_seconds() -> None:
    traced = trace(resnet20.model(), torch.randn(1, 3, 32, 32))
    start = time.process_time()
    model = float_onnx(traced, 1)
    assert time.process_time() - start < 20
    _check_values(traced, model, torch.randn(1, 3, 32, 32))


# ---------------------------------------------------------------- torch's own exporter


def test_torch_names_values_after_the_graph_but_not_reliably() -> None:
    """Why values are marked: torch's own names agree for most operators, and differ where it rewrites."""
    traced = networks.traced("residual")
    x = torch.zeros(1, 3, 8, 8)
    with quiet():
        program = torch.onnx.export(torch.export.export(traced.module, (x,)), (x,), dynamo=True)
    assert program is not None
    theirs = {v for n in program.model_proto.graph.node for v in n.output}
    ours = {n.value for n in traced.spec.nodes} | {n.tensor for n in traced.spec.nodes}
    assert len(ours - theirs) <= 1
