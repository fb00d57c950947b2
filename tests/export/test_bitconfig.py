"""What the configuration and its scales say is what the ONNX file holds."""

from __future__ import annotations

import functools
import json

import pytest
import torch
from onnx import ModelProto, numpy_helper
from safetensors.numpy import load

from hawqsearch.core.bitconfig import Origin
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.placement import place
from hawqsearch.export.bitconfig import bitconfig_files
from hawqsearch.export.onnx_qdq import write_qdq
from hawqsearch.graph.onnx_float import float_onnx
from hawqsearch.graph.trace import TracedModel, trace
from hawqsearch.hardware.targets import find_target
from hawqsearch.quant.calibrated import CalibratedModel, calibrate
from hawqsearch.testing import tiny

TARGET = find_target("x86-vnni")
ORIGIN = Origin(target="x86-vnni", budget=None, costs="predicted", metric=None, tool="hawqsearch 0")
CONFIGS: dict[str, dict[str, str]] = {
    "all int8": {},
    "mixed": {"first": "w4a8", "head": "fp32"},
    "float join": {"second": "fp32", "add": "fp32"},
    "all float": dict.fromkeys(("stem", "first", "second", "add", "avg_pool2d", "head"), "fp32"),
}


@functools.cache
def traced() -> TracedModel:
    return trace(tiny.model(), torch.from_numpy(tiny.data().calibration.inputs[:2]))


@functools.cache
def calibrated() -> CalibratedModel:
    images = torch.from_numpy(tiny.data().calibration.inputs)
    return calibrate(traced(), images, TARGET.scheme, seed=0)


@functools.cache
def float_model() -> ModelProto:
    return float_onnx(traced(), 1)


def config(name: str) -> FrozenDict[str, str]:
    base = {n.name: "w8a8" if TARGET.kernel(n.op, "w8a8") else "fp32" for n in traced().spec.nodes}
    assert set(CONFIGS[name]) <= set(base)
    return FrozenDict(base | CONFIGS[name])


@pytest.mark.parametrize("name", CONFIGS)
def test_scales_are_those_of_the_onnx_file(name: str) -> None:
    spec, chosen = traced().spec, config(name)
    _, content = bitconfig_files(spec, TARGET, chosen, calibrated(), origin=ORIGIN)
    placement = place(spec, TARGET, chosen)
    onnx = write_qdq(float_model(), spec, TARGET.scheme, placement, chosen, calibrated())
    held = {i.name: numpy_helper.to_array(i) for i in onnx.graph.initializer}
    scales = load(content)
    tensors = {key.split("/")[1] for key in scales if key.startswith("activations/")}
    assert tensors == {n.removesuffix("_zero") for n in held if n.endswith("_zero")}
    for tensor in tensors:
        assert scales[f"activations/{tensor}/scale"] == held[f"{tensor}_scale"]
        assert scales[f"activations/{tensor}/zero_point"] == held[f"{tensor}_zero"]
    layers = {key.split("/")[1] for key in scales if key.startswith("weights/")}
    assert layers == set(placement.weights)
    for layer in layers:
        assert scales[f"weights/{layer}/scale"].tolist() == held[f"{layer}.weight_scale"].tolist()


def test_the_files_are_the_same_each_time() -> None:
    one, other = (
        bitconfig_files(traced().spec, TARGET, config("mixed"), calibrated(), origin=ORIGIN) for _ in range(2)
    )
    assert one == other


def test_aliases_are_nodes_of_the_onnx_file() -> None:
    text, _ = bitconfig_files(traced().spec, TARGET, config("mixed"), calibrated(), origin=ORIGIN)
    names = {node.name for node in float_model().graph.node}
    aliases = {layer["aliases"]["onnx_node"] for layer in json.loads(text)["layers"]}
    assert len(aliases) == len(traced().spec.layers)
    assert aliases <= names
