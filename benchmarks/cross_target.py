"""The policy found for each target, run on each.

    python benchmarks/cross_target.py [--space digits --space cifar10_resnet20]

Every target gets the same relative budget: half of the time that all-int8 saves there. Each policy, uniform int8
and fp32 then run on every target: timed whole where the target is this machine, simulated whole (qemu and the port
model, not a prediction from parts) where it is an Arm core. Top-1 and the divergence of the answers from fp32's are of
the search split. Writes `results/<date>-cross-target-<cpu>/`.

What takes long and is not timed is kept in the cache: `hawqsearch analyze` and a first run with `--target` of each Arm
core leave little to do while the machine must be quiet.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import onnx
import pandas as pd
from rig import ROOT, study_folder, write_run

from hawqsearch import api, closed_loop, pipeline
from hawqsearch.cache import Cache, default_folder
from hawqsearch.cli.output import Bars
from hawqsearch.core.design import all_float, all_int8
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Rig
from hawqsearch.core.outcome import Latency
from hawqsearch.device import ModelledDevice, as_latency
from hawqsearch.hardware.arm.cores import KERNEL_SETS, parse_core
from hawqsearch.hardware.arm.port_model import cycles_of
from hawqsearch.hardware.arm.simulator import Job, Simulator
from hawqsearch.hardware.arm.toolchain import build
from hawqsearch.hardware.shipped import whole_ms
from hawqsearch.hardware.targets import find_target
from hawqsearch.pipeline import Context, Network
from hawqsearch.spaces import find_space, load_model, load_splits
from hawqsearch.validate.accuracy import divergences

os.environ.setdefault("HAWQSEARCH_DATA", str(ROOT.parent / "shared" / "data"))

TARGETS = (
    "x86-vnni",
    "arm-neon:cortex-a76",
    "arm-neon:neoverse-n1",
    "arm-neon:cortex-a72",
    "arm-neon:cortex-a53",
)
ROUNDS = 31

Config = FrozenDict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A network on a target, and the share of fp32's latency that is the budget there."""

    target: str
    network: Network
    share: float


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", action="append")
    parser.add_argument("--target", action="append", help="default: all of them")
    arguments = parser.parse_args()
    context = Context(cache=Cache(default_folder()), progress=Bars(), seed=0)
    rows = [
        row
        for space in arguments.space or ["digits", "cifar10_resnet20"]
        for row in study(space, tuple(arguments.target or TARGETS), context)
    ]
    folder = study_folder("cross-target")
    table = pd.DataFrame(rows)
    table.to_csv(folder / "cross.csv", index=False, float_format="%.5g")
    for column in ("ratio", "meets", "top_1", "from_fp32_nats"):
        matrix = table.pivot(index=["space", "policy"], columns="target", values=column)
        matrix.to_csv(folder / f"{column}.csv", float_format="%.4g")
        print(matrix.to_string(), "\n")
    write_run(folder, ("onnxruntime", "torch", "highspy", "capstone"))


def study(space: str, targets: tuple[str, ...], context: Context) -> Iterator[dict[str, object]]:
    """A row per policy and target of one space."""
    places = [_place(space, target, context) for target in targets]
    spec = places[0].network.spec
    policies = {"fp32": all_float(spec), "int8": all_int8(spec, places[0].network.target)}
    policies |= {f"for {place.target}": _searched(space, place, context) for place in places}
    for place in places:
        latencies, split = _latencies(place, policies, context), place.network.splits.search
        answers = {
            name: pipeline.judge(place.network, config, split, context=context, title=f"{name}: top-1")
            for name, config in policies.items()
        }
        for name, config in policies.items():
            latency, answered = latencies[name], answers[name]
            assert latency.ratio_high is not None
            yield {
                "space": space,
                "policy": name,
                "target": place.target,
                "latency_ms": latency.latency_ms,
                "ratio": latency.ratio,
                "budget": place.share,
                "meets": latency.ratio_high <= place.share,
                "top_1": answered.accuracy.value,
                "top_1_stderr": answered.accuracy.stderr,
                "from_fp32_nats": float(divergences(answers["fp32"], answered).mean()),
                "n": len(split),
                "size_bytes": closed_loop.size_bytes(place.network, config),
                "int8_layers": sum(config[n.name] != "fp32" for n in spec.layers),
                "layers": len(spec.layers),
                "origin": latency.origin,
            }


def _place(space: str, target: str, context: Context) -> Place:
    """The target with its budget: half-way between all-int8 and fp32, to a tenth of a per cent."""
    file = find_space(space)
    network = pipeline.open_network(
        load_model(file), load_splits(file), find_target(target), file.space, context=context
    )
    int8 = {"int8": all_int8(network.spec, network.target)}
    place = Place(target=target, network=network, share=1.0)
    ratio = _latencies(place, int8 | {"fp32": all_float(network.spec)}, context)["int8"].ratio
    assert ratio is not None
    return Place(target=target, network=network, share=round((1 + ratio) / 2, 3))


def _searched(space: str, place: Place, context: Context) -> Config:
    """What `search` returns for the target; where it would read the test split, it reads the search split again."""
    file, network = find_space(space), place.network
    outcome = api.search(
        load_model(file),
        replace(network.splits, test=network.splits.search),
        target=network.target,
        budget=f"{100 * place.share:.1f}%",
        options=api.Options(space=file.space),
        context=context,
    )
    return outcome.config


def _latencies(place: Place, policies: Mapping[str, Config], context: Context) -> dict[str, Latency]:
    if place.network.target.device == "tables":
        return _simulated(place.network, policies)
    rig = pipeline.local_rig(place.network.target, threads=1, batch=1)
    return _timed(place.network, rig, policies, context)


def _timed(
    network: Network, rig: Rig, policies: Mapping[str, Config], context: Context
) -> dict[str, Latency]:
    """All of them interleaved in one run; fp32 is among what `time_whole` answers."""
    others = {name: config for name, config in policies.items() if name != "fp32"}
    timings = pipeline.time_whole(
        network, rig, others, rounds=ROUNDS, context=context, title="policies, whole"
    )
    return {name: as_latency(timings[name], rig) for name in policies}


def _simulated(network: Network, policies: Mapping[str, Config]) -> dict[str, Latency]:
    """Whole networks run under qemu, cycles of the core's port model, and what they wait for DRAM."""
    core, folder = parse_core(network.target.variant), default_folder() / "arm"
    simulator = Simulator(
        toolchain=build(folder), processor=KERNEL_SETS[core.kernels], folder=folder / "counts", workers=1
    )
    cycles = cycles_of(core.name)
    jobs = {name: Job(partial(_model, network, c), nodes=False, alone=True) for name, c in policies.items()}
    done = simulator.run_all(jobs, lambda name, run: cycles(run.whole))
    ms = {n: whole_ms(core, network.spec, network.target, policies[n], done[n]) for n in policies}
    origin = f"simulated whole: {ModelledDevice.open(network).hardware.rig}"
    return {
        name: Latency(
            latency_ms=value,
            low_ms=value,
            high_ms=value,
            ratio=value / ms["fp32"],
            ratio_high=value / ms["fp32"],
            origin=origin,
        )
        for name, value in ms.items()
    }


def _model(network: Network, config: Config) -> onnx.ModelProto:
    return onnx.load_from_string(pipeline.deploy(network, config))


if __name__ == "__main__":
    main()
