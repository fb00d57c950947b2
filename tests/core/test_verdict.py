"""Which candidate is returned, and the reason that is given."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.outcome import Candidate
from hawqsearch.core.sensitivity import Score
from hawqsearch.core.verdict import choose


def candidate(name: str, loss: float, *, worse_by: float = 0.0, stderr: float = 0.0) -> Candidate:
    return Candidate(
        name=name,
        config=FrozenDict({"layer": name}),
        score=0.0,
        predicted_ms=None,
        measured=None,
        size_bytes=0.0,
        meets=True,
        loss=Score(loss, 0.01),
        divergence=Score(loss, 0.01),
        versus_best=Score(worse_by, stderr),
    )


def chosen(candidates: list[Candidate], costs: Mapping[str, Mapping[str, float]]) -> tuple[str, str]:
    pick, reason = choose(candidates, costs)
    return pick.name, reason


SOLVER = candidate("solver", 0.10)
SAME = {"latency_ms": 1.0, "size_bytes": 100.0}


def test_the_solver_is_returned_where_it_has_the_least_loss() -> None:
    greedy = candidate("greedy", 0.2, worse_by=0.1, stderr=0.01)
    name, reason = chosen([SOLVER, greedy], {"solver": SAME, "greedy": SAME})
    assert name == "solver"
    assert reason.startswith("solver: solver has the least divergence of 2")


def test_a_baseline_that_wins_is_returned_and_named() -> None:
    solver = candidate("solver", 0.10, worse_by=0.05, stderr=0.001)
    name, reason = chosen([solver, candidate("uniform", 0.05)], {"solver": SAME, "uniform": SAME})
    assert name == "uniform"
    assert reason.startswith("baseline: uniform")


@pytest.mark.parametrize(("worse_by", "cheaper"), [(0.0195, True), (0.0197, False)])
def test_a_cheaper_one_within_the_noise_is_preferred(worse_by: float, cheaper: bool) -> None:
    """Noise ends at 1.96 standard errors of the paired difference."""
    other = candidate("size_ranked", 0.11, worse_by=worse_by, stderr=0.01)
    name, reason = chosen([SOLVER, other], {"solver": SAME, "size_ranked": {**SAME, "latency_ms": 0.9}})
    assert (name == "size_ranked") == cheaper
    assert reason.startswith(
        "cheaper within the noise: size_ranked instead of solver" if cheaper else "solver"
    )


@pytest.mark.parametrize(
    ("costs", "dominates"),
    [
        ({"latency_ms": 0.97, "size_bytes": 100.0}, True),
        ({"latency_ms": 0.99, "size_bytes": 100.0}, False),
        ({"latency_ms": 0.50, "size_bytes": 100.1}, False),
        ({"latency_ms": 1.00, "size_bytes": 90.0}, True),
    ],
)
def test_cheaper_means_less_by_two_percent_in_one_quantity_and_no_more_in_any(
    costs: dict[str, float], dominates: bool
) -> None:
    other = candidate("greedy", 0.10, worse_by=0.0, stderr=0.01)
    assert chosen([SOLVER, other], {"solver": SAME, "greedy": costs})[0] == (
        "greedy" if dominates else "solver"
    )


def test_of_several_cheaper_ones_the_cheapest_in_the_first_quantity() -> None:
    others = [candidate(name, 0.10, stderr=0.01) for name in ("greedy", "uniform", "random")]
    costs = {"solver": SAME} | {
        "greedy": {"latency_ms": 0.8, "size_bytes": 60.0},
        "uniform": {"latency_ms": 0.7, "size_bytes": 90.0},
        "random": {"latency_ms": 0.9, "size_bytes": 50.0},
    }
    assert chosen([SOLVER, *others], costs)[0] == "uniform"


def test_without_a_bounded_quantity_nothing_is_cheaper() -> None:
    other = candidate("greedy", 0.10, stderr=0.01)
    assert chosen([SOLVER, other], {"solver": {}, "greedy": {}})[0] == "solver"
