"""The arrows of energy: parts and whole networks metered, and the model of both; everything else is in `pipeline`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hawqsearch import pipeline
from hawqsearch.cache import code_version
from hawqsearch.core.energy import EnergyModel
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, Energy, HardwareProfile, KernelKey, Measurement, Rig
from hawqsearch.core.latency import terms_of
from hawqsearch.hardware.energy.correction import fit_energy
from hawqsearch.hardware.energy.parts import with_energy

if TYPE_CHECKING:
    from hawqsearch.core.protocols import EnergyBackend
    from hawqsearch.hardware.energy.meter import EnergyReading, Meter
    from hawqsearch.pipeline import Context, Network

__all__ = ["correct_energy", "meter_design", "meter_parts", "meter_whole"]

Config = FrozenDict[str, str]
Key = KernelKey | ChangeKey


def meter_parts(
    network: Network, hardware: HardwareProfile, backend: EnergyBackend, *, context: Context
) -> HardwareProfile:
    """`hardware` with the energy of every row that was measured; rows in the cache are not metered again."""
    base = {"rig": asdict(hardware.rig), "scheme": asdict(network.target.scheme), "counter": backend.counter}
    base["code"] = code_version("hardware/micro.py", "hardware/energy", "runtime")
    rows: dict[Key, Measurement] = dict(hardware.kernels.items())
    rows.update(hardware.changes.items())
    times = {key: row.median_ms for key, row in rows.items() if row.origin == "measured"}
    known = {k: e for k, ms in times.items() if (e := _known(context, _cached(base, k, ms))) is not None}

    def keeping(advance: Callable[[int], object]) -> Callable[[Key, Energy], None]:
        def keep(key: Key, energy: Energy) -> None:
            known[key] = energy
            context.cache.write_json("energy", _cached(base, key, times[key]), asdict(energy))
            advance(1)

        return keep

    with context.progress.stage("energy of kernels and edges", len(times)) as advance:
        advance(len(known))
        todo = {key: time for key, time in times.items() if key not in known}
        if todo:
            backend.meter(network.target, hardware.rig, todo, on_row=keeping(advance))
    return with_energy(hardware, known)


def _cached(base: Mapping[str, Any], key: Key, time_ms: float) -> dict[str, Any]:
    return {**base, "row": repr(key), "time_ms": time_ms}


def _known(context: Context, key: Mapping[str, Any]) -> Energy | None:
    return context.cache.read("energy", key, lambda content: Energy(**json.loads(content)))


def meter_whole(
    network: Network, rig: Rig, configs: Mapping[str, Config], reader: Meter, *, context: Context, title: str
) -> dict[str, EnergyReading]:
    """Energy of one inference of each configuration, exported and run on the target's runtime."""
    found = {}
    with context.progress.stage(title, len(configs)) as advance:
        for name, config in configs.items():
            with pipeline.loaded(network, rig, config) as infer:
                found[name] = reader.measure(infer)
            advance(1)
    return found


def meter_design(network: Network, rig: Rig, reader: Meter, *, context: Context) -> dict[Config, float]:
    """Energy in mJ of the configurations that the correction is fitted on, cached as a whole."""
    configs = pipeline.design_configs(network, context=context)
    key: dict[str, Any] = {"rig": asdict(rig), "model": network.spec.fingerprint, "counter": reader.name}
    key |= {
        "scheme": asdict(network.target.scheme),
        "configs": [dict(c) for c in configs],
        "code": code_version("export", "runtime", "graph", "hardware/energy"),
    }
    known = context.cache.read_json("metered-design", key)
    if known is None:
        named = {str(k): c for k, c in enumerate(configs)}
        readings = meter_whole(network, rig, named, reader, context=context, title="energy of whole networks")
        known = [readings[name].median_mj for name in named]
        context.cache.write_json("metered-design", key, known)
    return dict(zip(configs, known, strict=True))


def correct_energy(
    network: Network, hardware: HardwareProfile, whole: Mapping[Config, float]
) -> EnergyModel | None:
    """The profile's energy, corrected end to end; None where a part that the network may pay was not metered.

    Args:
        whole: configuration -> metered energy in mJ.
    """
    rows = pipeline.rows_of(network, hardware)
    metered = {term: row.energy for term, row in rows.items() if row.energy is not None}
    if len(metered) < len(rows):
        return None
    return fit_energy(
        {term: energy.median_mj for term, energy in metered.items()},
        {term: row.median_ms for term, row in rows.items()},
        pipeline.correction_groups(network, rows),
        [(tuple(terms_of(network.spec, network.target, config)), mj) for config, mj in whole.items()],
    )
