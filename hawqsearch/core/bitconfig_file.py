"""`hawqsearch.bitconfig` files: a `BitConfig` as JSON, version 1."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from hawqsearch.core.bitconfig import (
    ActivationFormat,
    BitConfig,
    BitJoin,
    BitLayer,
    Metric,
    Origin,
    ScalesFile,
    WeightFormat,
)
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.json_document import Part, named, read_document
from hawqsearch.core.precision import Precision
from hawqsearch.errors import FileFormatError

__all__ = ["SCHEMA", "SCHEMA_VERSION", "dump_bitconfig", "read_bitconfig", "scales_beside"]

SCHEMA: Final = "hawqsearch.bitconfig"
SCHEMA_VERSION: Final = 1


class _Weight(Part):
    dtype: str
    bits: int
    symmetric: bool | None
    narrow_range: bool | None
    granularity: str | None
    axis: int | None
    group_size: int | None
    container: str
    scale_dtype: str | None


class _Activation(Part):
    tensor: str
    dtype: str
    bits: int
    symmetric: bool
    mode: Literal["static", "dynamic"]
    floor_at_zero: bool


class _Layer(Part):
    name: str
    op: str
    param: str
    shape: list[int]
    tie: str | None
    precision: str
    weight: _Weight
    input: _Activation | None
    output: _Activation | None
    aliases: dict[str, str]


class _Join(Part):
    op: str
    precision: str
    inputs: list[str]
    output: str
    quantized: dict[str, _Activation]


class _Metric(Part):
    name: str
    split: str
    fp32: float
    value: float
    stderr: float
    n: int
    runtime: str


class _Origin(Part):
    target: str
    budget: str | None
    costs: str
    metric: _Metric | None
    tool: str


class _Scales(Part):
    file: str
    sha256: str


class _File(Part):
    schema_name: Literal["hawqsearch.bitconfig"] = Field(alias="schema")
    schema_version: Literal[1]
    model: str
    origin: _Origin
    layers: list[_Layer]
    joins: dict[str, _Join]
    scales: _Scales | None


def dump_bitconfig(config: BitConfig) -> str:
    """`config` as the text of its file; `read_bitconfig` gives an equal one back."""
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "model": config.model,
        "origin": asdict(config.origin),
        "scales": None if config.scales is None else asdict(config.scales),
        "layers": [_layer_document(layer) for layer in config.layers.values()],
        "joins": {name: _join_document(join) for name, join in config.joins.items()},
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def read_bitconfig(path: str | os.PathLike[str]) -> BitConfig:
    """The configuration that the file at `path` holds; `check_against` tells whether it is of your model.

    Raises:
        InputError: there is no such file, or it cannot be read.
        FileFormatError: it is not a configuration of this version; one line that says where and why.
    """
    with named(path):
        file = read_document(path, _File, SCHEMA, SCHEMA_VERSION, _KEYS)
        return BitConfig(
            model=file.model,
            origin=_origin(file.origin),
            layers=_layers(file.layers),
            joins=FrozenDict({name: _join(name, join) for name, join in file.joins.items()}),
            scales=None if file.scales is None else ScalesFile(**file.scales.model_dump()),
        )


def scales_beside(path: str | os.PathLike[str], config: BitConfig) -> bytes:
    """Content of the scales file that `config`, read from `path`, names.

    Raises:
        FileFormatError: it is not there, or is not the one that was written with it.
    """
    if config.scales is None:
        raise FileFormatError(f"{path} names no scales file; search again to have one")
    beside = Path(path).with_name(Path(config.scales.file).name)
    try:
        content = beside.read_bytes()
    except OSError as error:
        raise FileFormatError(
            f"cannot read {beside}: {error.strerror}; put it beside {path} or search again"
        ) from error
    if hashlib.sha256(content).hexdigest() != config.scales.sha256:
        raise FileFormatError(
            f"{beside} is not the file written with {path}; put that one back or search again"
        )
    return content


def _layer_document(layer: BitLayer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "op": layer.op,
        "param": layer.param,
        "shape": list(layer.shape),
        "tie": layer.tie,
        "precision": layer.precision,
        "weight": asdict(layer.weight),
        "input": None if layer.input is None else asdict(layer.input),
        "output": None if layer.output is None else asdict(layer.output),
        "aliases": dict(layer.aliases),
    }


def _join_document(join: BitJoin) -> dict[str, Any]:
    return {
        "op": join.op,
        "precision": join.precision,
        "inputs": list(join.inputs),
        "output": join.output,
        "quantized": {tensor: asdict(found) for tensor, found in join.quantized.items()},
    }


def _origin(origin: _Origin) -> Origin:
    metric = None if origin.metric is None else Metric(**origin.metric.model_dump())
    return Origin(**{**origin.model_dump(), "metric": metric})


def _layers(layers: list[_Layer]) -> FrozenDict[str, BitLayer]:
    found = FrozenDict({layer.name: _layer(layer) for layer in layers})
    if len(found) < len(layers):
        names = [layer.name for layer in layers]
        twice = next(name for name in names if names.count(name) > 1)
        raise FileFormatError(f"layer {twice!r} is there twice; remove one")
    return found


def _layer(layer: _Layer) -> BitLayer:
    precision = Precision.parse(layer.precision)
    stated = layer.weight.dtype, layer.weight.bits
    if stated != ("float32" if precision.is_float else precision.weight.name, precision.weight.bits):
        raise FileFormatError(
            f"layer {layer.name!r} is {precision} but its weight {stated[0]} of {stated[1]} bits; make them agree"
        )
    return BitLayer(
        name=layer.name,
        op=layer.op,
        param=layer.param,
        shape=tuple(layer.shape),
        tie=layer.tie,
        precision=layer.precision,
        weight=WeightFormat(**layer.weight.model_dump()),
        input=_activation(layer.input),
        output=_activation(layer.output),
        aliases=FrozenDict(layer.aliases),
    )


def _join(name: str, join: _Join) -> BitJoin:
    Precision.parse(join.precision)
    return BitJoin(
        name=name,
        op=join.op,
        precision=join.precision,
        inputs=tuple(join.inputs),
        output=join.output,
        quantized=FrozenDict({t: ActivationFormat(**a.model_dump()) for t, a in join.quantized.items()}),
    )


def _activation(found: _Activation | None) -> ActivationFormat | None:
    return None if found is None else ActivationFormat(**found.model_dump())


_KEYS: Final = sorted(
    {
        field.alias or name
        for part in (_File, _Layer, _Join, _Weight, _Activation, _Origin, _Metric, _Scales)
        for name, field in part.model_fields.items()
    }
)
