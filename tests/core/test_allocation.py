"""The allocation problem prices exactly the quantizers that are placed, and exactly the kernels that are timed."""

from __future__ import annotations

import dataclasses
import math

import pytest

from hawqsearch.core.allocation import allocation_problem, configuration_bops
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change
from hawqsearch.core.latency import changes_of
from hawqsearch.core.model import INPUT, OUTPUT
from hawqsearch.core.placement import place
from hawqsearch.core.precision import Precision
from hawqsearch.core.problem import SearchProblem
from hawqsearch.errors import InputError
from tests.core.specs import every_config, generated_tables, placed

ENDS = {INPUT: "fp32", OUTPUT: "fp32"}
SEEDS = range(150)


@pytest.mark.parametrize("seed", SEEDS)
def test_its_score_is_that_of_the_placed_quantizers(seed: int) -> None:
    """For every configuration of a generated network."""
    tables = generated_tables(seed)
    problem = allocation_problem(tables, {})
    for config in every_config(tables):
        expected = math.fsum(tables.sensitivity.scores[c].value for c in placed(tables, config))
        assert problem.score(config | ENDS) == pytest.approx(expected, abs=1e-9), config


@pytest.mark.parametrize("seed", SEEDS)
def test_its_latency_is_that_of_the_latency_model(seed: int) -> None:
    tables = generated_tables(seed)
    problem = allocation_problem(tables, {})
    assert tables.latency is not None
    for config in every_config(tables):
        expected = tables.latency.predict_ms(tables.spec, tables.target, config)
        assert problem.cost(config | ENDS).latency_ms == pytest.approx(expected, abs=1e-9), config


@pytest.mark.parametrize("seed", SEEDS)
def test_its_energy_is_that_of_the_energy_model(seed: int) -> None:
    tables = generated_tables(seed)
    problem = allocation_problem(tables, {})
    assert tables.energy is not None
    for config in every_config(tables):
        expected = tables.energy.predict_mj(tables.spec, tables.target, config)
        assert problem.cost(config | ENDS).energy_mj == pytest.approx(expected, abs=1e-9), config


@pytest.mark.parametrize("seed", SEEDS)
def test_its_size_is_that_of_the_parts_in_the_file(seed: int) -> None:
    tables = generated_tables(seed)
    problem, spec, sizes = allocation_problem(tables, {}), tables.spec, tables.sizes
    for config in every_config(tables):
        activations = place(spec, tables.target, config).activations
        guarded = [t for t in spec.tensors if Change.TO_FLOAT in changes_of(spec, tables.target, config, t)]
        expected = sizes.base + sum(sizes.layers[n.name, config[n.name]] for n in spec.layers)
        expected += sum(sizes.quantizers[t] for t in activations) + sum(sizes.guards[t.name] for t in guarded)
        assert problem.cost(config | ENDS).size_bytes == pytest.approx(expected, abs=1e-9), config


@pytest.mark.parametrize("seed", SEEDS)
def test_its_bits_and_operations_are_counted(seed: int) -> None:
    tables = generated_tables(seed)
    problem, spec = allocation_problem(tables, {}), tables.spec
    for config in every_config(tables):
        cost = problem.cost(config | ENDS)
        precisions = {n.name: Precision.parse(config[n.name]) for n in spec.layers}
        assert cost.weight_bits == sum(n.n_weights * precisions[n.name].weight.bits for n in spec.layers)
        expected = sum(
            n.macs * precisions[n.name].weight.bits * precisions[n.name].activation.bits for n in spec.layers
        )
        assert cost.bops == configuration_bops(spec, config) == expected


def test_the_generated_networks_have_every_kind_of_edge() -> None:
    """Else the laws above would hold for want of cases."""
    seen = set()
    for seed in SEEDS:
        tables = generated_tables(seed)
        for config in every_config(tables):
            placement = place(tables.spec, tables.target, config)
            for tensor in tables.spec.tensors:
                readers = {
                    r in ENDS or not Precision.parse(config[r]).quantizes_input for r in tensor.targets
                }
                quantized, requantized = (
                    tensor.name in placement.activations,
                    tensor.name in placement.requantized,
                )
                seen.add((tensor.source == INPUT, quantized, requantized, frozenset(readers)))
    floats, integers, both = frozenset({True}), frozenset({False}), frozenset({True, False})
    assert seen == {
        (True, False, False, floats),
        (True, True, False, integers),
        (True, True, False, both),
        (False, False, False, floats),
        (False, True, False, integers),
        (False, True, False, both),
        (False, True, True, floats),
        (False, True, True, integers),
        (False, True, True, both),
    }


