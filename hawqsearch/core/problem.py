"""The allocation problem: numbers only, no model in sight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hawqsearch.core.cost import FREE, QUANTITIES, Cost
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.errors import InputError, UnknownNameError

__all__ = ["LIMIT_TOLERANCE", "Choice", "Config", "Edge", "EdgePrice", "Interaction", "SearchProblem"]

LIMIT_TOLERANCE: Final = 1e-9
"""Relative: a limit may be exceeded by this share of itself, which is float rounding and nothing else."""

Config = Mapping[str, str]
"""Node name -> precision name, every node of the problem named."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What one precision of one node costs; `score` is how much it hurts (lower is better, may be < 0)."""

    score: float
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgePrice:
    """Paid once if the source has one of `sources` and *any* target has one of `targets`."""

    sources: frozenset[str]
    targets: frozenset[str]
    score: float = 0.0
    cost: Cost = FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A tensor from `source` to its consumers, with the price of each change of precision on it."""

    source: str
    targets: tuple[str, ...]
    prices: tuple[EdgePrice, ...]

    def paid(self, config: Config) -> Iterator[EdgePrice]:
        """The prices that `config` pays on this edge."""
        readers = {config[t] for t in self.targets}
        for price in self.prices:
            if config[self.source] in price.sources and not price.targets.isdisjoint(readers):
                yield price


@dataclass(frozen=True, slots=True)
class Interaction:
    """Extra score when two nodes make these two choices together; added once."""

    nodes: tuple[str, str]
    precisions: tuple[str, str]
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProblem:
    """One choice per node, of least total score, within every limit.

    Checks itself when built: names exist, ties share one set of precisions, all numbers are finite,
    no cost is negative, each bounded quantity is known everywhere. Raises `InputError` otherwise.

    Args:
        choices: node -> precision name -> `Choice`; a pinned node has one.
        edges: prices of precision changes.
        interactions: pairwise scores; a pair of choices is listed once.
        ties: groups of nodes that make the same choice.
        base: paid by every configuration.
        limits: quantity -> upper bound (inclusive).
    """

    choices: FrozenDict[str, FrozenDict[str, Choice]]
    edges: tuple[Edge, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    ties: tuple[tuple[str, ...], ...] = ()
    base: Cost = FREE
    limits: FrozenDict[str, float] = FrozenDict()  # noqa: RUF009  (frozen)

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_ties()
        self._check_edges()
        self._check_interactions()
        self._check_limits()

    def score(self, config: Config) -> float:
        """Total score of `config`, in float64, summed without rounding error."""
        return math.fsum(
            [self.choices[n][config[n]].score for n in self.choices]
            + [price.score for edge in self.edges for price in edge.paid(config)]
            + [i.score for i in self.interactions if tuple(config[n] for n in i.nodes) == i.precisions]
        )

    def cost(self, config: Config) -> Cost:
        """Total cost of `config`; a quantity that any chosen part does not know is `None`."""
        parts = [self.base, *(self.choices[n][config[n]].cost for n in self.choices)]
        parts += [price.cost for edge in self.edges for price in edge.paid(config)]
        return Cost.total(parts)

    def excess(self, config: Config) -> dict[str, float]:
        """Bounded quantities that `config` exceeds by more than float rounding, with by how much."""
        cost = self.cost(config)
        over = {q: _known(cost, q) - limit for q, limit in self.limits.items()}
        return {q: by for q, by in over.items() if by > LIMIT_TOLERANCE * abs(self.limits[q])}

    def is_feasible(self, config: Config) -> bool:
        """Whether every limit and every tie holds."""
        tied = all(len({config[n] for n in group}) <= 1 for group in self.ties)
        return tied and not self.excess(config)

    def _check_choices(self) -> None:
        if not self.choices:
            raise InputError("a problem needs at least one layer")
        for node, options in self.choices.items():
            if not options:
                raise InputError(f"layer {node!r} has no precision left to choose")
            for name, choice in options.items():
                _finite(choice.score, f"score of {node} {name}")
                _not_negative(choice.cost, f"{node} {name}")
        _not_negative(self.base, "base")

    def _check_ties(self) -> None:
        for group in self.ties:
            for node in group:
                self._options(node)
            if len({frozenset(self.choices[n]) for n in group}) > 1:
                raise InputError(f"tied layers need the same precisions: {', '.join(group)}")

    def _check_edges(self) -> None:
        for edge in self.edges:
            for node in (edge.source, *edge.targets):
                self._options(node)
            for price in edge.prices:
                _finite(price.score, f"score of the edge from {edge.source}")
                _not_negative(price.cost, f"edge from {edge.source}")

    def _check_interactions(self) -> None:
        seen: set[frozenset[tuple[str, str]]] = set()
        for pair in self.interactions:
            for node, precision in zip(pair.nodes, pair.precisions, strict=True):
                if precision not in self._options(node):
                    raise UnknownNameError(f"precision of {node}", precision, self.choices[node])
            key = frozenset(zip(pair.nodes, pair.precisions, strict=True))
            if len(set(pair.nodes)) < 2:
                raise InputError(f"an interaction needs two different layers, got {pair.nodes[0]} twice")
            if key in seen:
                raise InputError(f"interaction of {' and '.join(pair.nodes)} is listed twice")
            seen.add(key)
            _finite(pair.score, f"interaction of {' and '.join(pair.nodes)}")

    def _check_limits(self) -> None:
        for quantity, limit in self.limits.items():
            if quantity not in QUANTITIES:
                raise UnknownNameError("quantity", quantity, QUANTITIES)
            _finite(limit, f"limit on {quantity}")
            for node, options in self.choices.items():
                for name, choice in options.items():
                    if choice.cost.get(quantity) is None:
                        raise InputError(f"{quantity} is limited but unknown for {node} {name}")
            parts = [("base", self.base)] + [
                (f"edge from {e.source}", p.cost) for e in self.edges for p in e.prices
            ]
            for what, cost in parts:
                if cost.get(quantity) is None:
                    raise InputError(f"{quantity} is limited but unknown for the {what}")

    def _options(self, node: str) -> FrozenDict[str, Choice]:
        if node not in self.choices:
            raise UnknownNameError("layer", node, self.choices)
        return self.choices[node]


def _finite(value: float, what: str) -> None:
    if not math.isfinite(value):
        raise InputError(f"{what} is {value}; it must be a finite number")


def _not_negative(cost: Cost, what: str) -> None:
    for quantity in QUANTITIES:
        value = cost.get(quantity)
        if value is not None and value < 0:
            raise InputError(f"{quantity} of {what} is {value}; a cost is not negative")


def _known(cost: Cost, quantity: str) -> float:
    value = cost.get(quantity)
    if value is None:
        raise InputError(f"{quantity} is limited but unknown")
    return value
