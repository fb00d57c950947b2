"""The product as a value and as a file: nothing is lost, nothing foreign is accepted."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hawqsearch.core.bitconfig import BitConfig, Metric, Origin, ScalesFile, bit_config
from hawqsearch.core.bitconfig_file import dump_bitconfig, read_bitconfig, scales_beside
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.placement import place
from hawqsearch.core.precision import Precision
from hawqsearch.core.target import Target
from hawqsearch.errors import FileFormatError, InputError, UnknownNameError
from hawqsearch.graph.trace import trace
from hawqsearch.hardware.targets import find_target
from hawqsearch.testing import tiny

TARGETS = ("generic", "x86-vnni")


@functools.cache
def spec() -> ModelSpec:
    return trace(tiny.model(), torch.from_numpy(tiny.data().calibration.inputs[:2])).spec


@st.composite
def configurations(draw: st.DrawFn) -> tuple[Target, FrozenDict[str, str]]:
    target = find_target(draw(st.sampled_from(TARGETS)))
    config = {
        node.name: draw(st.sampled_from(["fp32", *map(str, target.precisions(node.op))]))
        for node in spec().nodes
    }
    return target, FrozenDict(config)


def made(target: Target, config: FrozenDict[str, str], *, budget: str | None = "5ms") -> BitConfig:
    zero_points = {t.name: 0 if t.floor_at_zero else 128 for t in spec().tensors}
    metric = Metric(name="top-1", split="test", fp32=0.9, value=0.8, stderr=0.01, n=40, runtime="simulation")
    origin = Origin(target=target.name, budget=budget, costs="predicted", metric=metric, tool="hawqsearch 0")
    return bit_config(
        spec(), target, config, zero_points, origin=origin, ties=(("first", "second"),), scales=None
    )


@functools.cache
def example() -> BitConfig:
    target = find_target("x86-vnni")
    config = {n.name: "w4a8" if n.name == "first" else "w8a8" for n in spec().nodes}
    return made(target, FrozenDict(config | {"head": "fp32"}))


@given(configurations())
def test_reading_is_the_inverse_of_writing(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[Target, FrozenDict[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "config.json"
    config = made(*drawn)
    path.write_text(dump_bitconfig(config))
    assert read_bitconfig(path) == config
    assert read_bitconfig(path).config(spec()) == drawn[1]


@given(configurations())
def test_the_formats_are_those_of_the_placement(drawn: tuple[Target, FrozenDict[str, str]]) -> None:
    target, config = drawn
    placement, found = place(spec(), target, config), made(target, config)
    named = {f.tensor for layer in found.layers.values() for f in (layer.input, layer.output) if f}
    named |= {tensor for join in found.joins.values() for tensor in join.quantized}
    assert named == set(placement.activations)
    for name, layer in found.layers.items():
        precision = Precision.parse(config[name])
        assert layer.weight.bits == precision.weight.bits
        assert (layer.weight.scale_dtype is None) == precision.is_float
        reads = placement.reads_quantized(precision, spec().node(name).inputs[0])
        assert (layer.input is not None) == reads
        assert (layer.output is not None) == (spec().node(name).tensor in placement.requantized)


def test_every_layer_and_join_is_there() -> None:
    found = example()
    assert list(found.layers) == [n.name for n in spec().layers]
    assert list(found.joins) == [n.name for n in spec().joins]
    first, head = found.layers["first"], found.layers["head"]
    assert (first.param, first.shape, first.tie) == ("first.weight", (8, 8, 3, 3), "first")
    assert (first.weight.dtype, first.weight.container) == ("int4", "packed_int4")
    assert first.input is not None
    assert (first.input.dtype, first.input.mode, first.input.floor_at_zero) == ("uint8", "static", True)
    assert first.aliases == {"onnx_node": "first/Conv"}
    assert (head.weight.dtype, head.weight.symmetric, head.tie) == ("float32", None, None)


def edited(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The example's file after `change` of its content."""
    document = json.loads(dump_bitconfig(example()))
    change(document)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    return path


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "schema": (lambda d: d.update(schema="other"), "not a bitconfig file"),
    "version": (lambda d: d.update(schema_version=2), "upgrade hawqsearch"),
    "missing": (lambda d: d.pop("model"), "model: Field required"),
    "unknown key": (lambda d: d["layers"][0].update(precison="w8a8"), "did you mean precision"),
    "type": (lambda d: d["layers"][0]["weight"].update(bits="8"), "bits"),
    "precision": (lambda d: d["layers"][0].update(precision="w9a8"), "did you mean w"),
    "contradiction": (lambda d: d["layers"][1].update(precision="w8a8"), "make them agree"),
    "twice": (lambda d: d["layers"].append(d["layers"][0]), "'stem' is there twice"),
    "mode": (lambda d: d["layers"][0]["input"].update(mode="stattic"), "mode"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    change, says = BROKEN[name]
    path = edited(tmp_path, change)
    with pytest.raises(FileFormatError) as caught:
        read_bitconfig(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert says in message
    assert "\n" not in message


def test_a_configuration_of_the_same_model() -> None:
    example().check_against(spec())
    example().check_kernels(find_target("x86-vnni"))


def test_a_configuration_of_another_model() -> None:
    with pytest.raises(InputError, match=r"another model or other weights.*--space and --weights"):
        replace(example(), model="0" * 64).check_against(spec())


def test_an_unknown_layer(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda d: d["layers"][1].update(name="frist"))
    with pytest.raises(UnknownNameError, match="did you mean first"):
        read_bitconfig(path).check_against(spec())


def test_a_layer_that_is_missing(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda d: d["layers"].pop(1))
    with pytest.raises(InputError, match="says nothing of 'first'"):
        read_bitconfig(path).check_against(spec())


def test_a_target_without_the_kernel() -> None:
    with pytest.raises(InputError, match="x86-vnni has no w4a16 kernel for first"):
        made(find_target("generic"), FrozenDict({"first": "w4a16"})).check_kernels(find_target("x86-vnni"))


def test_scales_are_those_that_were_written_with_it(tmp_path: Path) -> None:
    content = b"scales"
    named = replace(example(), scales=ScalesFile("s.safetensors", hashlib.sha256(content).hexdigest()))
    path = tmp_path / "config.json"
    path.write_text(dump_bitconfig(named))
    with pytest.raises(FileFormatError, match="put it beside"):
        scales_beside(path, read_bitconfig(path))
    (tmp_path / "s.safetensors").write_bytes(content)
    assert scales_beside(path, read_bitconfig(path)) == content
    (tmp_path / "s.safetensors").write_bytes(content + b"!")
    with pytest.raises(FileFormatError, match="is not the file written with"):
        scales_beside(path, named)
    with pytest.raises(FileFormatError, match="names no scales file"):
        scales_beside(path, example())
