"""Configurations of one network side by side: timed in turn, judged on the same examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hawqsearch import closed_loop, pipeline
from hawqsearch.core.design import all_float, all_int8
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.outcome import Latency
from hawqsearch.core.sensitivity import Score
from hawqsearch.device import ModelledDevice, as_latency
from hawqsearch.validate.accuracy import paired_difference

if TYPE_CHECKING:
    from hawqsearch.core.bitconfig import BitConfig
    from hawqsearch.pipeline import Context, Network

__all__ = ["Compared", "compare"]

_ROUNDS: Final = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One row: what a configuration takes, holds and is worth.

    Args:
        latency: unknown where the target has no device.
        accuracy: a fraction of the `n` examples.
        versus_fp32: loss minus fp32's on the same examples.
    """

    name: str
    config: FrozenDict[str, str]
    latency: Latency
    size_bytes: float
    accuracy: Score
    loss: Score
    versus_fp32: Score
    n: int

    def as_json(self) -> dict[str, Any]:
        """The row as `compare --json` prints it."""
        scores = {"accuracy": self.accuracy, "loss": self.loss, "versus_fp32": self.versus_fp32}
        measured = self.latency.origin is None or self.latency.origin.startswith("measured")
        return {
            "measured": (self.latency if measured else Latency()).as_json(),
            "predicted": (Latency() if measured else self.latency).as_json(),
            "size_bytes": self.size_bytes,
            **{name: {"value": s.value, "stderr": s.stderr} for name, s in scores.items()},
            "precisions": dict(self.config),
        }


def compare(
    network: Network, configs: Mapping[str, BitConfig], *, threads: int, context: Context
) -> list[Compared]:
    """fp32, all-int8 and `configs`: latency interleaved, accuracy on the second half of the search split.

    Raises `InputError` where a configuration is of another model.
    """
    spec = network.spec
    asked = {"fp32": all_float(spec), "int8": all_int8(spec, network.target)}
    asked |= {name: config.config(spec) for name, config in configs.items()}
    latencies = _latencies(network, asked, threads=threads, context=context)
    split = network.splits.search
    half = split[slice(len(split) // 2, None)]
    judged = {
        name: pipeline.judge(network, config, half, context=context, title=f"search split: {name}")
        for name, config in asked.items()
    }
    return [
        Compared(
            name=name,
            config=config,
            latency=latencies.get(name, Latency()),
            size_bytes=closed_loop.size_bytes(network, config),
            accuracy=judged[name].accuracy,
            loss=judged[name].mean_loss,
            versus_fp32=paired_difference(judged[name], judged["fp32"]),
            n=len(half),
        )
        for name, config in asked.items()
    ]


def _latencies(
    network: Network, asked: Mapping[str, FrozenDict[str, str]], *, threads: int, context: Context
) -> dict[str, Latency]:
    if network.target.runtime is None:
        return {}
    if network.target.device == "tables":
        device = ModelledDevice.open(network)
        return {name: device.seen(config) for name, config in asked.items()}
    rig = pipeline.local_rig(network.target, threads=threads, batch=network.batch)
    timings = pipeline.time_whole(
        network, rig, asked, rounds=_ROUNDS, context=context, title="whole networks"
    )
    return {name: as_latency(timing, rig) for name, timing in timings.items()}
