"""`hawqsearch.problem` files: the numbers of a search problem as JSON, version 1, without any model.

More than the plain form says, in reading and writing alike: either of the two `precisions` of an edge's price
may be a list of names (paid once for any source in the first, any consumer in the second); `weight_bits` is one
more quantity; a cost that an edge or the base leaves out is 0, and `null` there says that it is unknown.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from hawqsearch.core.cost import QUANTITIES, Cost
from hawqsearch.core.files import write_atomic
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.json_document import Part, named, read_document
from hawqsearch.core.problem import Choice, Edge, EdgePrice, Interaction, SearchProblem
from hawqsearch.errors import UnknownNameError

__all__ = ["SCHEMA", "SCHEMA_VERSION", "read_problem", "write_problem"]

SCHEMA: Final = "hawqsearch.problem"
SCHEMA_VERSION: Final = 1

_NotNegative = Annotated[float, Field(ge=0.0)]
_Names = Annotated[
    list[str],
    BeforeValidator(lambda given: [given] if isinstance(given, str) else given),
    Field(min_length=1),
]


class _Costs(Part):
    latency_ms: _NotNegative | None = None
    energy_mj: _NotNegative | None = None
    size_bytes: _NotNegative | None = None
    bops: _NotNegative | None = None
    weight_bits: _NotNegative | None = None

    def known(self) -> Cost:
        """The cost where what is left out is unknown."""
        return Cost(**{q: getattr(self, q) for q in QUANTITIES})

    def added(self) -> Cost:
        """The cost where what is left out adds nothing, and an explicit null is unknown."""
        return Cost(**{q: getattr(self, q) if q in self.model_fields_set else 0.0 for q in QUANTITIES})


class _Cell(_Costs):
    score: float


class _Price(_Costs):
    precisions: Annotated[list[_Names], Field(min_length=2, max_length=2)]
    score: float = 0.0


class _Edge(Part):
    source: str = Field(alias="from")
    to: _Names
    costs: list[_Price]


class _Pair(Part):
    layers: Annotated[list[str], Field(min_length=2, max_length=2)]
    precisions: Annotated[list[str], Field(min_length=2, max_length=2)]
    score: float


class _Limits(Part):
    latency_ms: _NotNegative = 0.0
    energy_mj: _NotNegative = 0.0
    size_bytes: _NotNegative = 0.0
    bops: _NotNegative = 0.0
    weight_bits: _NotNegative = 0.0


class _File(Part):
    schema_name: Literal["hawqsearch.problem"] = Field(alias="schema")
    schema_version: Literal[1]
    layers: dict[str, dict[str, _Cell]]
    ties: list[list[str]] = Field(default_factory=list)
    edges: list[_Edge] = Field(default_factory=list)
    interactions: list[_Pair] = Field(default_factory=list)
    base: _Costs = _Costs()
    limits: _Limits = _Limits()


def read_problem(path: str | os.PathLike[str]) -> SearchProblem:
    """The problem that the file at `path` holds.

    Raises:
        InputError: there is no such file, or it cannot be read.
        FileFormatError: it is not a problem of this version; one line that says where and why.
    """
    with named(path):
        problem = _problem(read_document(path, _File, SCHEMA, SCHEMA_VERSION, _KEYS))
        _check_edge_names(problem)
    return problem


def write_problem(problem: SearchProblem, path: str | os.PathLike[str]) -> None:
    """Write `problem` to `path`, whole or not at all; `read_problem` gives an equal one back."""
    write_atomic(path, json.dumps(_document(problem), indent=1, allow_nan=False) + "\n")


def _problem(file: _File) -> SearchProblem:
    return SearchProblem(
        choices=FrozenDict({name: _choices(cells) for name, cells in file.layers.items()}),
        edges=tuple(_edge(edge) for edge in file.edges),
        interactions=tuple(_interaction(pair) for pair in file.interactions),
        ties=tuple(tuple(group) for group in file.ties),
        base=file.base.added(),
        limits=FrozenDict(
            {q: getattr(file.limits, q) for q in QUANTITIES if q in file.limits.model_fields_set}
        ),
    )


def _choices(cells: dict[str, _Cell]) -> FrozenDict[str, Choice]:
    return FrozenDict({name: Choice(cell.score, cell.known()) for name, cell in cells.items()})


def _edge(edge: _Edge) -> Edge:
    return Edge(
        source=edge.source, targets=tuple(edge.to), prices=tuple(_price(price) for price in edge.costs)
    )


def _price(price: _Price) -> EdgePrice:
    sources, targets = (frozenset(names) for names in price.precisions)
    return EdgePrice(sources=sources, targets=targets, score=price.score, cost=price.added())


def _interaction(pair: _Pair) -> Interaction:
    a, b = pair.layers
    p, q = pair.precisions
    return Interaction((a, b), (p, q), pair.score)


def _check_edge_names(problem: SearchProblem) -> None:
    for edge in problem.edges:
        offered = {name for target in edge.targets for name in problem.choices[target]}
        for price in edge.prices:
            _check_known(price.sources, problem.choices[edge.source], edge.source)
            _check_known(price.targets, offered, " or ".join(edge.targets))


def _check_known(names: Iterable[str], known: Iterable[str], layer: str) -> None:
    for name in names:
        if name not in known:
            raise UnknownNameError(f"precision of {layer}", name, known)


def _document(problem: SearchProblem) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "layers": {
            node: {p: _cell(choice) for p, choice in cells.items()} for node, cells in problem.choices.items()
        },
        "ties": [list(group) for group in problem.ties],
        "edges": [_edge_document(edge) for edge in problem.edges],
        "interactions": [
            {"layers": list(pair.nodes), "precisions": list(pair.precisions), "score": pair.score}
            for pair in problem.interactions
        ],
        "base": _added(problem.base),
        "limits": dict(problem.limits),
    }


def _cell(choice: Choice) -> dict[str, float]:
    known = {q: value for q in QUANTITIES if (value := choice.cost.get(q)) is not None}
    return {"score": choice.score} | known


def _added(cost: Cost) -> dict[str, float | None]:
    return {q: cost.get(q) for q in QUANTITIES if cost.get(q) != 0.0}


def _edge_document(edge: Edge) -> dict[str, object]:
    to = edge.targets[0] if len(edge.targets) == 1 else list(edge.targets)
    return {"from": edge.source, "to": to, "costs": [_price_document(price) for price in edge.prices]}


def _price_document(price: EdgePrice) -> dict[str, object]:
    names = [_one_or_list(price.sources), _one_or_list(price.targets)]
    return {"precisions": names, "score": price.score} | _added(price.cost)


def _one_or_list(names: frozenset[str]) -> str | list[str]:
    return next(iter(names)) if len(names) == 1 else sorted(names)


_KEYS: Final = sorted(
    {
        field.alias or name
        for part in (_File, _Cell, _Price, _Edge, _Pair, _Limits)
        for name, field in part.model_fields.items()
    }
)
