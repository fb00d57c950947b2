"""The integer program equals trying everything, says how sure it is, and stops when told."""

import dataclasses
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawqsearch.core.cost import Cost
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.problem import Choice, Interaction, SearchProblem
from hawqsearch.core.problem_file import read_problem, write_problem
from hawqsearch.core.result import Status
from hawqsearch.errors import InfeasibleError, InputError
from hawqsearch.strategies.greedy import GreedySearch
from hawqsearch.strategies.ilp import IlpSearch, k_best
from hawqsearch.testing.problems import every_config, generated_problem
from hawqsearch.testing.strategies import check_result

REFERENCE = Path(os.environ.get("HAWQSEARCH_REFERENCE", Path(__file__).parents[3] / "shared" / "reference"))
HAWQV3 = REFERENCE / "hawqv3_resnet18.json"


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_equals_trying_everything(seed: int) -> None:
    problem = generated_problem(seed=seed)
    result = IlpSearch().search(problem)
    check_result(problem, result, exact=True)
    feasible = sum(problem.is_feasible(config) for config in every_config(problem))
    assert (result.runner_up is None) == (feasible == 1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**9), factor=st.sampled_from([1e-12, 1e-3, 1e6, 1e12]))
def test_the_unit_of_the_score_does_not_matter(seed: int, factor: float) -> None:
    problem = generated_problem(seed=seed)
    scaled = dataclasses.replace(
        problem,
        choices=FrozenDict(
            {
                node: FrozenDict(
                    {p: dataclasses.replace(c, score=c.score * factor) for p, c in options.items()}
                )
                for node, options in problem.choices.items()
            }
        ),
        edges=tuple(
            dataclasses.replace(
                edge, prices=tuple(dataclasses.replace(p, score=p.score * factor) for p in edge.prices)
            )
            for edge in problem.edges
        ),
        interactions=tuple(dataclasses.replace(i, score=i.score * factor) for i in problem.interactions),
    )
    optimum = min(scaled.score(config) for config in every_config(scaled) if scaled.is_feasible(config))
    assert IlpSearch(runner_up=False).search(scaled).score == pytest.approx(optimum, rel=1e-6, abs=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**9), k=st.integers(1, 6))
def test_k_best_are_the_k_best(seed: int, k: int) -> None:
    problem = generated_problem(seed=seed)
    scores = sorted(problem.score(config) for config in every_config(problem) if problem.is_feasible(config))
    found = k_best(problem, k, seed=0)
    assert [other.score for other in found] == pytest.approx(scores[:k], rel=1e-6, abs=1e-15)
    assert len({tuple(sorted(other.config.items())) for other in found}) == len(found)


def test_one_huge_choice_does_not_drown_the_small_ones() -> None:
    cells = [
        {
            "good": Choice(1e-6 * i, Cost(size_bytes=10.0)),
            "small": Choice(2e-6 * i + 1e-7, Cost(size_bytes=1.0)),
        }
        for i in range(1, 9)
    ]
    for cell in cells:
        cell["broken"] = Choice(1e9, Cost(size_bytes=0.5))
    problem = SearchProblem(
        choices=FrozenDict({f"l{i}": FrozenDict(cell) for i, cell in enumerate(cells)}),
        limits=FrozenDict({"size_bytes": 44.0}),
    )
    optimum = min(problem.score(config) for config in every_config(problem) if problem.is_feasible(config))
    result = IlpSearch().search(problem)
    assert result.score == pytest.approx(optimum, rel=1e-9)
    assert result.status is Status.OPTIMAL


def test_a_problem_without_a_choice() -> None:
    problem = SearchProblem(choices=FrozenDict({"a": FrozenDict({"x": Choice(1.5, Cost())})}))
    result = IlpSearch().search(problem)
    assert (result.score, result.status, result.bound, result.runner_up) == (1.5, Status.OPTIMAL, 1.5, None)


def test_infeasible_names_each_limit_with_its_least() -> None:
    cells = FrozenDict(
        {
            "x": Choice(0.0, Cost(latency_ms=3.0, size_bytes=10.0)),
            "y": Choice(0.0, Cost(latency_ms=1.0, size_bytes=40.0)),
        }
    )
    problem = SearchProblem(
        choices=FrozenDict({"a": cells}),
        base=Cost(latency_ms=0.25, size_bytes=0.0),
        limits=FrozenDict({"latency_ms": 1.0, "size_bytes": 20.0}),
    )
    with pytest.raises(
        InfeasibleError, match=r"latency_ms <= 1 \(the least is 1.25\).*\(the least is 10\)"
    ) as caught:
        IlpSearch().search(problem)
    assert "\n" not in str(caught.value)
    together = dataclasses.replace(problem, limits=FrozenDict({"latency_ms": 2.0, "size_bytes": 20.0}))
    with pytest.raises(InfeasibleError, match=r"not together: latency_ms is at least 3.25 within the others"):
        IlpSearch().search(together)


