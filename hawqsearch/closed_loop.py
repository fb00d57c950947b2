"""Solve, export, time the whole, correct, solve again, until the measured time meets the budget; then choose.

Imports no stage: everything goes through `pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hawqsearch import pipeline
from hawqsearch.core.allocation import configuration_bops
from hawqsearch.core.budget import Budget, BudgetTerm
from hawqsearch.core.cost import Cost
from hawqsearch.core.design import all_float
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import INPUT, OUTPUT
from hawqsearch.core.outcome import Candidate, Latency
from hawqsearch.core.precision import Precision
from hawqsearch.core.problem import SearchProblem
from hawqsearch.core.result import SearchResult, SearchStrategy
from hawqsearch.core.sensitivity import SensitivityTable
from hawqsearch.errors import InfeasibleError

if TYPE_CHECKING:
    from hawqsearch.device import Device
    from hawqsearch.pipeline import Network

__all__ = [
    "LoopEnd",
    "budget_limits",
    "candidates",
    "cheapest",
    "close_loop",
    "float_size_bytes",
    "meets",
    "pose",
    "settled",
    "size_bytes",
    "weight_bits",
    "without_ends",
]

Config = FrozenDict[str, str]

_SOLVES: Final = 6
"""Most configurations of the solver that are timed before the best that met the budget is taken."""
_TIGHT: Final = 0.03
_FIRST_MARGIN: Final = FrozenDict({"latency_ms": 0.005, "energy_mj": 0.01})
"""Share of a limit that the first solve leaves free: about half the interval of a measured median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopEnd:
    """Where the loop came to rest: the problem that was solved last, and its answer."""

    problem: SearchProblem
    result: SearchResult
    limits: FrozenDict[str, float]

    @property
    def config(self) -> Config:
        """The answer without the network's input and output."""
        return without_ends(self.result.config)


def without_ends(config: Mapping[str, str]) -> Config:
    """A configuration of the problem as one of the network: input and output are no nodes of it."""
    return FrozenDict({n: p for n, p in config.items() if n not in (INPUT, OUTPUT)})


def budget_limits(network: Network, budget: Budget, fp32_ms: float | None) -> FrozenDict[str, float]:
    """The budget in absolute numbers."""
    spec = network.spec
    fp32 = Cost(
        latency_ms=fp32_ms,
        size_bytes=float_size_bytes(network),
        bops=configuration_bops(spec, {}),
        weight_bits=32.0 * spec.n_weights,
    )
    return budget.limits(fp32, spec.n_weights)


def float_size_bytes(network: Network) -> float:
    """Bytes of the network in fp32: of its file where there is one."""
    if network.float_model is None:
        return network.sizes.base + sum(network.sizes.layers[n.name, "fp32"] for n in network.spec.layers)
    return float(len(pipeline.deploy(network, all_float(network.spec))))


def size_bytes(network: Network, config: Config) -> float:
    """Bytes of a configuration: of its file where there is one."""
    if network.float_model is not None:
        return float(len(pipeline.deploy(network, config)))
    return network.sizes.base + sum(network.sizes.layers[n.name, config[n.name]] for n in network.spec.layers)


def weight_bits(network: Network, config: Config) -> float:
    """Code bits of all weights."""
    return float(sum(n.n_weights * Precision.parse(config[n.name]).weight.bits for n in network.spec.layers))


def meets(
    network: Network, budget: Budget, limits: Mapping[str, float], config: Config, latency: Latency | None
) -> dict[str, float]:
    """Bounded quantities that `config` exceeds, with by which share; empty where it meets the budget.

    A latency or an energy is met when the upper end of the 95 % interval of its measured median is within the limit:
    of the ratio to fp32 in the same run where the budget is a share, of milliseconds or millijoules otherwise.
    """
    found: dict[str, float] = {}
    for term in budget.terms:
        limit = limits[term.quantity]
        if term.quantity == "latency_ms":
            assert latency is not None
            high, bound = (latency.ratio_high, term.value) if term.relative else (latency.high_ms, limit)
            assert high is not None
            excess = high / bound - 1
        elif term.quantity == "energy_mj":
            assert latency is not None
            assert latency.energy_high_mj is not None
            excess = latency.energy_high_mj / limit - 1
        elif term.quantity == "size_bytes":
            excess = size_bytes(network, config) / limit - 1
        elif term.quantity == "bops":
            excess = configuration_bops(network.spec, config) / limit - 1
        else:
            excess = weight_bits(network, config) / limit - 1
        if excess > 1e-9:
            found[term.quantity] = excess
    return found


