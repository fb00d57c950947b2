"""From tables to the allocation problem: which numbers a choice and an edge carry (DESIGN section 2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from hawqsearch.core.cost import FREE, Cost
from hawqsearch.core.energy import EnergyModel
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change
from hawqsearch.core.latency import LatencyModel, Term
from hawqsearch.core.model import INPUT, OUTPUT, ModelSpec, NodeSpec, TensorSpec
from hawqsearch.core.precision import FP32, Precision
from hawqsearch.core.problem import Choice, Edge, EdgePrice, Interaction, SearchProblem
from hawqsearch.core.sensitivity import QuantizerChoice, SensitivityTable
from hawqsearch.core.size import SizeModel
from hawqsearch.core.target import Target
from hawqsearch.errors import InputError

__all__ = ["Tables", "allocation_problem", "configuration_bops"]

_FLOAT_ONLY = (FP32,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Everything that prices a configuration of one network on one target."""

    spec: ModelSpec
    target: Target
    precisions: FrozenDict[str, tuple[Precision, ...]]
    sensitivity: SensitivityTable
    sizes: SizeModel
    latency: LatencyModel | None = None
    energy: EnergyModel | None = None

    def __post_init__(self) -> None:
        if self.sensitivity.fingerprint != self.spec.fingerprint:
            raise InputError("the sensitivities are of another model; analyze this one")


def allocation_problem(
    tables: Tables,
    limits: Mapping[str, float],
    *,
    ties: tuple[tuple[str, ...], ...] = (),
    interactions: bool = False,
) -> SearchProblem:
    """The problem that `tables` and `limits` pose.

    A layer's own score is that of its weights; a kernel that requantizes adds its output tensor's. Where a
    float kernel feeds an integer one, the tensor's score stands on the edge, once for all readers.
    Input and output are nodes without a choice, so that their changes of precision are edges like others.
    """
    within, between = _pair_scores(tables) if interactions else ({}, [])
    choices = {INPUT: _fixed(), OUTPUT: _fixed()}
    for node in tables.spec.nodes:
        choices[node.name] = FrozenDict(
            {
                str(p): _choice(tables, node, p, pairs=within.get((node.name, str(p)), 0.0))
                for p in tables.precisions[node.name]
            }
        )
    base = Cost(
        latency_ms=None if tables.latency is None else tables.latency.fixed_ms,
        energy_mj=None if tables.energy is None else tables.energy.fixed_mj,
        size_bytes=tables.sizes.base,
        bops=0.0,
        weight_bits=0.0,
    )
    return SearchProblem(
        choices=FrozenDict(choices),
        edges=tuple(_edge(tables, tensor) for tensor in tables.spec.tensors),
        interactions=tuple(between),
        ties=(*tables.spec.ties, *ties),
        base=base,
        limits=FrozenDict(limits),
    )


def configuration_bops(spec: ModelSpec, config: Mapping[str, str]) -> float:
    """Sum over layers of MACs x weight bits x activation bits."""
    return sum(_bops(layer, Precision.parse(config.get(layer.name, "fp32"))) for layer in spec.layers)


def _fixed() -> FrozenDict[str, Choice]:
    return FrozenDict({"fp32": Choice(0.0, FREE)})


def _bops(node: NodeSpec, precision: Precision) -> float:
    return float(node.macs * precision.weight.bits * precision.activation.bits)


def _milliseconds(tables: Tables, term: Term) -> float | None:
    return None if tables.latency is None else tables.latency.terms[term]


def _millijoules(tables: Tables, term: Term) -> float | None:
    return None if tables.energy is None else tables.energy.terms[term]


def _choice(tables: Tables, node: NodeSpec, precision: Precision, *, pairs: float) -> Choice:
    kernel = tables.target.kernel(node.op, str(precision))
    term = None if kernel is None else Term(node.name, kernel.timed_as)
    score, size = pairs, 0.0
    if node.is_weighted:
        score += tables.sensitivity.weight(node.name, precision.weight.name).value
        size = tables.sizes.layers[node.name, str(precision)]
    if kernel is not None and kernel.requantizes:
        score += tables.sensitivity.activation(node.tensor, "int8").value
        size += tables.sizes.quantizers[node.tensor]
    cost = Cost(
        latency_ms=0.0 if term is None else _milliseconds(tables, term),
        energy_mj=0.0 if term is None else _millijoules(tables, term),
        size_bytes=size,
        bops=_bops(node, precision),
        weight_bits=float(node.n_weights * precision.weight.bits),
    )
    return Choice(score, cost)


