"""What a space lets a target choose from; and the configurations that are timed for it."""

from __future__ import annotations

import random

import pytest

from hawqsearch.core.design import all_float, all_int8, random_mixed
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.precision import Precision
from hawqsearch.core.space import SearchSpace
from hawqsearch.errors import InputError, UnknownNameError
from hawqsearch.hardware.targets import find_target
from tests.core.specs import generated_spec

VNNI = find_target("x86-vnni")


def spec() -> ModelSpec:
    """A generated network that has a convolution, a join and an operator without kernels."""
    for seed in range(10_000):
        found = generated_spec(random.Random(seed))
        if {"conv", "add", "other"} <= {n.op for n in found.nodes}:
            return found
    raise AssertionError("the generator makes no such network any more")


def space(*names: str, explicit: bool = False, **pins: str) -> SearchSpace:
    pinned = {next(n.name for n in spec().nodes if n.op == op): Precision.parse(p) for op, p in pins.items()}
    parsed = tuple(map(Precision.parse, names))
    return SearchSpace(precisions=parsed, pins=FrozenDict(pinned), explicit=explicit)


def options(found: FrozenDict[str, tuple[Precision, ...]], op: str) -> list[str]:
    return [str(p) for p in next(found[n.name] for n in spec().nodes if n.op == op)]


def test_layers_choose_from_the_space_joins_from_two_and_others_not() -> None:
    allowed = space("fp32", "w8a8", "w4a8").allowed(spec(), VNNI)
    assert options(allowed.precisions, "conv") == ["fp32", "w8a8", "w4a8"]
    assert options(allowed.precisions, "add") == ["w8a8", "fp32"]
    assert options(allowed.precisions, "other") == ["fp32"]
    assert not allowed.dropped


def test_what_has_no_kernel_falls_out_and_is_told_once_per_operator() -> None:
    allowed = space("fp32", "w8a8", "w4a16", "w7a8").allowed(spec(), VNNI)
    assert options(allowed.precisions, "conv") == ["fp32", "w8a8"]
    assert [str(p) for p in allowed.dropped["conv"]] == ["w4a16", "w7a8"]


def test_an_explicit_precision_without_a_kernel_is_an_error_that_names_those_that_have_one() -> None:
    with pytest.raises(InputError, match=r"no w4a16 kernel for conv .*w8a8, w6a8"):
        space("fp32", "w4a16", explicit=True).allowed(spec(), VNNI)


def test_a_layer_left_with_nothing_is_an_error() -> None:
    with pytest.raises(InputError, match="allow fp32"):
        space("w4a16").allowed(spec(), VNNI)


def test_a_pin_is_the_only_choice() -> None:
    allowed = space("fp32", "w8a8", conv="w2a8", add="fp32").allowed(spec(), VNNI)
    assert options(allowed.precisions, "conv") == ["w2a8"]
    assert options(allowed.precisions, "add") == ["fp32"]


def test_a_pin_without_a_kernel_is_an_error() -> None:
    with pytest.raises(InputError, match="no w4a16 kernel for conv"):
        space("fp32", conv="w4a16").allowed(spec(), VNNI)


def test_unknown_layers_in_pins_and_ties_are_named() -> None:
    pinned = SearchSpace(precisions=(), pins=FrozenDict({"cnv 0": Precision.parse("w8a8")}))
    tied = SearchSpace(precisions=(Precision.parse("fp32"),), ties=(("no such", "layer"),))
    for wrong in (pinned, tied):
        with pytest.raises(UnknownNameError, match="unknown layer"):
            wrong.allowed(spec(), VNNI)


# ---------------------------------------------------------------- configurations that are timed


def test_the_fixed_points_are_all_float_and_all_that_has_a_kernel() -> None:
    assert set(all_float(spec()).values()) == {"fp32"}
    for node in spec().nodes:
        assert all_int8(spec(), VNNI)[node.name] == ("fp32" if node.op == "other" else "w8a8")


def test_the_design_runs_from_few_to_nearly_all_int8_and_repeats_with_its_seed() -> None:
    """Of 400 configurations, the first and last tenth hold about 5 and 95 % int8 (odds of failing: 1e-9)."""
    precisions = space("fp32", "w8a8", "w4a8").allowed(spec(), VNNI).precisions
    configs = random_mixed(spec(), VNNI, precisions, n=400, seed=1)
    assert configs == random_mixed(spec(), VNNI, precisions, n=400, seed=1)
    assert configs != random_mixed(spec(), VNNI, precisions, n=400, seed=2)
    free = [n.name for n in spec().nodes if len(precisions[n.name]) > 1]
    shares = [sum(c[n] == "w8a8" for n in free) / len(free) for c in configs]
    assert sum(shares[:40]) / 40 < 0.3 < 0.7 < sum(shares[-40:]) / 40


def test_the_design_keeps_to_what_is_allowed() -> None:
    precisions = space("fp32", "w8a8", conv="w4a8", add="fp32").allowed(spec(), VNNI).precisions
    for config in random_mixed(spec(), VNNI, precisions, n=50, seed=0):
        assert all(Precision.parse(p) in precisions[n] for n, p in config.items())
