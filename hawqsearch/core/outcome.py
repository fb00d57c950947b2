"""What a search gives back: the configuration, its predicted and its measured cost, its accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.result import SearchResult
from hawqsearch.core.sensitivity import Score

__all__ = ["SCHEMA_VERSION", "Candidate", "Evaluation", "Latency", "Outcome"]

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latency and energy with the 95 % intervals of their medians where measured; None where unknown."""

    latency_ms: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    ratio: float | None = None
    ratio_high: float | None = None
    energy_mj: float | None = None
    energy_low_mj: float | None = None
    energy_high_mj: float | None = None
    origin: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Keys of the command line's contract, then the interval and the ratio to fp32."""
        return {
            "latency_ms": self.latency_ms,
            "energy_mj": self.energy_mj,
            "origin": self.origin,
            "low_ms": self.low_ms,
            "high_ms": self.high_ms,
            "ratio": self.ratio,
            "energy_low_mj": self.energy_low_mj,
            "energy_high_mj": self.energy_high_mj,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Accuracy on the test split, as a fraction; `runtime` computed it."""

    name: str
    fp32: Score
    int8: Score
    searched: Score
    n: int
    n_groups: int
    runtime: str

    def as_json(self) -> dict[str, Any]:
        """The contract's `metric` object."""
        return {
            "name": self.name,
            "unit": "fraction",
            "split": "test",
            "fp32": self.fp32.value,
            "int8": self.int8.value,
            "searched": self.searched.value,
            "searched_stderr": self.searched.stderr,
            "n": self.n,
            "n_groups": self.n_groups,
            "runtime": self.runtime,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One configuration that could have been returned, with the evidence.

    Args:
        score: of the table.
        loss: cross-entropy on the second half of the search split, None where it was not run.
        divergence: of its answers from fp32's on the same examples, nats; what candidates are ranked by.
        versus_best: its divergence minus that of the best candidate on the same examples.
        meets: whether its measured cost is within the budget; None where nothing measured it.
    """

    name: str
    config: FrozenDict[str, str]
    score: float
    predicted_ms: float | None
    measured: Latency | None
    size_bytes: float
    meets: bool | None
    predicted_mj: float | None = None
    loss: Score | None = None
    divergence: Score | None = None
    versus_best: Score | None = None

    def as_json(self) -> dict[str, Any]:
        """One entry of the contract's `baselines`."""
        return {
            "score": self.score,
            "predicted_ms": self.predicted_ms,
            "measured_ms": None if self.measured is None else self.measured.latency_ms,
            "predicted_mj": self.predicted_mj,
            "measured_mj": None if self.measured is None else self.measured.energy_mj,
            "size_bytes": self.size_bytes,
            "meets": self.meets,
            "loss": _pair(self.loss),
            "divergence": _pair(self.divergence),
            "versus_best": _pair(self.versus_best),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything a search found out.

    Args:
        state: `running`, `done` or `interrupted`.
        result: of the allocation problem that was solved last.
        config: what is returned, node -> precision, joins included; `chosen_by` says why.
        nearest: where nothing meets the budget, the least that can be had.
    """

    state: str
    target: str
    budget: str
    limits: FrozenDict[str, float]
    origin: str
    result: SearchResult | None
    config: FrozenDict[str, str]
    layers: FrozenDict[str, str]
    chosen_by: str
    predicted: Latency
    measured: Latency
    fp32: Latency
    int8: Latency
    metric: Evaluation | None
    size_bytes: float
    fp32_size_bytes: float
    weight_bits: float
    bops: float
    candidates: tuple[Candidate, ...]
    seconds: float
    run_dir: Path | None
    nearest: FrozenDict[str, float] | None = None
    status: str = "INFEASIBLE"

    def as_json(self) -> dict[str, Any]:
        """The one object that `search --json` prints (DESIGN section 6)."""
        result = self.result
        return {
            "schema_version": SCHEMA_VERSION,
            "state": self.state,
            "status": self.status,
            "bound": None if result is None else result.bound,
            "gap": None if result is None else result.gap,
            "score": None if result is None else result.score,
            "chosen_by": self.chosen_by,
            "strategy": None if result is None else result.strategy,
            "target": self.target,
            "budget": self.budget,
            "limits": _all_limits(self.limits),
            "origin": self.origin,
            "predicted": self.predicted.as_json(),
            "measured": self.measured.as_json(),
            "fp32": self.fp32.as_json(),
            "int8": self.int8.as_json(),
            "metric": None if self.metric is None else self.metric.as_json(),
            "size_bytes": self.size_bytes,
            "weight_bits": self.weight_bits,
            "bops": self.bops,
            "n_layers": len(self.layers),
            "layers": dict(self.layers),
            "baselines": {c.name: c.as_json() for c in self.candidates},
            "nearest": None if self.nearest is None else dict(self.nearest),
            "seconds": self.seconds,
            "run_dir": None if self.run_dir is None else str(self.run_dir),
        }


def _pair(score: Score | None) -> dict[str, float] | None:
    return None if score is None else {"value": score.value, "stderr": score.stderr}


def _all_limits(limits: Mapping[str, float]) -> dict[str, float | None]:
    return {q: limits.get(q) for q in ("latency_ms", "energy_mj", "size_bytes", "bops", "weight_bits")}
