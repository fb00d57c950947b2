"""A target's machine as a run sees it: one that is timed here, or one that a shipped table stands for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from hawqsearch import pipeline
from hawqsearch.core.design import all_float, all_int8
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.latency import LatencyModel
from hawqsearch.core.outcome import Latency
from hawqsearch.core.timing import Timing

if TYPE_CHECKING:
    from hawqsearch.core.hardware import HardwareProfile, Rig
    from hawqsearch.pipeline import Context, Network

__all__ = ["Device", "ModelledDevice", "TimedDevice", "as_latency"]

Config = FrozenDict[str, str]

_TIMING_ROUNDS: Final = 25


class Device(Protocol):
    """What the closed loop asks of a machine."""

    @property
    def is_timed(self) -> bool:
        """Whether whole networks are measured; otherwise a prediction is all there is."""
        ...

    @property
    def latency(self) -> LatencyModel:
        """The profile with its correction, fitted on all that is known."""
        ...

    @property
    def fp32_ms(self) -> float:
        """fp32's latency."""
        ...

    @property
    def origin(self) -> str:
        """Where its numbers come from."""
        ...

    @property
    def runtime(self) -> str:
        """What runs the network there."""
        ...

    def look(self, configs: Iterable[Config], *, title: str) -> None:
        """See to it that the latency of every one of `configs` is known."""
        ...

    def seen(self, config: Config) -> Latency:
        """The latency to judge by: measured where there is a machine, predicted otherwise."""
        ...

    def measured(self, config: Config) -> Latency:
        """What was measured whole; unknown where nothing was."""
        ...

    def predicted(self, config: Config) -> Latency:
        """What the profile said before that very configuration was timed."""
        ...


@dataclass(slots=True, kw_only=True)
class TimedDevice:
    """This machine during one run: what was measured on it so far, and the model fitted to that.

    Args:
        ratios: configuration -> latency as a share of fp32's in the same run.
        fp32_ms: fp32's latency, the reference of the ratios.
    """

    network: Network
    rig: Rig
    hardware: HardwareProfile
    context: Context
    ratios: dict[Config, float]
    fp32_ms: float = 1.0
    timed: dict[Config, Latency] = field(default_factory=dict)
    predicted_ms: dict[Config, float] = field(default_factory=dict)

    @classmethod
    def open(cls, network: Network, rig: Rig, hardware: HardwareProfile, context: Context) -> TimedDevice:
        """The device with fp32 and all-int8 timed, and the design that the correction is fitted on."""
        ratios = dict(pipeline.design(network, rig, context=context))
        device = cls(network=network, rig=rig, hardware=hardware, context=context, ratios=ratios)
        device.look([all_int8(network.spec, network.target)], title="fp32 and int8")
        return device

    @property
    def is_timed(self) -> bool:
        """Whole networks are measured."""
        return True

    @property
    def latency(self) -> LatencyModel:
        """The profile with its correction, fitted on all that was timed."""
        return pipeline.correct(self.network, self.hardware, self.ratios, self.fp32_ms)

    @property
    def origin(self) -> str:
        """The profile's."""
        return self.hardware.origin

    @property
    def runtime(self) -> str:
        """Name and version."""
        return self.rig.runtime

    def look(self, configs: Iterable[Config], *, title: str) -> None:
        """Time those that were not timed yet, interleaved with fp32, and remember what was predicted before:
        by the profile without them, at the clock of this run."""
        named = {f"config{k}": c for k, c in enumerate(dict.fromkeys(configs)) if c not in self.timed}
        if not named:
            return
        timings = pipeline.time_whole(
            self.network, self.rig, named, rounds=_TIMING_ROUNDS, context=self.context, title=title
        )
        self.fp32_ms = timings["fp32"].latency_ms.median
        model = self.latency  # knows nothing of these configurations yet
        for name, config in {**named, "fp32": all_float(self.network.spec)}.items():
            predicted = model.predict_ms(self.network.spec, self.network.target, config)
            self.predicted_ms.setdefault(config, predicted)
            self.ratios[config] = timings[name].ratio.median
            self.timed[config] = as_latency(timings[name], self.rig)

    def seen(self, config: Config) -> Latency:
        """As measured."""
        return self.timed[config]

    def measured(self, config: Config) -> Latency:
        """As measured, unknown where it was not."""
        return self.timed.get(config, Latency())

    def predicted(self, config: Config) -> Latency:
        """Unknown for what was never looked at."""
        if config not in self.predicted_ms:
            return Latency()
        origin = f"predicted: parts measured alone, corrected by whole networks; {self.rig}"
        return Latency(latency_ms=self.predicted_ms[config], origin=origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelledDevice:
    """A machine that is not here: a shipped table or a board's profile stands for it, and nothing is timed whole."""

    network: Network
    hardware: HardwareProfile
    latency: LatencyModel

    @classmethod
    def open(cls, network: Network) -> ModelledDevice:
        """The machine that the target's shipped tables describe."""
        hardware, latency = pipeline.shipped(network)
        return cls(network=network, hardware=hardware, latency=latency)

    @classmethod
    def of_board(cls, network: Network, measured: HardwareProfile, context: Context) -> ModelledDevice:
        """A board, by what was measured on it."""
        hardware, latency = pipeline.from_board(network, measured, context=context)
        return cls(network=network, hardware=hardware, latency=latency)

    @property
    def is_timed(self) -> bool:
        """Nothing is measured."""
        return False

    @property
    def fp32_ms(self) -> float:
        """fp32's latency by the model."""
        return self._predict(all_float(self.network.spec))

    @property
    def origin(self) -> str:
        """The table's."""
        return self.hardware.origin

    @property
    def runtime(self) -> str:
        """The table's runtime; its integer kernels answer as the local one's do."""
        return self.hardware.rig.runtime

    def look(self, configs: Iterable[Config], *, title: str) -> None:
        """Nothing to do: every configuration can be predicted."""

    def seen(self, config: Config) -> Latency:
        """As predicted."""
        return self.predicted(config)

    def measured(self, config: Config) -> Latency:
        """Unknown."""
        return Latency()

    def predicted(self, config: Config) -> Latency:
        """By the table and its correction."""
        latency_ms = self._predict(config)
        ratio = latency_ms / self.fp32_ms
        return Latency(
            latency_ms=latency_ms,
            low_ms=latency_ms,
            high_ms=latency_ms,
            ratio=ratio,
            ratio_high=ratio,
            origin=self.origin.replace("measured: ", "predicted: parts measured alone; ", 1),
        )

    def _predict(self, config: Config) -> float:
        return self.latency.predict_ms(self.network.spec, self.network.target, config)


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
