"""Solve, export, time the whole, correct, solve again, until the measured time meets the budget; then choose.

Imports no stage: everything goes through `pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from hawqsearch import pipeline
from hawqsearch.core.allocation import configuration_bops
from hawqsearch.core.budget import Budget
from hawqsearch.core.cost import Cost
from hawqsearch.core.design import all_float, all_int8
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.latency import LatencyModel
from hawqsearch.core.model import INPUT, OUTPUT
from hawqsearch.core.outcome import Candidate, Latency
from hawqsearch.core.problem import SearchProblem
from hawqsearch.core.result import SearchResult, SearchStrategy
from hawqsearch.core.sensitivity import SensitivityTable
from hawqsearch.errors import InfeasibleError

if TYPE_CHECKING:
    from hawqsearch.core.hardware import HardwareProfile, Rig
    from hawqsearch.core.timing import Timing
    from hawqsearch.pipeline import Context, Network

__all__ = [
    "Device",
    "LoopEnd",
    "as_latency",
    "budget_limits",
    "candidates",
    "cheapest",
    "close_loop",
    "float_size_bytes",
    "meets",
    "settled",
    "size_bytes",
    "without_ends",
]

Config = FrozenDict[str, str]

_SOLVES: Final = 6
"""Most configurations of the solver that are timed before the best that met the budget is taken."""
_TIMING_ROUNDS: Final = 25
_TIGHT: Final = 0.03
_FIRST_MARGIN: Final = 0.005
"""Share of the latency limit that the first solve leaves free: about half the interval of a measured median."""


@dataclass(slots=True, kw_only=True)
class Device:
    """A target's machine during one run: what was measured on it so far, and the model fitted to that.

    Args:
        ratios: configuration -> latency as a share of fp32's in the same run.
        fp32_ms: fp32's latency, the reference of the ratios.
        measured, predicted_ms: of whole configurations; predicted before they were timed.
    """

    network: Network
    rig: Rig
    hardware: HardwareProfile
    context: Context
    ratios: dict[Config, float]
    fp32_ms: float
    measured: dict[Config, Latency] = field(default_factory=dict)
    predicted_ms: dict[Config, float] = field(default_factory=dict)

    @classmethod
    def open(cls, network: Network, rig: Rig, hardware: HardwareProfile, context: Context) -> Device:
        """The device with fp32 and all-int8 timed, and the design that the correction is fitted on."""
        device = cls(
            network=network,
            rig=rig,
            hardware=hardware,
            context=context,
            ratios=dict(pipeline.design(network, rig, context=context)),
            fp32_ms=1.0,
        )
        device.time([all_int8(network.spec, network.target)], title="fp32 and int8")
        return device

    @property
    def latency(self) -> LatencyModel:
        """The profile with its correction, fitted on all that was timed."""
        return pipeline.correct(self.network, self.hardware, self.ratios, self.fp32_ms)

    def time(self, configs: Iterable[Config], *, title: str) -> None:
        """Time whole configurations, interleaved with fp32, and remember what was predicted before: by the
        profile without them, at the clock of this run."""
        named = {f"config{k}": config for k, config in enumerate(configs)}
        timings = pipeline.time_whole(
            self.network, self.rig, named, rounds=_TIMING_ROUNDS, context=self.context, title=title
        )
        self.fp32_ms = timings["fp32"].latency_ms.median
        model = self.latency  # knows nothing of these configurations yet
        for name, config in {**named, "fp32": all_float(self.network.spec)}.items():
            predicted = model.predict_ms(self.network.spec, self.network.target, config)
            self.predicted_ms.setdefault(config, predicted)
            self.ratios[config] = timings[name].ratio.median
            self.measured[config] = as_latency(timings[name], self.rig)


def as_latency(timing: Timing, rig: Rig) -> Latency:
    """What was timed on `rig`, as outcomes tell it."""
    return Latency(
        latency_ms=timing.latency_ms.median,
        low_ms=timing.latency_ms.low,
        high_ms=timing.latency_ms.high,
        ratio=timing.ratio.median,
        ratio_high=timing.ratio.high,
        origin=f"measured: {rig}",
    )


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


def meets(
    network: Network, budget: Budget, limits: Mapping[str, float], config: Config, latency: Latency | None
) -> dict[str, float]:
    """Bounded quantities that `config` exceeds, with by which share; empty where it meets the budget.

    A latency is met when the upper end of the 95 % interval of its measured median is within the limit: of the
    ratio to fp32 in the same run where the budget is a share, of milliseconds otherwise.
    """
    found: dict[str, float] = {}
    for term in budget.terms:
        limit = limits[term.quantity]
        if term.quantity == "latency_ms":
            assert latency is not None
            high, bound = (latency.ratio_high, term.value) if term.relative else (latency.high_ms, limit)
            assert high is not None
            excess = high / bound - 1
        elif term.quantity == "size_bytes":
            excess = size_bytes(network, config) / limit - 1
        elif term.quantity == "bops":
            excess = configuration_bops(network.spec, config) / limit - 1
        else:
            continue  # weight bits are exact in the problem
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
    margins: dict[str, float] = {"latency_ms": _FIRST_MARGIN}
    met: dict[Config, LoopEnd] = {}
    for _ in range(_SOLVES):
        limits = budget_limits(network, budget, device.fp32_ms if device else None)
        kept = {q: limit * (1 - margins.get(q, 0.0)) for q, limit in limits.items()}
        latency = device.latency if device else None
        problem = pipeline.allocate(network, sensitivity, latency, kept, interactions=interactions)
        try:
            end = LoopEnd(problem=problem, result=strategy.search(problem), limits=limits)
        except InfeasibleError:
            if met:
                break
            raise
        if end.config in met:
            return end
        if device is not None and end.config not in device.measured:
            device.time([end.config], title="the answer, whole")
        missed = meets(network, budget, limits, end.config, device.measured[end.config] if device else None)
        if not missed:
            met[end.config] = end
            on_met(end)
            if (
                device is None
                or "latency_ms" not in limits
                or _is_tight(budget, limits, device.measured[end.config])
            ):
                return end
        for quantity, excess in missed.items():
            margins[quantity] = margins.get(quantity, 0.0) + max(excess, 0.002)
    if not met:
        raise InfeasibleError(
            f"no answer within {budget} met it when measured, in {_SOLVES} tries; raise the budget by 2 %"
        )
    return min(met.values(), key=lambda end: end.result.score)


def settled(
    network: Network,
    sensitivity: SensitivityTable,
    device: Device | None,
    config: Config,
    limits: FrozenDict[str, float],
) -> LoopEnd:
    """The end of a loop at `config`, which meets the limits although it was predicted not to: nothing is proven."""
    latency = device.latency if device else None
    problem = pipeline.allocate(network, sensitivity, latency, {})
    whole = {**config, INPUT: "fp32", OUTPUT: "fp32"}
    return LoopEnd(
        problem=problem, result=SearchResult.of(problem, whole, strategy="cheapest"), limits=limits
    )


def _is_tight(budget: Budget, limits: Mapping[str, float], latency: Latency) -> bool:
    """Whether so little of the latency budget is left that another solve could hardly use it."""
    relative = any(t.relative for t in budget.terms if t.quantity == "latency_ms")
    used = latency.ratio if relative else latency.latency_ms
    bound = (
        next(t.value for t in budget.terms if t.quantity == "latency_ms")
        if relative
        else limits["latency_ms"]
    )
    assert used is not None
    return used > (1 - _TIGHT) * bound


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
    if device is not None:
        todo = [c for c in named.values() if c not in device.measured]
        if todo:
            device.time(todo, title="baselines, whole")
    return tuple(_candidate(network, budget, end, name, config, device) for name, config in named.items())


def _candidate(
    network: Network, budget: Budget, end: LoopEnd, name: str, config: Config, device: Device | None
) -> Candidate:
    ends = {INPUT: "fp32", OUTPUT: "fp32"}
    measured = device.measured[config] if device else None
    return Candidate(
        name=name,
        config=config,
        score=end.problem.score({**config, **ends}),
        predicted_ms=device.predicted_ms.get(config) if device else None,
        measured=measured,
        size_bytes=size_bytes(network, config),
        meets=not meets(network, budget, end.limits, config, measured),
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
