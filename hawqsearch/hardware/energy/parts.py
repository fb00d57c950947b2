"""Energy of kernels and precision changes, in a pass of its own after they were timed.

A counter sees whole runs. While the model of one part runs over and over, the power above idle is measured; the
part's energy is that power over the part's own time, so that what a run takes around the kernel is nobody's. What
parts take together in a network is corrected by whole networks (`correction`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, Energy, HardwareProfile, KernelKey, Rig
from hawqsearch.core.target import Target
from hawqsearch.hardware.energy.meter import EnergyReading, Meter
from hawqsearch.hardware.micro import arbitrary_feed, micro_model
from hawqsearch.runtime.find import find_runtime

__all__ = ["LocalEnergy", "energy_of_part", "with_energy"]

Key = KernelKey | ChangeKey


@dataclass(frozen=True, slots=True)
class LocalEnergy:
    """Parts metered on this machine, each alone, on the target's runtime."""

    reader: Meter

    @property
    def counter(self) -> str:
        """What is read."""
        return self.reader.name

    def meter(
        self,
        target: Target,
        rig: Rig,
        times_ms: Mapping[Key, float],
        *,
        on_row: Callable[[Key, Energy], object],
    ) -> None:
        """Hand the energy of every part to `on_row`; raises `DeviceError` where the counter or the runtime fails."""
        runtime = find_runtime(str(target.runtime))
        for key, time_ms in times_ms.items():
            model = micro_model(key, target.scheme, fuses=runtime.fuses)
            feed = arbitrary_feed(model)
            with runtime.open(
                model.SerializeToString(),
                threads=rig.threads,
                signed_activations=target.scheme.signed_activations,
            ) as session:
                on_row(key, energy_of_part(self.reader.measure(partial(session.run, feed)), time_ms))


def energy_of_part(reading: EnergyReading, time_ms: float) -> Energy:
    """The energy of a part that takes `time_ms`, by what its model's runs took."""
    share = time_ms / reading.latency_ms
    return Energy(
        median_mj=reading.median_mj * share,
        low_mj=reading.low_mj * share,
        high_mj=reading.high_mj * share,
        n=reading.blocks,
        counter=reading.counter,
    )


def with_energy(profile: HardwareProfile, energies: Mapping[Key, Energy]) -> HardwareProfile:
    """`profile` with those energies on its rows; the others stay as they are."""
    return replace(
        profile,
        kernels=FrozenDict(
            {k: replace(m, energy=energies.get(k, m.energy)) for k, m in profile.kernels.items()}
        ),
        changes=FrozenDict(
            {k: replace(m, energy=energies.get(k, m.energy)) for k, m in profile.changes.items()}
        ),
    )
