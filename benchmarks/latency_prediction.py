"""Predicted against measured whole-network latency, of configurations that the correction was not fitted on.

    python benchmarks/latency_prediction.py [--space digits --space cifar10_resnet20] [--random 100]

Per space: random mixed configurations; where it is trained the solved ones at six budgets between all-int8 and fp32,
and the returned ones timed again in a fresh process. Writes `results/<date>-latency-prediction-<cpu>/`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rig import ROOT, study_folder, write_run
from scipy.stats import spearmanr

from hawqsearch import closed_loop, pipeline
from hawqsearch.cache import Cache
from hawqsearch.cli.output import Bars
from hawqsearch.core.budget import Budget
from hawqsearch.core.design import all_float, all_int8, random_mixed
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import HardwareProfile, Rig
from hawqsearch.device import TimedDevice
from hawqsearch.errors import InfeasibleError
from hawqsearch.hardware.local import LocalBackend
from hawqsearch.hardware.targets import find_target
from hawqsearch.pipeline import Context, Network
from hawqsearch.runtime.onnxruntime_cpu import OnnxRuntime
from hawqsearch.runtime.timing import time_interleaved
from hawqsearch.sensitivity.kl import KlAnalyzer
from hawqsearch.spaces import find_space, load_model, load_splits, load_untrained
from hawqsearch.strategies.ilp import IlpSearch

os.environ.setdefault("HAWQSEARCH_DATA", str(ROOT.parent / "shared" / "data"))
_BATCHES = 8
_BUDGETS = 6


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--space", action="append")
    parser.add_argument("--random", type=int, default=100)
    parser.add_argument("--target", default="x86-vnni")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as fresh:  # what was measured on another day does not count
        context = Context(cache=Cache(Path(fresh)), progress=Bars(), seed=0)
        for space in arguments.space or ["digits", "cifar10_resnet20", "imagenet_mobilenetv2"]:
            rows += study(space, arguments.target, arguments.random, context)
    folder = study_folder("latency-prediction")
    table = pd.DataFrame(rows)
    table.to_csv(folder / "configurations.csv", index=False)
    summary = summarize(table)
    summary.to_csv(folder / "summary.csv", index=False)
    write_run(folder, ("onnxruntime", "torch", "highspy"))
    print(summary.to_string(index=False))


def study(space: str, target: str, n_random: int, context: Context) -> list[dict[str, Any]]:
    """One row per configuration of one space."""
    file = find_space(space)
    if file.is_shapes_only:
        model, splits = load_untrained(file, seed=context.seed)
    else:
        model, splits = load_model(file), load_splits(file)
    network = pipeline.open_network(
        model, splits, find_target(target), file.space, context=context, to_time=file.is_shapes_only
    )
    rig = pipeline.local_rig(network.target, threads=1, batch=1)
    hardware = pipeline.profile(network, rig, LocalBackend(), context=context)
    device = TimedDevice.open(network, rig, hardware, context)
    rows = random_rows(network, device, n_random)
    if not file.is_shapes_only:
        rows += solved_rows(network, rig, hardware, device, context)
    return [{"space": space, **r} for r in rows]


def solved_rows(
    network: Network, rig: Rig, hardware: HardwareProfile, device: TimedDevice, context: Context
) -> list[dict[str, Any]]:
    """What the closed loop timed on its way to six budgets between all-int8 and fp32, and its answers once more."""
    rows: list[dict[str, Any]] = []
    table = pipeline.analyze(network, KlAnalyzer(), context=context)
    least = device.ratios[all_int8(network.spec, network.target)]
    for share in np.linspace(least, 1.0, _BUDGETS + 2)[1:-1]:
        fresh = TimedDevice.open(network, rig, hardware, context)
        before = set(fresh.timed)
        budget = Budget.parse(f"{100 * share:.2f}%")
        try:
            end = closed_loop.close_loop(network, table, budget, IlpSearch(runner_up=False), fresh)
        except InfeasibleError as error:
            context.progress.note(f"{budget}: {error}")
            rows.append({"kind": "solved", "budget": str(budget), "again_met": False})
            continue
        new = [c for c in fresh.timed if c not in before]
        rows.extend(row(network, fresh, c, "solved", budget=str(budget)) for c in new)
        if new:  # else the answer is fp32 or all-int8, which every run times
            rows[-1] |= timed_again(network, end.config, share)
    return rows


def random_rows(network: Network, device: TimedDevice, n: int) -> list[dict[str, Any]]:
    """Random mixed configurations of another seed than the design's; none of them is fitted on."""
    configs = random_mixed(network.spec, network.target, network.allowed.precisions, n=n, seed=12345)
    design = dict(device.ratios)
    rows = []
    for start in range(0, n, _BATCHES):
        device.ratios = dict(design)
        device.look(configs[start : start + _BATCHES], title=f"random {start}")
        rows += [row(network, device, c, "random") for c in configs[start : start + _BATCHES]]
    device.ratios = design
    return rows