@pytest.mark.parametrize("seed", range(60))
def test_with_interactions_the_score_of_all_int8_is_that_of_all_pairs(seed: int) -> None:
    """Where every int8 kernel requantizes, a tensor's quantizer comes with the node that makes it: all pairs
    count but those with a tensor that the input or a float operator made. Pairs of one node's own weights
    and output count too."""
    tables = generated_tables(seed, pairs=True)
    kernels = {
        op: FrozenDict(
            {p: dataclasses.replace(k, requantizes=p in ("w8a8", "w3a8")) for p, k in found.items()}
        )
        for op, found in tables.target.kernels.items()
    }
    target = dataclasses.replace(tables.target, kernels=FrozenDict(kernels))
    int8 = {
        n.name: (Precision.parse("w8a8" if target.kernel(n.op, "w8a8") else "fp32"),)
        for n in tables.spec.nodes
    }
    tables = dataclasses.replace(tables, target=target, precisions=FrozenDict(int8))
    (config,) = every_config(tables)
    problem = allocation_problem(tables, {}, interactions=True)
    choices = placed(tables, config)
    requantized = place(tables.spec, target, config).requantized
    made = {c for c in choices if c.kind == "weight" or c.name in requantized}
    expected = math.fsum(tables.sensitivity.scores[c].value for c in choices)
    expected += math.fsum(p.score for p in tables.sensitivity.pairs if p.first in made and p.second in made)
    assert problem.score(config | ENDS) == pytest.approx(expected, abs=1e-9)


def test_ends_of_the_network_have_no_choice_and_cost_nothing() -> None:
    problem: SearchProblem = allocation_problem(generated_tables(0), {})
    for end in (INPUT, OUTPUT):
        (choice,) = problem.choices[end].values()
        assert (choice.score, choice.cost.latency_ms, choice.cost.size_bytes) == (0.0, 0.0, 0.0)


def test_without_a_latency_model_a_latency_is_unknown_and_cannot_be_limited() -> None:
    tables = dataclasses.replace(generated_tables(1), latency=None)
    problem = allocation_problem(tables, {"size_bytes": 1e9})
    config = next(every_config(tables)) | ENDS
    assert problem.cost(config).latency_ms is None
    with pytest.raises(InputError, match="latency_ms is limited but unknown"):
        allocation_problem(tables, {"latency_ms": 1.0})


def test_without_an_energy_model_energy_is_unknown_and_cannot_be_limited() -> None:
    tables = dataclasses.replace(generated_tables(1), energy=None)
    config = next(every_config(tables)) | ENDS
    assert allocation_problem(tables, {"latency_ms": 1e9}).cost(config).energy_mj is None
    with pytest.raises(InputError, match="energy_mj is limited but unknown"):
        allocation_problem(tables, {"energy_mj": 1.0})


def test_sensitivities_of_another_model_are_refused() -> None:
    tables = generated_tables(2)
    other = dataclasses.replace(tables.sensitivity, fingerprint="another")
    with pytest.raises(InputError, match="another model"):
        dataclasses.replace(tables, sensitivity=other)


def test_ties_of_the_network_and_of_the_space_both_hold() -> None:
    tables = generated_tables(3)
    first, second, *_ = (n.name for n in tables.spec.nodes)
    same = FrozenDict(dict(tables.precisions) | {second: tables.precisions[first]})
    spec = dataclasses.replace(tables.spec, ties=((second, first),))
    tables = dataclasses.replace(tables, precisions=same, spec=spec)
    assert set(allocation_problem(tables, {}, ties=((first, second),)).ties) == {
        (first, second),
        (second, first),
    }
