"""The simulated Arm table against itself and against LLVM.

    python benchmarks/arm_simulation.py [--llvm]

Sum of parts against whole networks, for every network, configuration and core of the shipped tables, nothing
fitted; whole networks against what others measured on the same cores (`published_arm.csv`: other runtimes, so
not the same kernels); and, with `--llvm` (llvm-19 and the simulator installed), a few layers on the port model
against llvm-mca and an earlier simulation. Writes `results/<date>-arm-simulation-<cpu>/`; the host's processor
changes no figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from rig import study_folder, write_run

from hawqsearch.arm_tables import NETWORKS
from hawqsearch.cache import default_folder
from hawqsearch.core.design import all_float, all_int8
from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Signature
from hawqsearch.core.latency import Term, terms_of
from hawqsearch.core.model import ModelSpec
from hawqsearch.graph.trace import trace
from hawqsearch.hardware.arm.cores import KERNEL_SETS, cores
from hawqsearch.hardware.arm.forms import loops
from hawqsearch.hardware.arm.memory import working_set
from hawqsearch.hardware.arm.port_model import PIPELINES, block_cycles
from hawqsearch.hardware.arm.qemu import Task, run_models
from hawqsearch.hardware.arm.toolchain import build
from hawqsearch.hardware.micro import kernel_model
from hawqsearch.hardware.shipped import run_ms, shipped_profile, shipped_whole
from hawqsearch.hardware.targets import find_target

MODELS = {
    "cortex-a76": "neoverse-n1",
    "neoverse-n1": "neoverse-n1",
    "cortex-a72": "cortex-a72",
    "cortex-a53": "cortex-a53",
}
"""Core -> LLVM 19's model of it: its `cortex-a76` is the Cortex-A57's."""
HOT = 0.002
_PUBLISHED = Path(__file__).parent / "published_arm.csv"


def main() -> None:
    """Write the study's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llvm", action="store_true")
    options = parser.parse_args()
    folder = study_folder("arm-simulation")
    parts = pd.DataFrame(parts_against_whole())
    parts.to_csv(folder / "parts_and_whole.csv", index=False, float_format="%.5g")
    summary = parts.groupby(["network", "core"]).apply(_summary, include_groups=False).reset_index()
    summary.to_csv(folder / "summary.csv", index=False, float_format="%.4g")
    print(summary.to_string())
    networks = pd.DataFrame(networks_against_published())
    networks.to_csv(folder / "networks_and_published.csv", index=False, float_format="%.4g")
    print(networks.to_string())
    if options.llvm:
        layers = pd.DataFrame(layers_against_llvm())
        layers = layers.merge(_earlier_simulation(), how="left")
        layers["earlier_simulation"] = layers.pop("kcycles") * 1e3 / layers["port_cycles"] - 1
        layers.to_csv(folder / "layers_and_llvm.csv", index=False, float_format="%.5g")
        print(layers.to_string())
    write_run(folder, ("onnxruntime", "capstone"), llvm=_llvm_version() if options.llvm else None)


def parts_against_whole() -> Iterator[dict[str, object]]:
    """A row per network, configuration and core."""
    target = find_target("arm-neon")
    for name, entry in NETWORKS.items():
        spec = trace(entry.make().eval(), torch.zeros(2, *entry.shape)).spec
        for core in cores().values():
            parts = _parts(spec, core.name)
            for config, whole_ms in shipped_whole(core, spec, target).items():
                sum_ms = run_ms(core) + sum(parts[term] for term in terms_of(spec, target, config))
                layers = [config[n.name] for n in spec.layers]
                yield {
                    "network": name,
                    "core": core.name,
                    "clock_ghz": core.clock_ghz,
                    "int8_layers": sum(p != "fp32" for p in layers),
                    "layers": len(layers),
                    "whole_ms": whole_ms,
                    "sum_ms": sum_ms,
                    "error": sum_ms / whole_ms - 1,
                }


def _parts(spec: ModelSpec, core_name: str) -> dict[Term, float]:
    """Terms as they are alone, in ms."""
    target = find_target("arm-neon")
    profile = shipped_profile(cores()[core_name], network=working_set(spec))
    parts = {}
    for node in spec.nodes:
        for precision in ("fp32", "w8a8"):
            if target.kernel(node.op, precision) is not None:
                key = KernelKey(Signature.of(node, 1), precision)
                parts[Term(node.name, precision)] = profile.kernels[key].median_ms
    for tensor in spec.tensors:
        for change in Change:
            key_of_change = ChangeKey((1, *tensor.shape[1:]), change)
            parts[Term(tensor.name, change.value)] = profile.changes[key_of_change].median_ms
    return parts


def _summary(rows: pd.DataFrame) -> pd.Series:
    error, mixed = rows["error"], rows.iloc[2:]
    fp32, int8 = rows.iloc[0], rows.iloc[1]
    return pd.Series(
        {
            "n": len(rows),
            "fp32_ms": fp32["whole_ms"],
            "int8_ms": int8["whole_ms"],
            "speed_up": fp32["whole_ms"] / int8["whole_ms"],
            "fp32_error": fp32["error"],
            "int8_error": int8["error"],
            "median_abs_error": error.abs().median(),
            "max_abs_error": error.abs().max(),
            "rank_correlation": mixed["whole_ms"].corr(mixed["sum_ms"], method="spearman"),
        }
    )


# ---------------------------------------------------------------- published figures