def row(
    network: Network, device: TimedDevice, config: FrozenDict[str, str], kind: str, budget: str = ""
) -> dict[str, Any]:
    """Predicted, the plain sum of parts, and measured, as shares of fp32 in the same run."""
    measured = device.timed[config]
    assert measured.latency_ms is not None
    plain = pipeline.correct(network, device.hardware, {}, 1.0)
    total = plain.predict_ms(network.spec, network.target, config)
    scale = measured.latency_ms / measured.ratio if measured.ratio else 1.0
    return {
        "kind": kind,
        "budget": budget,
        "int8_layers": sum(config[n.name] != "fp32" for n in network.spec.layers),
        "measured_ms": measured.latency_ms,
        "measured_ratio": measured.ratio,
        "fp32_ms": scale,
        "predicted_ms": device.predicted_ms[config],
        "error": device.predicted_ms[config] / (measured.ratio * scale) - 1,
        "sum_of_parts_ms": total,
        "sum_error": total / measured.latency_ms - 1,
    }


def timed_again(network: Network, config: FrozenDict[str, str], share: float) -> dict[str, Any]:
    """The returned configuration in a fresh process, interleaved with fp32: does it still meet its budget?"""
    with tempfile.TemporaryDirectory() as folder:
        for name, c in (("answer", config), ("fp32", all_float(network.spec))):
            (Path(folder) / f"{name}.onnx").write_bytes(pipeline.deploy(network, c))
        np.save(Path(folder) / "input.npy", network.splits.calibration.inputs[:1])
        done = subprocess.run(
            [sys.executable, __file__, "--again", folder], capture_output=True, text=True, check=True
        )
    found: dict[str, float] = json.loads(done.stdout)
    return {
        "again_ratio": found["ratio"],
        "again_cpu_share": found["cpu_share"],
        "again_met": found["ratio"] <= share,
    }


def again(folder: Path) -> None:
    """In the fresh process: time both models, print the ratio as JSON."""
    feed = {"input": np.load(folder / "input.npy")}
    with ExitStack() as stack:
        opened = {n: OnnxRuntime().open((folder / f"{n}.onnx").read_bytes()) for n in ("answer", "fp32")}
        sessions = {name: stack.enter_context(session) for name, session in opened.items()}
        wall, cpu = time.perf_counter(), time.process_time()
        timed = time_interleaved(sessions, feed, reference="fp32", rounds=25)
        share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    print(json.dumps({"ratio": timed["answer"].ratio.median, "cpu_share": share}))


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Median and 95th percentile of absolute errors, and rank correlation, per space and kind."""
    rows = []
    for (space, kind), group in table.groupby(["space", "kind"]):
        for model, column in (("corrected", "error"), ("sum of parts", "sum_error")):
            predicted = group["predicted_ms"] if column == "error" else group["sum_of_parts_ms"]
            rows.append(
                {
                    "space": space,
                    "kind": kind,
                    "model": model,
                    "n": len(group),
                    "median_error": group[column].abs().median(),
                    "p95_error": group[column].abs().quantile(0.95),
                    "rank_correlation": spearmanr(predicted, group["measured_ms"]).statistic,
                }
            )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--again"]:
        again(Path(sys.argv[2]))
    else:
        main()
