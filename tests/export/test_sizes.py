"""Sizes that the allocation adds up, against files that are written."""

from __future__ import annotations

import functools

import pytest

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change
from hawqsearch.core.latency import changes_of
from hawqsearch.core.placement import place
from hawqsearch.core.precision import Precision
from hawqsearch.core.size import SizeModel
from hawqsearch.export import packing
from hawqsearch.export.sizes import file_sizes
from tests.export import networks


@functools.cache
def sizes(name: str, *, functions: bool = True) -> SizeModel:
    return file_sizes(
        networks.float_model(name),
        networks.traced(name).spec,
        networks.target().scheme,
        networks.allowed(name).precisions,
        networks.calibrated(name),
        functions=functions,
    )


def total(name: str, config: FrozenDict[str, str], *, functions: bool = True) -> float:
    """Base, layers, quantizers that are placed, and guards where float reads what a kernel rounded."""
    model, spec = sizes(name, functions=functions), networks.traced(name).spec
    placement = place(spec, networks.target(), config)
    guarded = [
        t.name for t in spec.tensors if Change.TO_FLOAT in changes_of(spec, networks.target(), config, t)
    ]
    return (
        model.base
        + sum(model.layers[n.name, config[n.name]] for n in spec.layers)
        + sum(model.quantizers[t] for t in placement.activations)
        + sum(model.guards[t] for t in guarded)
    )


def unused(config: FrozenDict[str, str], *, functions: bool) -> int:
    """What `base` holds for narrow weights and a file without weights of that width does not."""
    widths = {Precision.parse(p).weight.bits for p in config.values()}
    kept = [t for bits in packing.PACKED_BITS if bits not in widths for t in packing.constants(bits)]
    size = sum(len(t.SerializeToString()) + 4 for t in kept)
    needed = not functions or not widths.isdisjoint(packing.PACKED_BITS)
    return size + (0 if needed else len(packing.unpack_function(21).SerializeToString()))


@pytest.mark.parametrize("functions", [True, False], ids=["one function", "written out"])
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_the_sum_is_never_below_the_file_and_little_above_it(name: str, functions: bool) -> None:
    """Within 2 % and 100 bytes a node: these files have a few kB only, and views copied for int8 readers are
    counted where float readers drop them."""
    for seed in range(25):
        config = networks.random_config(name, seed)
        actual = len(networks.exported(name, config, functions=functions).SerializeToString())
        slack = total(name, config, functions=functions) - unused(config, functions=functions) - actual
        assert 0 <= slack <= 0.02 * actual + 100 * len(config), config