def networks_against_published() -> Iterator[dict[str, object]]:
    """A row per published latency of a whole network: ours at the same clock, and the ratio."""
    target = find_target("arm-neon")
    for row in pd.read_csv(_PUBLISHED).dropna(subset="ms").to_dict("records"):
        entry = NETWORKS[row["what"]]
        spec = trace(entry.make().eval(), torch.zeros(2, *entry.shape)).spec
        core = replace(cores()[row["core"]], clock_ghz=row["clock_ghz"])
        config = all_float(spec) if row["precision"] == "fp32" else all_int8(spec, target)
        ours = shipped_whole(core, spec, target)[config]
        yield {
            "network": row["what"],
            "precision": row["precision"],
            "core": core.name,
            "clock_ghz": core.clock_ghz,
            "published_ms": row["ms"],
            "simulated_ms": ours,
            "simulated_over_published": ours / row["ms"],
            "published": row["kind"],
            "source": row["source"],
        }


def _earlier_simulation() -> pd.DataFrame:
    columns = {"what": "layer", "precision": "precision", "core": "core", "kcycles": "kcycles"}
    return pd.read_csv(_PUBLISHED).dropna(subset="kcycles")[[*columns]].rename(columns=columns)


# ---------------------------------------------------------------- LLVM


def _conv(channels: int, out: int, size: int, kernel: int, groups: int = 1) -> Signature:
    return Signature(
        op="conv",
        input_shape=(1, channels, size, size),
        output_shape=(1, out, size, size),
        weight_shape=(out, channels // groups, kernel, kernel),
        stride=(1, 1),
        padding=(kernel // 2, kernel // 2),
        dilation=(1, 1),
        groups=groups,
        activation="relu",
    )


LAYERS = {
    "conv 3x3 64-64 28x28": _conv(64, 64, 28, 3),
    "conv 1x1 128-128 14x14": _conv(128, 128, 14, 1),
    "depthwise 3x3 64 28x28": _conv(64, 64, 28, 3, 64),
    "conv 3x3 16-16 32x32": _conv(16, 16, 32, 3),
    "conv 3x3 3-16 32x32": _conv(3, 16, 32, 3),
    "linear 512-512": Signature(
        op="linear", input_shape=(1, 512), output_shape=(1, 512), weight_shape=(512, 512)
    ),
    "add 64 28x28": Signature(
        op="add", input_shape=(1, 64, 28, 28), output_shape=(1, 64, 28, 28), activation="relu"
    ),
}


def layers_against_llvm() -> Iterator[dict[str, object]]:
    """A row per layer, precision and core: cycles of the port model, and of llvm-mca for the hot blocks.

    `throughput` takes llvm-mca's reciprocal throughput of each block; `latency` its total cycles of blocks
    that loop to themselves, which knows what waits for what.
    """
    toolchain, scheme = build(default_folder() / "arm"), find_target("arm-neon").scheme
    known: dict[tuple[str, bytes], tuple[float, float]] = {}
    for kernel_set, processor in KERNEL_SETS.items():
        keys = [(name, precision) for name in LAYERS for precision in ("fp32", "w8a8")]
        tasks = [Task(kernel_model(LAYERS[n], int8=p != "fp32", scheme=scheme)) for n, p in keys]
        answers = run_models(toolchain, processor, tasks)
        for (name, precision), answer in zip(keys, answers, strict=True):
            for core in cores().values():
                if core.kernels == kernel_set and core.name != "neoverse-n1":
                    port, throughput, latency = _compared(answer.run.whole, core.name, known)
                    yield {
                        "layer": name,
                        "precision": precision,
                        "core": core.name,
                        "port_cycles": port,
                        "llvm_throughput": throughput / port - 1,
                        "llvm_latency": latency / port - 1,
                    }


def _compared(
    counts: Mapping[bytes, int], core: str, known: dict[tuple[str, bytes], tuple[float, float]]
) -> tuple[float, float, float]:
    executed = sum(len(code) * n for code, n in counts.items())
    port = throughput = latency = 0.0
    for code, n in counts.items():
        ours = block_cycles(code, PIPELINES[core])
        theirs = (ours, ours)
        if len(code) * n > HOT * executed:
            if (core, code) not in known:
                known[core, code] = _mca(code, MODELS[core])
            theirs = known[core, code]
        port += n * ours
        throughput += n * theirs[0]
        latency += n * theirs[1 if loops(code) else 0]
    return port, throughput, latency


def _mca(code: bytes, model: str) -> tuple[float, float]:
    words = "\n".join(" ".join(f"{b:#04x}" for b in code[i : i + 4]) for i in range(0, len(code), 4))
    disassemble = ["llvm-mc-19", "--disassemble", "-triple=aarch64", "-mattr=+all"]
    text = subprocess.run(disassemble, input=words, capture_output=True, text=True, check=True).stdout
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith(".")]
    analyze = ["llvm-mca-19", "-mtriple=aarch64", f"-mcpu={model}", "-mattr=+dotprod,+fullfp16,+lse", "-json"]
    analyze += ["-iterations=100", "-skip-unsupported-instructions=any"]
    done = subprocess.run(analyze, input="\n".join(lines), capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)["CodeRegions"][0]["SummaryView"]
    return float(summary["BlockRThroughput"]), float(summary["TotalCycles"]) / 100


def _llvm_version() -> str:
    said = subprocess.run(["llvm-mca-19", "--version"], capture_output=True, text=True, check=True).stdout
    return next(line.strip() for line in said.splitlines() if "version" in line)


if __name__ == "__main__":
    main()
