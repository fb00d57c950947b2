"""The integer linear program of a grouped problem, built with PuLP.

One binary per (group, option). A pairwise term merges the options that its matrix cannot tell apart, takes
out what is a sum of a row and a column value, and pays the rest through one continuous variable per pair of
classes, bounded by the local polytope of both groups (the transportation form with its base row and column
substituted away), which is tight for a single pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import pulp

from hawqsearch.strategies.grouped import Grouped, Matrix, Vector

__all__ = ["Program", "build_program"]

_LARGEST: Final = 1e4
"""The objective and the limits are scaled so that their largest number is about this: small terms stay far
above the solver's absolute tolerances (1e-9 here), and large ones do not trouble its arithmetic."""

_NOISE: Final = 4e-16
"""Relative: a difference this small between sums of matrix entries is float rounding."""

Terms = dict[pulp.LpVariable, float]


@dataclass(slots=True)
class Program:
    """A program with the key to read it: `choose[g][p]` is 1 where group `g` makes option `p`.

    True score = (objective of the solver + `offset`) / `scale`.
    """

    lp: pulp.LpProblem
    choose: list[list[pulp.LpVariable]]
    scale: float
    offset: float

    def forbid(self, choice: Sequence[int]) -> None:
        """Cut off exactly this choice."""
        taken = {variables[p]: 1.0 for variables, p in zip(self.choose, choice, strict=True)}
        _at_most(self.lp, taken, len(self.choose) - 1.0)


def build_program(grouped: Grouped, rooms: Sequence[float]) -> Program:
    """The program that minimizes the score of `grouped` with each bounded quantity at most its room."""
    builder = _Builder(grouped)
    for g, group in enumerate(grouped.groups):
        builder.add_group(g, group.vectors)
    for any_of in grouped.anys:
        builder.add_any_of(any_of.members)
    for (a, b), matrix in grouped.pairs.items():
        builder.add_pair(a, b, matrix)
    return builder.finish(rooms)


