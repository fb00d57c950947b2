"""The grouped form says the same numbers as the problem, whole and move by move; pruning loses nothing."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawqsearch.strategies.grouped import group_problem
from hawqsearch.strategies.position import Position
from hawqsearch.strategies.prune import least_total, pruned
from hawqsearch.testing.problems import every_config, generated_problem


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_same_numbers_as_the_problem(seed: int) -> None:
    problem = generated_problem(seed=seed)
    grouped = group_problem(problem)
    largest = max(abs(problem.score(config)) for config in every_config(problem))
    for config in every_config(problem):
        choice = grouped.choice(config)
        assert grouped.config(choice) == config
        score, *costs = grouped.vector(choice)
        assert score == pytest.approx(problem.score(config), rel=1e-9, abs=1e-9 * largest)
        assert costs == pytest.approx([problem.cost(config).get(q) for q in grouped.quantities])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_moves_add_up(seed: int) -> None:
    grouped = group_problem(generated_problem(seed=seed))
    source = random.Random(seed)
    position = Position(grouped, [0] * len(grouped.groups))
    scale = max(abs(x) for g in grouped.groups for v in g.vectors for x in v)
    for _ in range(20):
        group = source.randrange(len(grouped.groups))
        before = {g: [position.change(g, p) for p in position.moves(g)] for g in range(len(grouped.groups))}
        near = position.neighbours(group)
        position.move(group, source.choice([*position.moves(group)]))
        assert position.total == pytest.approx(grouped.vector(position.choice), rel=1e-9, abs=1e-9 * scale)
        for other in set(before) - near:
            after = [position.change(other, p) for p in position.moves(other)]
            assert after == [pytest.approx(change) for change in before[other]]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_pruning_keeps_all_that_is_as_good(seed: int) -> None:
    problem = generated_problem(seed=seed)
    grouped = group_problem(problem)
    feasible = sorted((c for c in every_config(problem) if problem.is_feasible(c)), key=problem.score)
    best_score = problem.score(feasible[len(feasible) // 2])
    small = pruned(grouped, best_score)
    assert small.size <= grouped.size
    for config in feasible:
        assert problem.score(config) >= least_total(grouped)
        if problem.score(config) <= best_score:
            assert small.holds(config)
            assert small.config(small.choice(config)) == config
            assert small.vector(small.choice(config)) == pytest.approx(grouped.vector(grouped.choice(config)))
