"""A target's machine as a run sees it: one that is timed here, or one that a shipped table stands for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from hawqsearch import metering, pipeline
from hawqsearch.core.design import all_float, all_int8
from hawqsearch.core.energy import EnergyModel
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.latency import LatencyModel
from hawqsearch.core.outcome import Latency
from hawqsearch.core.timing import Timing

if TYPE_CHECKING:
    from hawqsearch.core.hardware import HardwareProfile, Rig
    from hawqsearch.hardware.energy.meter import EnergyReading, Meter
    from hawqsearch.pipeline import Context, Network

__all__ = ["Device", "ModelledDevice", "TimedDevice", "as_latency"]

Config = FrozenDict[str, str]

_TIMING_ROUNDS: Final = 25
_NORMAL_95: Final = 1.96


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
    def energy(self) -> EnergyModel | None:
        """The same of energy; None where it is not known."""
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
        """See to it that the cost of every one of `configs` is known."""
        ...

    def seen(self, config: Config) -> Latency:
        """The cost to judge by: measured where there is a machine, predicted otherwise."""
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
        reader: None where no energy is asked for.
        metered_mj: configuration -> energy.
    """

    network: Network
    rig: Rig
    hardware: HardwareProfile
    context: Context
    ratios: dict[Config, float]
    fp32_ms: float = 1.0
    timed: dict[Config, Latency] = field(default_factory=dict)
    predicted_ms: dict[Config, float] = field(default_factory=dict)
    reader: Meter | None = None
    metered_mj: dict[Config, float] = field(default_factory=dict)
    predicted_mj: dict[Config, float] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        network: Network,
        rig: Rig,
        hardware: HardwareProfile,
        context: Context,
        *,
        reader: Meter | None = None,
    ) -> TimedDevice:
        """The device with fp32 and all-int8 timed, and the design that the correction is fitted on."""
        ratios = dict(pipeline.design(network, rig, context=context))
        device = cls(
            network=network, rig=rig, hardware=hardware, context=context, ratios=ratios, reader=reader
        )
        if reader is not None:
            device.metered_mj.update(metering.meter_design(network, rig, reader, context=context))
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
    def energy(self) -> EnergyModel | None:
        """The profile's energy with its correction, fitted on all that was metered."""
        if self.reader is None:
            return None
        return metering.correct_energy(self.network, self.hardware, self.metered_mj)

    @property
    def origin(self) -> str:
        """The profile's."""
        return self.hardware.origin

    @property
    def runtime(self) -> str:
        """Name and version."""
        return self.rig.runtime

    def look(self, configs: Iterable[Config], *, title: str) -> None:
        """Measure those that were not measured yet, and remember what was predicted before: by the profile without
        them, at the clock of this run. Times are interleaved with fp32's; energy is metered after."""
        named = {f"config{k}": c for k, c in enumerate(dict.fromkeys(configs)) if c not in self.timed}
        if not named:
            return
        self._time(named, title)
        if self.reader is not None:
            self._meter(named, self.reader, title)

    def _time(self, named: dict[str, Config], title: str) -> None:
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

    def _meter(self, named: dict[str, Config], reader: Meter, title: str) -> None:
        fp32 = all_float(self.network.spec)
        todo = dict(named) if self.timed[fp32].energy_mj is not None else {**named, "fp32": fp32}
        model = self.energy
        readings = metering.meter_whole(
            self.network, self.rig, todo, reader, context=self.context, title=f"energy: {title}"
        )
        for name, config in todo.items():
            if model is not None:
                predicted = model.predict_mj(self.network.spec, self.network.target, config)
                self.predicted_mj.setdefault(config, predicted)
            self.metered_mj[config] = readings[name].median_mj
            self.timed[config] = _with_energy(self.timed[config], readings[name])

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
        energy_mj = self.predicted_mj.get(config)
        return Latency(latency_ms=self.predicted_ms[config], energy_mj=energy_mj, origin=origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelledDevice:
    """A machine that is not here: a shipped table or a board's profile stands for it, and nothing is timed whole."""

    network: Network
    hardware: HardwareProfile
    latency: LatencyModel
    energy: EnergyModel | None = None

    @classmethod
    def open(cls, network: Network) -> ModelledDevice:
        """The machine that the target's shipped tables describe, which are of batch 1."""
        hardware, latency = pipeline.shipped(network)
        return cls(network=network, hardware=hardware, latency=latency)

    @classmethod
    def of_board(cls, network: Network, measured: HardwareProfile, context: Context) -> ModelledDevice:
        """A board, by what was measured on it."""
        hardware, latency = pipeline.from_board(network, measured, context=context)
        energy = metering.correct_energy(network, hardware, {})
        return cls(network=network, hardware=hardware, latency=latency, energy=energy)

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
        """By the table and its correction, which whole networks that it was not fitted on say the interval of."""
        spec, target = self.network.spec, self.network.target
        latency_ms = self._predict(config)
        ratio = latency_ms / self.fp32_ms
        half = _NORMAL_95 * self.latency.spread if self.latency.n_fitted else 0.0
        ratio_half = 0.0 if config == all_float(spec) else half
        energy_mj = None if self.energy is None else self.energy.predict_mj(spec, target, config)
        return Latency(
            latency_ms=latency_ms,
            low_ms=latency_ms * (1 - half),
            high_ms=latency_ms * (1 + half),
            ratio=ratio,
            ratio_high=ratio * (1 + ratio_half),
            energy_mj=energy_mj,
            energy_low_mj=energy_mj,
            energy_high_mj=energy_mj,
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


def _with_energy(latency: Latency, reading: EnergyReading) -> Latency:
    """The same with what was metered."""
    interval = reading.interval
    return replace(
        latency,
        energy_mj=interval.median,
        energy_low_mj=interval.low,
        energy_high_mj=interval.high,
        origin=f"{latency.origin}; energy by {reading.counter}",
    )