@dataclass(slots=True)
class _Builder:
    grouped: Grouped
    lp: pulp.LpProblem = field(default_factory=lambda: pulp.LpProblem("allocation", pulp.LpMinimize))
    nodes: list[list[pulp.LpVariable | None]] = field(default_factory=list)
    columns: dict[pulp.LpVariable, Vector] = field(default_factory=dict)
    constant: Vector = ()

    def __post_init__(self) -> None:
        self.constant = self.grouped.constant

    def add_group(self, g: int, vectors: Sequence[Vector]) -> None:
        """One binary per option, of which exactly one is 1."""
        variables = [self.lp.add_variable(f"x{g}_{p}", 0, 1, pulp.LpInteger) for p in range(len(vectors))]
        self.columns |= dict(zip(variables, vectors, strict=True))
        _add_row(self.lp, dict.fromkeys(variables, 1.0), pulp.LpConstraintEQ, 1.0)
        self.nodes.append(list(variables))

    def add_any_of(self, members: Iterable[tuple[int, frozenset[int]]]) -> None:
        """A variable between the largest member and their sum: 0 or 1 wherever the groups are decided."""
        yes = self.lp.add_variable(f"z{len(self.nodes)}", 0, 1)
        everything: Terms = {yes: 1.0}
        for group, options in members:
            member: Terms = {self._choose(group, p): 1.0 for p in options}
            _at_most(self.lp, member | {yes: -1.0}, 0.0)
            everything |= dict.fromkeys(member, -1.0)
        _at_most(self.lp, everything, 0.0)
        self.nodes.append([None, yes])

    def add_pair(self, a: int, b: int, matrix: Matrix) -> None:
        """What `a` and `b` cost together."""
        zero = (0.0,) * len(self.constant)
        table = [
            [matrix.get((p, q), zero) for q in range(len(self.nodes[b]))] for p in range(len(self.nodes[a]))
        ]
        rows = _classes([tuple(row) for row in table])
        columns = _classes(list(zip(*table, strict=True)))
        small = [[table[row[0]][column[0]] for column in columns] for row in rows]
        corner = small[0][0]
        for i, row in enumerate(rows):
            self._add_to(a, row, _minus(small[i][0], corner))
        for j, column in enumerate(columns):
            self._add_to(b, column, small[0][j])
        rest = [[_curvature(small, i, j) for j in range(1, len(columns))] for i in range(1, len(rows))]
        if any(any(vector) for row in rest for vector in row):
            self._add_products(a, rows[1:], b, columns[1:], rest)

    def _add_products(
        self, a: int, rows: list[list[int]], b: int, columns: list[list[int]], costs: list[list[Vector]]
    ) -> None:
        """One variable per pair of classes, equal to the product of both wherever the groups are decided."""
        products = [
            [self.lp.add_variable(f"y{a}_{b}_{i}_{j}", 0, 1) for j in range(len(columns))]
            for i in range(len(rows))
        ]
        for variables, vectors in zip(products, costs, strict=True):
            self.columns |= dict(zip(variables, vectors, strict=True))
        all_costs = [value for row in costs for vector in row for value in vector]
        single = len(rows) == len(columns) == 1
        if not (single and min(all_costs) >= 0):
            for row, variables in zip(rows, products, strict=True):
                _at_most(self.lp, dict.fromkeys(variables, 1.0) | self._chosen(a, row, -1.0), 0.0)
            for j, column in enumerate(columns):
                variables = [row[j] for row in products]
                _at_most(self.lp, dict.fromkeys(variables, 1.0) | self._chosen(b, column, -1.0), 0.0)
        if not (single and max(all_costs) <= 0):
            chosen = self._chosen(a, chain(*rows), 1.0) | self._chosen(b, chain(*columns), 1.0)
            _at_most(self.lp, chosen | {y: -1.0 for variables in products for y in variables}, 1.0)

    def _add_to(self, node: int, options: Iterable[int], vector: Vector) -> None:
        if not any(vector):
            return
        for p in options:
            variable = self.nodes[node][p]
            if variable is not None:
                self.columns[variable] = tuple(
                    x + y
                    for x, y in zip(self.columns.get(variable, (0.0,) * len(vector)), vector, strict=True)
                )
            else:  # "none of them" is 1 - "any of them"
                self.constant = tuple(x + y for x, y in zip(self.constant, vector, strict=True))
                self._add_to(node, [1], tuple(-x for x in vector))

    def _chosen(self, node: int, options: Iterable[int], sign: float) -> Terms:
        return {self._choose(node, p): sign for p in options}

    def _choose(self, node: int, option: int) -> pulp.LpVariable:
        variable = self.nodes[node][option]
        assert variable is not None
        return variable

    def finish(self, rooms: Sequence[float]) -> Program:
        """The program with its limits and its objective, both scaled."""
        for q, room in enumerate(rooms, start=1):
            costs = {variable: vector[q] for variable, vector in self.columns.items() if vector[q]}
            scale = _scale([*costs.values(), room])
            _at_most(self.lp, _scaled(costs, scale), scale * (room - self.constant[q]))
        scores = {variable: vector[0] for variable, vector in self.columns.items()}
        scale = _scale(scores.values())
        self.lp.setObjective(pulp.LpAffineExpression(_scaled(scores, scale)))
        choose = [[v for v in node if v is not None] for node in self.nodes[: len(self.grouped.groups)]]
        return Program(self.lp, choose, scale, scale * self.constant[0])


def _classes(lines: Sequence[tuple[Vector, ...]]) -> list[list[int]]:
    """Indices of equal lines together, the largest class (the base) first; an `AnyOf` has "no" first."""
    classes: dict[tuple[Vector, ...], list[int]] = {}
    for index, line in enumerate(lines):
        classes.setdefault(line, []).append(index)
    return sorted(classes.values(), key=lambda indices: (-len(indices), indices))


def _curvature(table: list[list[Vector]], i: int, j: int) -> Vector:
    """What entry (i, j) costs beyond its row's and its column's share; 0 where only rounding is left."""
    corners = zip(table[i][j], table[0][0], table[i][0], table[0][j], strict=True)
    return tuple(_rounded(math.fsum((a, b, -c, -d)), max(map(abs, (a, b, c, d)))) for a, b, c, d in corners)


def _rounded(value: float, largest: float) -> float:
    return 0.0 if abs(value) <= _NOISE * largest else value


def _minus(a: Vector, b: Vector) -> Vector:
    return tuple(x - y for x, y in zip(a, b, strict=True))


def _scale(values: Iterable[float]) -> float:
    largest = max(map(abs, values), default=0.0)
    return 2.0 ** math.floor(math.log2(_LARGEST / largest)) if largest > 0 else 1.0


def _scaled(terms: Terms, scale: float) -> Terms:
    return {variable: scale * value for variable, value in terms.items()}


def _at_most(lp: pulp.LpProblem, terms: Terms, bound: float) -> None:
    _add_row(lp, terms, pulp.LpConstraintLE, bound)


def _add_row(lp: pulp.LpProblem, terms: Terms, sense: int, bound: float) -> None:
    lp.addConstraint(pulp.LpConstraint(pulp.LpAffineExpression(terms), sense, rhs=bound))