def hard_problem(n: int = 40) -> SearchProblem:
    """Interactions between all pairs, of both signs: far too much to prove in a second."""
    import random

    source = random.Random(1)
    names = [f"l{i}" for i in range(n)]
    cells = FrozenDict({"a": Choice(0.0, Cost(size_bytes=1.0)), "b": Choice(0.0, Cost(size_bytes=2.0))})
    pairs = tuple(
        Interaction((x, y), ("a", "b"), source.gauss(0, 1)) for i, x in enumerate(names) for y in names[:i]
    )
    return SearchProblem(
        choices=FrozenDict(dict.fromkeys(names, cells)),
        interactions=pairs,
        limits=FrozenDict({"size_bytes": 1.5 * n}),
    )


@pytest.mark.parametrize("seconds", [1e-6, 0.5])
def test_out_of_time_is_feasible_with_a_bound(seconds: float) -> None:
    problem = hard_problem()
    began = time.perf_counter()
    result = IlpSearch(time_limit_s=seconds, runner_up=False).search(problem)
    assert time.perf_counter() - began < seconds + 3
    assert result.status is Status.FEASIBLE
    assert problem.is_feasible(result.config)
    assert result.bound is not None
    assert result.bound < result.score


def test_ctrl_c_stops_the_solver() -> None:
    timer = threading.Timer(0.7, os.kill, [os.getpid(), signal.SIGINT])
    problem = hard_problem()
    began = time.perf_counter()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        IlpSearch(time_limit_s=30.0).search(problem)
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_time_limits_are_positive(seconds: float) -> None:
    with pytest.raises(InputError, match="time limit"):
        IlpSearch(time_limit_s=seconds)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_seeds_that_the_solver_refuses(seed: int) -> None:
    with pytest.raises(InputError, match="seed"):
        IlpSearch(seed=seed)


def hawqv3_problem(document: dict[str, object], name: str) -> SearchProblem:
    """A published instance: traces times perturbations, limited to a share of the range of int4 to int8."""
    kind, share = name.rsplit("_", 1)
    quantity = {"modelsize": "size_bytes", "bops": "bops", "latency": "latency_ms"}[kind]
    layers: list[dict[str, float]] = document["layers"]  # type: ignore[assignment]
    choices = {
        str(layer["name"]): FrozenDict(
            {
                f"w{bits}a{bits}": Choice(
                    layer["hutchinson_trace"] * layer[f"perturbation_int{bits}"],
                    Cost(
                        size_bytes=layer["parameters_m"] * bits / 8,
                        bops=layer["macs_m"] * bits * bits / 1024,
                        latency_ms=layer[f"latency_int{bits}_ms"],
                    ),
                )
                for bits in (4, 8)
            }
        )
        for layer in layers
    }
    low = sum(options["w4a4"].cost.get(quantity) or 0.0 for options in choices.values())
    high = sum(options["w8a8"].cost.get(quantity) or 0.0 for options in choices.values())
    return SearchProblem(
        choices=FrozenDict(choices),
        ties=tuple(tuple(group) for group in document["tied"]),  # type: ignore[attr-defined]
        limits=FrozenDict({quantity: low + float(share) * (high - low)}),
    )


@pytest.mark.skipif(
    not HAWQV3.exists(), reason=f"no {HAWQV3}; set HAWQSEARCH_REFERENCE to the published instances"
)
def test_hawqv3s_published_configurations_come_out(tmp_path: Path) -> None:
    document = json.loads(HAWQV3.read_text())
    assert len(document["published"]) == 9
    for name, published in document["published"].items():
        write_problem(hawqv3_problem(document, name), tmp_path / "problem.json")
        result = IlpSearch().search(read_problem(tmp_path / "problem.json"))
        assert result.status is Status.OPTIMAL
        expected = {layer: f"w{bits}a{bits}" for layer, bits in published.items() if layer in result.config}
        assert {layer: result.config[layer] for layer in expected} == expected, name


def test_out_of_time_is_no_worse_than_greedy() -> None:
    problem = hard_problem()
    greedy = GreedySearch().search(problem)
    assert IlpSearch(time_limit_s=0.2, runner_up=False).search(problem).score <= greedy.score