def close_loop(
    network: Network,
    sensitivity: SensitivityTable,
    budget: Budget,
    strategy: SearchStrategy,
    device: Device | None,
    *,
    interactions: bool = False,
    on_met: Callable[[LoopEnd], object] = lambda end: None,
) -> LoopEnd:
    """The strategy's answer that meets the budget when measured.

    Each answer is timed whole; where it misses, the problem is posed again with the corrected profile and a
    wider margin, until an answer comes up again that has been found to meet the budget, or the best of those
    that met it. Raises `InfeasibleError` where none did.
    """
    margins = dict(_FIRST_MARGIN) if device is not None and device.is_timed else {}
    met: dict[Config, LoopEnd] = {}
    for _ in range(_SOLVES):
        limits = budget_limits(network, budget, device.fp32_ms if device else None)
        kept = {q: limit * (1 - margins.get(q, 0.0)) for q, limit in limits.items()}
        problem = pose(network, sensitivity, device, kept, interactions=interactions)
        try:
            end = LoopEnd(problem=problem, result=strategy.search(problem), limits=limits)
        except InfeasibleError:
            if met:
                break
            raise
        if end.config in met:
            return end
        seen = _look(device, [end.config], title="the answer, whole")
        missed = meets(network, budget, limits, end.config, seen.get(end.config))
        if not missed:
            met[end.config] = end
            on_met(end)
            timed = device is not None and device.is_timed and _FIRST_MARGIN.keys() & limits
            if not timed or _is_tight(budget, limits, seen[end.config]):
                return end
        for quantity, excess in missed.items():
            margins[quantity] = margins.get(quantity, 0.0) + max(excess, 0.002)
    if not met:
        raise InfeasibleError(
            f"no answer within {budget} met it when measured, in {_SOLVES} tries; raise the budget by 2 %"
        )
    return min(met.values(), key=lambda end: end.result.score)


def pose(
    network: Network,
    sensitivity: SensitivityTable,
    device: Device | None,
    limits: Mapping[str, float],
    *,
    interactions: bool = False,
) -> SearchProblem:
    """The allocation problem at the device's prices."""
    return pipeline.allocate(
        network,
        sensitivity,
        device.latency if device else None,
        limits,
        energy=device.energy if device else None,
        interactions=interactions,
    )


def settled(
    network: Network,
    sensitivity: SensitivityTable,
    device: Device | None,
    config: Config,
    limits: FrozenDict[str, float],
) -> LoopEnd:
    """The end of a loop at `config`, which meets the limits although it was predicted not to: nothing is proven."""
    problem = pose(network, sensitivity, device, {})
    whole = {**config, INPUT: "fp32", OUTPUT: "fp32"}
    return LoopEnd(
        problem=problem, result=SearchResult.of(problem, whole, strategy="cheapest"), limits=limits
    )


def _is_tight(budget: Budget, limits: Mapping[str, float], seen: Latency) -> bool:
    """Whether so little of the latency or energy budget is left that another solve could hardly use it."""
    return any(
        _used_share(term, limits, seen) > 1 - _TIGHT
        for term in budget.terms
        if term.quantity in _FIRST_MARGIN
    )


def _used_share(term: BudgetTerm, limits: Mapping[str, float], seen: Latency) -> float:
    used = seen.energy_mj if term.quantity == "energy_mj" else seen.latency_ms
    used, bound = (seen.ratio, term.value) if term.relative else (used, limits[term.quantity])
    assert used is not None
    return used / bound


def candidates(
    network: Network,
    budget: Budget,
    end: LoopEnd,
    others: Mapping[str, Mapping[str, str]],
    device: Device | None,
) -> tuple[Candidate, ...]:
    """The answer first, then the others that differ from it and from each other, timed and checked."""
    named: dict[str, Config] = {"solver": end.config}
    for name, config in others.items():
        plain = without_ends(config)
        if plain not in named.values():
            named[name] = plain
    seen = _look(device, named.values(), title="baselines, whole")
    return tuple(
        _candidate(network, budget, end, name, config, device, seen.get(config))
        for name, config in named.items()
    )


def _look(device: Device | None, configs: Iterable[Config], *, title: str) -> dict[Config, Latency]:
    """Configuration -> the latency to judge it by; empty where there is no device."""
    if device is None:
        return {}
    known = list(configs)
    device.look(known, title=title)
    return {config: device.seen(config) for config in known}


def _candidate(
    network: Network,
    budget: Budget,
    end: LoopEnd,
    name: str,
    config: Config,
    device: Device | None,
    seen: Latency | None,
) -> Candidate:
    ends = {INPUT: "fp32", OUTPUT: "fp32"}
    predicted = device.predicted(config) if device else Latency()
    return Candidate(
        name=name,
        config=config,
        score=end.problem.score({**config, **ends}),
        predicted_ms=predicted.latency_ms,
        predicted_mj=predicted.energy_mj,
        measured=device.measured(config) if device and device.is_timed else None,
        size_bytes=size_bytes(network, config),
        meets=not meets(network, budget, end.limits, config, seen),
    )


def cheapest(problem: SearchProblem, quantity: str, strategy: SearchStrategy) -> Config:
    """The configuration that costs least of `quantity`, whatever it scores."""

    def cost(of: Cost) -> float:
        return of.get(quantity) or 0.0

    choices = {
        node: FrozenDict({name: replace(c, score=cost(c.cost)) for name, c in options.items()})
        for node, options in problem.choices.items()
    }
    edges = tuple(
        replace(edge, prices=tuple(replace(price, score=cost(price.cost)) for price in edge.prices))
        for edge in problem.edges
    )
    bare = replace(problem, choices=FrozenDict(choices), edges=edges, interactions=(), limits=FrozenDict())
    return without_ends(strategy.search(bare).config)
