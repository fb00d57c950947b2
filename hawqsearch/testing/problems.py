"""Small generated search problems with everything that a strategy must cope with, and their enumeration."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Final

from hawqsearch.core.cost import FREE, Cost
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.problem import Choice, Config, Edge, EdgePrice, Interaction, SearchProblem

__all__ = ["every_config", "generated_problem", "impossible_problem"]

_NAMES: Final = ("fp32", "w8a8", "w4a8", "w2a8", "any name")
_BOUNDED: Final = ("latency_ms", "size_bytes")
_MOST: Final = 300  # configurations of one problem, so that trying them all takes some 20 ms


def every_config(problem: SearchProblem) -> Iterator[Config]:
    """Every configuration that keeps the ties, whatever it costs."""
    nodes = list(problem.choices)
    leader = {node: node for node in nodes}
    for tie in problem.ties:
        for node in tie[1:]:
            old, new = leader[node], leader[tie[0]]
            leader = {n: new if one == old else one for n, one in leader.items()}
    free = list(dict.fromkeys(leader.values()))
    for chosen in itertools.product(*(problem.choices[node] for node in free)):
        of = dict(zip(free, chosen, strict=True))
        yield {node: of[leader[node]] for node in nodes}


def generated_problem(*, seed: int) -> SearchProblem:
    """A feasible problem of some hundred configurations at most, whose limits exclude its free optimum.

    Among them: ties that overlap, pinned layers, edges to several consumers and to themselves, prices on
    lists of precisions, interactions, negative scores, scores of 1e-9 beside scores of 10, limits that an
    answer meets exactly.
    """
    source = random.Random(seed)
    while True:
        problem = _bounded(_unlimited(source), source)
        if problem is not None:
            return problem


def impossible_problem(*, seed: int) -> SearchProblem:
    """A generated problem with a limit just below the least that can be had."""
    problem = generated_problem(seed=seed)
    quantity = next(iter(problem.limits))
    least = min(_value(problem, config, quantity) for config in every_config(problem))
    return _with_limits(problem, dict(problem.limits) | {quantity: least * (1 - 1e-6)})


def _unlimited(source: random.Random) -> SearchProblem:
    nodes = [f"layer {i}" for i in range(source.randint(3, 6))]
    options = _options(nodes, source)
    ties = _ties(nodes, options, source)
    scale = source.choice([1e-9, 1.0, 1e3])
    return SearchProblem(
        choices=FrozenDict(
            {node: FrozenDict({p: _choice(scale, source) for p in options[node]}) for node in nodes}
        ),
        ties=ties,
        edges=tuple(_edge(nodes, options, scale, source) for _ in range(source.randint(0, 4))),
        interactions=_interactions(nodes, options, scale, source),
        base=source.choice([FREE, Cost(latency_ms=0.25, size_bytes=10.0, energy_mj=0.0)]),
    )


def _options(nodes: list[str], source: random.Random) -> dict[str, list[str]]:
    while True:
        options = {node: source.sample(_NAMES, source.choice([1, 2, 2, 3, 3, 4])) for node in nodes}
        total = 1
        for names in options.values():
            total *= len(names)
        if 4 <= total <= _MOST:
            return options


def _ties(
    nodes: list[str], options: dict[str, list[str]], source: random.Random
) -> tuple[tuple[str, ...], ...]:
    if source.random() < 0.5:
        return ()
    tied = source.sample(nodes, source.choice([2, 3, 3]))
    for node in tied[1:]:
        options[node] = source.sample(options[tied[0]], len(options[tied[0]]))
    return (tuple(tied),) if source.random() < 0.5 else tuple((tied[0], node) for node in tied[1:])


def _score(scale: float, source: random.Random) -> float:
    kind = source.random()
    if kind < 0.1:
        return 0.0
    return scale * (source.gauss(0, 1) if kind < 0.5 else 10 ** source.uniform(-6, 1))


def _choice(scale: float, source: random.Random) -> Choice:
    cost = Cost(latency_ms=source.uniform(0.1, 1), size_bytes=float(source.randint(0, 100)))
    return Choice(_score(scale, source), cost)


def _edge(nodes: list[str], options: dict[str, list[str]], scale: float, source: random.Random) -> Edge:
    start = source.choice(nodes)
    targets = tuple(source.sample(nodes, source.choice([1, 1, 2, 3])))
    read = sorted({name for target in targets for name in options[target]})
    prices = tuple(
        EdgePrice(
            sources=_some(options[start], source),
            targets=_some(read, source),
            score=source.choice([0.0, _score(scale, source)]),
            cost=Cost(
                latency_ms=source.choice([0.0, source.random()]),
                size_bytes=source.choice([0.0, 0.0, 7.0]),
                energy_mj=0.0,
                bops=0.0,
                weight_bits=0.0,
            ),
        )
        for _ in range(source.randint(1, 4))
    )
    return Edge(source=start, targets=targets, prices=prices)


def _some(names: list[str], source: random.Random) -> frozenset[str]:
    return frozenset(source.sample(names, source.randint(1, min(2, len(names)))))


def _interactions(
    nodes: list[str], options: dict[str, list[str]], scale: float, source: random.Random
) -> tuple[Interaction, ...]:
    pairs = [
        ((a, b), (p, q)) for a, b in itertools.combinations(nodes, 2) for p in options[a] for q in options[b]
    ]
    if source.random() < 0.2:  # between all, and nearly a sum of what each layer costs
        return tuple(Interaction(ab, pq, scale * source.uniform(0.95, 1.05)) for ab, pq in pairs)
    some = source.sample(pairs, min(len(pairs), source.choice([0, 0, 3, 12])))
    return tuple(Interaction(ab, pq, _score(scale, source)) for ab, pq in some)


def _bounded(problem: SearchProblem, source: random.Random) -> SearchProblem | None:
    """`problem` with limits that a configuration meets and its optimum does not; None without any."""
    best = min(every_config(problem), key=problem.score)
    first, second = source.sample(_BOUNDED, 2)
    enough = _value(problem, best, first) * (1 - 1e-6)
    within = [config for config in every_config(problem) if _value(problem, config, first) < enough]
    if not within:
        return None
    met = source.choice(within)
    room = source.choice([1.0, 1.0 + 1e-7])
    limits = {first: _value(problem, met, first) * room}
    if source.random() < 0.6:
        limits[second] = _value(problem, met, second) * source.choice([1.0, 1.2])
    return _with_limits(problem, limits)


def _with_limits(problem: SearchProblem, limits: dict[str, float]) -> SearchProblem:
    return SearchProblem(
        choices=problem.choices,
        edges=problem.edges,
        interactions=problem.interactions,
        ties=problem.ties,
        base=problem.base,
        limits=FrozenDict(limits),
    )


def _value(problem: SearchProblem, config: Config, quantity: str) -> float:
    value = problem.cost(config).get(quantity)
    assert value is not None  # generated problems know what they bound
    return value