def _edge(tables: Tables, tensor: TensorSpec) -> Edge:
    sources = _precisions(tables, tensor.source)
    readers = {p for t in tensor.targets for p in _precisions(tables, t)}
    leaves_quantized = {p for p in sources if _requantizes(tables, tensor.source, p)}
    rounding = {p for p in readers if p.quantizes_input}
    prices = []
    if rounding and set(sources) - leaves_quantized:
        prices.append(
            EdgePrice(
                sources=_names(set(sources) - leaves_quantized),
                targets=_names(rounding),
                score=tables.sensitivity.activation(tensor.name, "int8").value,
                cost=_change_cost(tables, tensor, Change.TO_INT8, tables.sizes.quantizers[tensor.name]),
            )
        )
    if leaves_quantized and readers - rounding:
        prices.append(
            EdgePrice(
                sources=_names(leaves_quantized),
                targets=_names(readers - rounding),
                cost=_change_cost(tables, tensor, Change.TO_FLOAT, tables.sizes.guards[tensor.name]),
            )
        )
    return Edge(source=tensor.source, targets=tensor.targets, prices=tuple(prices))


def _precisions(tables: Tables, node: str) -> tuple[Precision, ...]:
    return _FLOAT_ONLY if node in (INPUT, OUTPUT) else tables.precisions[node]


def _requantizes(tables: Tables, node: str, precision: Precision) -> bool:
    if node == INPUT:
        return False
    kernel = tables.target.kernel(tables.spec.node(node).op, str(precision))
    return kernel is not None and kernel.requantizes


def _names(precisions: set[Precision]) -> frozenset[str]:
    return frozenset(map(str, precisions))


def _change_cost(tables: Tables, tensor: TensorSpec, change: Change, size: float) -> Cost:
    term = Term(tensor.name, change.value)
    return Cost(
        latency_ms=_milliseconds(tables, term),
        energy_mj=_millijoules(tables, term),
        size_bytes=size,
        bops=0.0,
        weight_bits=0.0,
    )


_NodeChoice = tuple[str, str]
"""Node and precision."""


def _pair_scores(tables: Tables) -> tuple[dict[_NodeChoice, float], list[Interaction]]:
    """Pairs of quantizers as scores of one node's choice, where one kernel makes both, and of two nodes' choices.

    A tensor's quantizer counts with the kernel that makes it; one that stands on an edge has no pairs.
    """
    carriers = _carriers(tables)
    within: dict[_NodeChoice, float] = defaultdict(float)
    between: dict[tuple[_NodeChoice, _NodeChoice], float] = defaultdict(float)
    for pair in tables.sensitivity.pairs:
        for one in carriers[pair.first]:
            for other in carriers[pair.second]:
                if one == other:
                    within[one] += pair.score
                elif one[0] != other[0]:
                    between[min(one, other), max(one, other)] += pair.score
    found = [Interaction((a[0], b[0]), (a[1], b[1]), score) for (a, b), score in between.items()]
    return within, found


def _carriers(tables: Tables) -> dict[QuantizerChoice, list[_NodeChoice]]:
    """Quantizer -> the choices of nodes that come with it."""
    carriers: dict[QuantizerChoice, list[_NodeChoice]] = defaultdict(list)
    for node in tables.spec.nodes:
        for precision in tables.precisions[node.name]:
            choice = (node.name, str(precision))
            if node.is_weighted and not precision.is_float:
                carriers[QuantizerChoice("weight", node.name, precision.weight.name)].append(choice)
            if _requantizes(tables, node.name, precision):
                carriers[QuantizerChoice("activation", node.tensor, "int8")].append(choice)
    return carriers
