"""Running from the middle equals running the whole network with the same replacement."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F

from hawqsearch.graph.run import Sweep, evaluate
from tests.graph import networks


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_evaluate_is_the_module(name: str) -> None:
    traced, x = networks.traced(name), networks.inputs(name, 3)
    assert torch.equal(evaluate(traced, x), traced.module(x))


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_a_suffix_is_the_whole_run_with_that_value_replaced(name: str) -> None:
    traced, x = networks.traced(name), networks.inputs(name, 3)
    sweep = Sweep(traced, x)
    for node in sweep:
        changed = sweep.value(node).round()
        expected = evaluate(traced, x, replace=lambda n, v, node=node: v.round() if n == node else v)
        assert torch.equal(sweep.suffix(node, changed), expected)
    assert torch.equal(sweep.output, traced.module(x))


def test_values_in_use_elsewhere_are_the_only_ones_kept() -> None:
    traced = networks.traced("residual")
    sweep = Sweep(traced, networks.inputs("residual", 1))
    alive = [len(sweep._live) for _ in sweep]
    assert max(alive) <= 4
    with pytest.raises(KeyError):
        sweep.value("conv2d")


def test_a_node_can_be_computed_again_with_other_weights_or_inputs() -> None:
    traced, x = networks.traced("tied"), networks.inputs("tied", 2)
    layer = traced.spec.node("conv#2")
    sweep = Sweep(traced, x)
    for node in sweep:
        if node == layer.value:
            weight, bias = (traced.module.get_parameter(f"conv.{k}") for k in ("weight", "bias"))
            seen = sweep.value("relu")
            again = sweep.again({"conv.weight": weight / 2, "relu": seen * 3})
            torch.testing.assert_close(again, F.conv2d(seen * 3, weight / 2, bias, padding=1))
            assert torch.equal(sweep.again({}), sweep.value(node))


def test_parameters_can_be_replaced() -> None:
    traced, x = networks.traced("mlp"), networks.inputs("mlp", 2)
    zero = torch.zeros_like(traced.module.get_parameter("output#1.weight"))
    assert torch.equal(evaluate(traced, x, parameters={"output#1.weight": zero}), torch.zeros(2, 2))


def test_replacements_of_the_sweep_reach_its_suffixes() -> None:
    traced, x = networks.traced("residual"), networks.inputs("residual", 2)
    sweep = Sweep(traced, x, replace=lambda name, value: value.round())
    expected = evaluate(traced, x, replace=lambda name, value: value.round())
    for node in sweep:
        assert torch.equal(sweep.suffix(node, sweep.value(node)), expected)


def test_only_the_current_node_has_a_suffix() -> None:
    traced, x = networks.traced("mlp"), networks.inputs("mlp", 2)
    sweep = Sweep(traced, x)
    with pytest.raises(RuntimeError, match="not reached"):
        _ = sweep.output
    next(iter(sweep))
    with pytest.raises(ValueError, match="at 'x', not at 'linear'"):
        sweep.suffix("linear", x)


def test_threads_sweep_over_one_model() -> None:
    traced = networks.traced("branches")
    batches = [networks.inputs("branches", rows) for rows in range(1, 9)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda x: evaluate(traced, x), batches))
    for x, answer in zip(batches, answers, strict=True):
        assert torch.equal(answer, traced.module(x))


def test_gradients_stay_on_for_the_caller() -> None:
    traced, x = networks.traced("mlp"), networks.inputs("mlp", 1)
    for _ in Sweep(traced, x):
        assert torch.is_grad_enabled()
    assert not evaluate(traced, x.requires_grad_()).requires_grad
