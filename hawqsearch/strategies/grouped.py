"""A search problem rewritten for solvers: one variable per tie group, prices as sums of pairwise terms.

Every number is a vector: the score first, then the bounded quantities in the order of `quantities`.
A price with several possible payers ("any of these consumers") becomes a pairwise term between the source and
an *any* term: a yes-or-no variable that is yes if any of its members makes one of its choices.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hawqsearch.core.cost import Cost
from hawqsearch.core.problem import Edge, EdgePrice, SearchProblem

__all__ = ["AnyOf", "Group", "Grouped", "Matrix", "Vector", "add", "group_problem", "tied_nodes"]

Vector = tuple[float, ...]
Matrix = dict[tuple[int, int], Vector]
"""(option of the first, option of the second) -> what the two cost together; left out is zero."""


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that make one choice together; `vectors[p]` is what option `p` costs all of them."""

    nodes: tuple[str, ...]
    options: tuple[str, ...]
    vectors: tuple[Vector, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Yes (option 1) if any member group makes one of its listed options, else no (option 0)."""

    members: tuple[tuple[int, frozenset[int]], ...]

    def value(self, choice: Sequence[int]) -> int:
        """1 for yes, 0 for no."""
        return int(any(choice[group] in options for group, options in self.members))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """What is left to choose: groups of two options or more, and what they cost alone and in pairs.

    In `pairs`, index `i < len(groups)` is a group, and `len(groups) + j` is `anys[j]` (always second).
    """

    quantities: tuple[str, ...]
    rooms: tuple[float, ...]
    constant: Vector
    groups: tuple[Group, ...]
    anys: tuple[AnyOf, ...]
    pairs: Mapping[tuple[int, int], Matrix]
    fixed: Mapping[str, str]

    @property
    def size(self) -> int:
        """How many options there are."""
        return sum(len(group.options) for group in self.groups)

    def config(self, choice: Sequence[int]) -> dict[str, str]:
        """The choice of an option per group as a configuration of the problem."""
        chosen = {n: g.options[p] for g, p in zip(self.groups, choice, strict=True) for n in g.nodes}
        return dict(self.fixed) | chosen

    def vector(self, choice: Sequence[int]) -> Vector:
        """Score and bounded costs of `choice`."""
        values = [*choice, *(a.value(choice) for a in self.anys)]
        parts = [self.constant, *(g.vectors[p] for g, p in zip(self.groups, choice, strict=True))]
        parts += [m[key] for (i, j), m in self.pairs.items() if (key := (values[i], values[j])) in m]
        return tuple(sum(column) for column in zip(*parts, strict=True))

    def choice(self, config: Mapping[str, str]) -> list[int]:
        """The inverse of `config`."""
        return [g.options.index(config[g.nodes[0]]) for g in self.groups]

    def holds(self, config: Mapping[str, str]) -> bool:
        """Whether every group still has the option that `config` takes."""
        return all(config[g.nodes[0]] in g.options for g in self.groups)

    def restricted(self, keep: Sequence[Sequence[int]]) -> Grouped:
        """The same problem with only the options `keep[g]` of each group `g`."""
        new = [{old: i for i, old in enumerate(options)} for options in keep]
        both = {0: 0, 1: 1}
        maps = [*new, *(both for _ in self.anys)]
        return replace(
            self,
            groups=tuple(_restricted_group(g, options) for g, options in zip(self.groups, keep, strict=True)),
            anys=tuple(
                AnyOf(
                    tuple(
                        (g, frozenset(new[g][p] for p in options if p in new[g])) for g, options in a.members
                    )
                )
                for a in self.anys
            ),
            pairs={
                (a, b): {
                    (maps[a][p], maps[b][q]): vector
                    for (p, q), vector in matrix.items()
                    if p in maps[a] and q in maps[b]
                }
                for (a, b), matrix in self.pairs.items()
            },
        )


def _restricted_group(group: Group, keep: Sequence[int]) -> Group:
    options, vectors = tuple(group.options[p] for p in keep), tuple(group.vectors[p] for p in keep)
    return Group(group.nodes, options, vectors)


def add(a: Vector, b: Vector) -> Vector:
    """The sum of two vectors."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def group_problem(problem: SearchProblem) -> Grouped:
    """`problem` with its ties merged, its decided layers folded in and its prices split into pairs."""
    builder = _Builder(problem, tuple(problem.limits))
    for edge in problem.edges:
        builder.add_edge(edge)
    for pair in problem.interactions:
        (a, b), (p, q) = pair.nodes, pair.precisions
        builder.add_price(
            a, (b,), EdgePrice(sources=frozenset({p}), targets=frozenset({q}), score=pair.score)
        )
    return builder.result()


@dataclass(slots=True)
class _Builder:
    problem: SearchProblem
    quantities: tuple[str, ...]
    groups: list[tuple[str, ...]] = field(default_factory=list)
    options: list[tuple[str, ...]] = field(default_factory=list)
    unary: list[list[Vector]] = field(default_factory=list)
    of: dict[str, int] = field(default_factory=dict)
    constant: Vector = ()
    anys: dict[tuple[tuple[int, frozenset[int]], ...], int] = field(default_factory=dict)
    pairs: dict[tuple[int, int], Matrix] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constant = self._vector(0.0, self.problem.base)
        for nodes in tied_nodes(self.problem):
            self._add_group(nodes)

    def _add_group(self, nodes: tuple[str, ...]) -> None:
        choices = self.problem.choices
        options = tuple(choices[nodes[0]])
        vectors = [
            _total(self._vector(choices[n][p].score, choices[n][p].cost) for n in nodes) for p in options
        ]
        if len(options) == 1:
            self.constant = add(self.constant, vectors[0])
            self.fixed |= dict.fromkeys(nodes, options[0])
            return
        self.of |= dict.fromkeys(nodes, len(self.groups))
        self.groups.append(nodes)
        self.options.append(options)
        self.unary.append(vectors)

    def add_edge(self, edge: Edge) -> None:
        """Add every price of `edge`."""
        for price in edge.prices:
            self.add_price(edge.source, edge.targets, price)

    def add_price(self, source: str, targets: Iterable[str], price: EdgePrice) -> None:
        """Add what is paid if `source` has one of the price's sources and any of `targets` its targets."""
        vector = self._vector(price.score, price.cost)
        paying = self._paying(source, price.sources)
        readers: dict[int, frozenset[int]] = {}
        surely = False
        for target in dict.fromkeys(targets):
            reading = self._paying(target, price.targets)
            if isinstance(reading, bool):
                surely |= reading
            else:
                group, options = reading
                readers[group] = readers.get(group, frozenset()) | options
        if any(vector) and paying is not False and (readers or surely):
            self._split(paying, None if surely else readers, vector)

    def _split(
        self,
        paying: tuple[int, frozenset[int]] | bool,
        readers: dict[int, frozenset[int]] | None,
        vector: Vector,
    ) -> None:
        """Add a price whose readers, if None, are surely reading."""
        if readers is None:
            self._add_unary(paying, vector)
        elif isinstance(paying, bool):
            self._add_reader(readers, vector)
        else:
            source, options = paying
            both = options & readers.get(source, frozenset())
            self._add_unary((source, both), vector)
            others = {g: o for g, o in readers.items() if g != source}
            if others and options - both:
                self._add_pair(source, options - both, others, vector)

    def _add_unary(self, paying: tuple[int, frozenset[int]] | bool, vector: Vector) -> None:
        if isinstance(paying, bool):
            self.constant = add(self.constant, vector)
            return
        group, options = paying
        for p in options:
            self.unary[group][p] = add(self.unary[group][p], vector)

    def _add_reader(self, readers: dict[int, frozenset[int]], vector: Vector) -> None:
        (first, options), *others = readers.items()
        self._add_unary((first, options), vector)
        rest = frozenset(range(len(self.options[first]))) - options
        if others and rest:
            self._add_pair(first, rest, dict(others), vector)

    def _add_pair(
        self, source: int, options: frozenset[int], readers: dict[int, frozenset[int]], vector: Vector
    ) -> None:
        if len(readers) == 1:
            ((reader, reading),) = readers.items()
        else:
            reader, reading = self._any(readers), frozenset({1})
        flip = 0 <= reader < source
        matrix = self.pairs.setdefault((reader, source) if flip else (source, reader), {})
        for p, q in itertools.product(options, reading):
            key = (q, p) if flip else (p, q)
            matrix[key] = add(matrix[key], vector) if key in matrix else vector

    def _any(self, readers: dict[int, frozenset[int]]) -> int:
        members = tuple(sorted(readers.items(), key=lambda item: item[0]))
        return -1 - self.anys.setdefault(members, len(self.anys))

    def _paying(self, node: str, names: frozenset[str]) -> tuple[int, frozenset[int]] | bool:
        if node in self.fixed:
            return self.fixed[node] in names
        group = self.of[node]
        options = frozenset(p for p, name in enumerate(self.options[group]) if name in names)
        if len(options) in (0, len(self.options[group])):
            return bool(options)
        return group, options

    def _vector(self, score: float, cost: Cost) -> Vector:
        return (score, *(cost.get(q) or 0.0 for q in self.quantities))

    def result(self) -> Grouped:
        """All that was added."""
        n = len(self.groups)
        groups = zip(self.groups, self.options, self.unary, strict=True)
        return Grouped(
            quantities=self.quantities,
            rooms=tuple(self.problem.limits[q] for q in self.quantities),
            constant=self.constant,
            groups=tuple(Group(nodes, options, tuple(vectors)) for nodes, options, vectors in groups),
            anys=tuple(AnyOf(members) for members in self.anys),
            pairs={(i, j if j >= 0 else n - 1 - j): m for (i, j), m in self.pairs.items()},
            fixed=self.fixed,
        )


def tied_nodes(problem: SearchProblem) -> list[tuple[str, ...]]:
    """Groups of nodes that make one choice, overlapping ties merged, in the order of the problem."""
    group_of = {node: [node] for node in problem.choices}
    for tie in problem.ties:
        for node in tie[1:]:
            first, second = group_of[tie[0]], group_of[node]
            if first is not second:
                first.extend(second)
                group_of.update(dict.fromkeys(second, first))
    order = {node: i for i, node in enumerate(problem.choices)}
    unique = {id(group): tuple(sorted(group, key=order.__getitem__)) for group in group_of.values()}
    return list(unique.values())


def _total(vectors: Iterable[Vector]) -> Vector:
    return tuple(sum(column) for column in zip(*vectors, strict=True))
