"""The file that is written: its quantizers, the kernels that really run, and the numbers that come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import ModelProto, NodeProto, numpy_helper

from hawqsearch.core.design import all_float, all_int8
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import OUTPUT
from hawqsearch.core.placement import place
from hawqsearch.core.precision import Precision
from hawqsearch.core.sensitivity import QuantizerChoice
from hawqsearch.export import onnx_qdq, packing
from hawqsearch.quant.simulate import Simulation, simulate
from hawqsearch.runtime.interface import Arithmetic
from hawqsearch.runtime.onnxruntime_cpu import OnnxRuntime
from tests.export import networks

SEEDS = range(8)
CASES = [pytest.param(name, seed, id=f"{name}-{seed}") for name in networks.NETWORKS for seed in SEEDS]
ROWS = 8 * networks.BATCH


def simulation(name: str, config: FrozenDict[str, str]) -> Simulation:
    spec = networks.traced(name).spec
    return simulate(networks.calibrated(name), place(spec, networks.target(), config), config)


def answers(model: ModelProto, x: torch.Tensor) -> np.ndarray:
    """What the runtime answers, batch after batch."""
    with OnnxRuntime().open(model.SerializeToString()) as session:
        return np.concatenate([session.run({"input": part.numpy()})[0] for part in x.split(networks.BATCH)])


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_the_file_is_valid_and_computes_the_simulation(name: str, seed: int) -> None:
    """No output is further off than one code of its tensor, and at most 2 % are off by more than 0.01 of one.

    Where a sum lies on a rounding boundary, the kernel's exact integers and float32 may round apart; that moves
    a code by one, and everything behind it by less.
    """
    config = networks.random_config(name, seed)
    model = networks.exported(name, config)
    onnx.checker.check_model(model, full_check=True)
    x = networks.inputs(name, ROWS)
    off = np.abs(answers(model, x) - simulation(name, config)(x).numpy()) / _output_scale(name)
    assert off.max() <= 1.01
    assert (off > 0.01).mean() <= 0.02


def _output_scale(name: str) -> float:
    spec = networks.traced(name).spec
    (output,) = [t.name for t in spec.tensors if OUTPUT in t.targets]
    return networks.calibrated(name).activation(output).scale


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_that_comparison_sees_one_quantizer_too_many(name: str) -> None:
    """The tensor with the smallest effect, rounded where it should not be, moves more than 2 % of the outputs."""
    x = networks.inputs(name, ROWS)
    spec = networks.traced(name).spec
    exact = simulation(name, all_float(spec))(x)
    for layer in spec.layers:
        other = simulation(name, FrozenDict({layer.name: "w8a8"}))(x)
        assert float(((other - exact).abs() / _output_scale(name) > 0.01).double().mean()) > 0.02


# ---------------------------------------------------------------- the set of quantizers


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_the_file_holds_the_quantizers_of_the_simulation_and_no_other(name: str, seed: int) -> None:
    config = networks.random_config(name, seed)
    written = quantizers(networks.exported(name, config), name)
    run = simulation(name, config)
    run(networks.inputs(name))
    placement = place(networks.traced(name).spec, networks.target(), config)
    placed = {QuantizerChoice("weight", n, str(f)) for n, f in placement.weights.items()}
    placed |= {QuantizerChoice("activation", n, str(f)) for n, f in placement.activations.items()}
    assert written == run.applied == placed


def quantizers(model: ModelProto, name: str) -> set[QuantizerChoice]:
    """The quantizers in the file, found from its nodes and the types and shapes of what they read."""
    producer = {value: node for node in model.graph.node for value in node.output}
    arrays = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    found = set()
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in producer:
            layer = node.name.rpartition("/")[0]
            found.add(
                QuantizerChoice("weight", layer, f"int{_bits(producer[node.input[1]], producer, arrays)}")
            )
        if node.op_type == "QuantizeLinear":
            found.add(QuantizerChoice("activation", _tensor(node, producer, arrays, name), "int8"))
    return found


def _bits(dequantize: NodeProto, producer: Mapping[str, NodeProto], arrays: Mapping[str, np.ndarray]) -> int:
    assert dequantize.op_type == "DequantizeLinear"
    source = dequantize.input[0]
    if source in arrays:
        assert arrays[source].dtype == np.int8
        return 8
    unpack = producer[source]
    assert unpack.op_type == "Unpack"
    packed = arrays[unpack.input[0]]
    assert packed.dtype == np.uint8
    return int(packed.shape[0])


def _tensor(
    quantize: NodeProto, producer: Mapping[str, NodeProto], arrays: Mapping[str, np.ndarray], name: str
) -> str:
    """The spec's tensor that is quantized; behind a view, the pair must carry that tensor's own numbers."""
    value = quantize.input[0]
    names = {t.name for t in networks.traced(name).spec.tensors}
    while value not in names:
        value = producer[value].input[0]
    quantizer = networks.calibrated(name).activation(value)
    scale, zero = (arrays[i] for i in quantize.input[1:])
    assert (scale, zero) == (np.float32(quantizer.scale), quantizer.zero_point)
    assert zero.dtype == np.uint8
    return value


def test_weights_in_the_file_are_those_of_the_simulation() -> None:
    """Codes read back from the file, widths 2 to 8, by the layer and in the layout of its operator."""
    for name in ("residual", "tokens"):
        spec = networks.traced(name).spec
        for bits in (2, 3, 4, 5, 6, 8):
            config = FrozenDict({n.name: f"w{bits}a8" for n in spec.layers})
            model = networks.exported(name, config)
            arrays = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
            for layer in spec.layers:
                expected = networks.calibrated(name).weight(layer.name, bits).codes.numpy()
                transposed = any(n.name == f"{layer.name}/MatMul" for n in model.graph.node)
                stored = arrays[f"{layer.name}.weight_q" if bits == 8 else f"{layer.name}.weight_w{bits}"]
                shape = expected.T.shape if transposed else expected.shape
                codes = stored if bits == 8 else packing.unpack(stored, bits, shape)
                assert (codes == (expected.T if transposed else expected)).all()
                (dequantize,) = [n for n in model.graph.node if n.name == f"{layer.name}.weight_dq"]
                assert onnx.helper.get_node_attr_value(dequantize, "axis") == (1 if transposed else 0)
                scale = networks.calibrated(name).weight(layer.name, bits).scale.numpy()
                assert (arrays[dequantize.input[1]] == scale).all()
                assert not arrays[dequantize.input[2]].any()


def test_the_float_model_is_not_changed() -> None:
    before = networks.float_model("shortcut").SerializeToString()
    for seed in SEEDS:
        networks.exported("shortcut", networks.random_config("shortcut", seed))
    assert networks.float_model("shortcut").SerializeToString() == before


# ---------------------------------------------------------------- the kernels that ran


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_exactly_the_layers_of_the_configuration_run_int8(name: str, seed: int) -> None:
    _check_kernels(name, networks.random_config(name, seed))


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_a_float_layer_between_int8_neighbours_stays_float(name: str) -> None:
    """And an int8 layer between float ones runs int8."""
    spec = networks.traced(name).spec
    int8, floats = dict(all_int8(spec, networks.target())), dict(all_float(spec))
    groups = {layer.name: (layer.name,) for layer in spec.layers} | {n: g for g in spec.ties for n in g}
    for group in groups.values():
        _check_kernels(name, FrozenDict(int8 | dict.fromkeys(group, "fp32")))
        _check_kernels(name, FrozenDict(floats | dict.fromkeys(group, "w4a8")))


def test_without_the_guard_float_layers_would_run_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = networks.traced("residual").spec
    config = FrozenDict(dict(all_int8(spec, networks.target())) | {"first": "fp32"})
    monkeypatch.setattr(onnx_qdq._Writer, "_guard", lambda writer, value: value)
    with pytest.raises(AssertionError, match="first"):
        _check_kernels("residual", config)


def test_without_the_guard_an_int8_layer_would_fuse_with_its_activation_and_run_float(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = FrozenDict({"first": "w8a8", "second": "fp32", "third": "fp32"})
    monkeypatch.setattr(onnx_qdq._Writer, "_guard", lambda writer, value: value)
    with pytest.raises(AssertionError, match="first"):
        _check_kernels("mlp", config)


def _check_kernels(name: str, config: FrozenDict[str, str]) -> None:
    """By name where names survive, by count at the level that is deployed; no Cast and no weight left over."""
    model = networks.exported(name, config).SerializeToString()
    feed = {"input": networks.inputs(name).numpy()}
    runtime = OnnxRuntime()
    ran = runtime.kernels_ran(model, feed)
    integer = {
        n.name: not Precision.parse(config[n.name]).is_float for n in networks.traced(name).spec.layers
    }
    assert {layer: runtime.arithmetic(_kernel(ran, layer)) is Arithmetic.INT8 for layer in integer} == integer
    assert "Cast" not in ran.values()
    assert not [n for n, op in ran.items() if op == "DequantizeLinear" and ".weight" in n]
    with runtime.open(model, profiled=True) as session:
        session.run(feed)
        counts = Counter(runtime.arithmetic(run.op) for run in session.kernels())
    assert counts[Arithmetic.INT8] == sum(integer.values())
    assert counts[Arithmetic.FLOAT] == len(integer) - sum(integer.values())


def _kernel(ran: Mapping[str, str], layer: str) -> str:
    """The operator that ran for a layer; raises where there is not exactly one."""
    names = {f"{layer}/{op}" for op in ("Conv", "Gemm", "MatMul")}
    names.add(f"{layer}/MatMul/MatMulAddFusion")
    (operator,) = [op for name, op in ran.items() if name in names]
    return operator


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_no_cast_is_left_in_the_optimized_graph(name: str, tmp_path: Path) -> None:
    """The guards are in the file and cost nothing at run time."""
    spec = networks.traced(name).spec
    int8 = [spec.layers[0].name, *(join.name for join in spec.joins)]
    config = dict(all_float(spec)) | dict.fromkeys(int8, "w8a8")
    model = networks.exported(name, FrozenDict(config))
    assert any(n.op_type == "Cast" for n in model.graph.node)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kept = onnx.load(tmp_path / "optimized.onnx")
    assert [n.name for n in kept.graph.node if n.op_type == "Cast"] == []
