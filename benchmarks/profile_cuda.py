"""Kernels of known networks on the GPU of this machine, in every precision that it has.

    python benchmarks/profile_cuda.py [--batch 1 8] [--rounds 30] [--networks digits resnet18 …]

Writes `results/<date>-profile-cuda-<gpu>/`: `kernels.csv`, `changes.csv`, `conditions.csv` (clocks and temperature
before each round) and `run.json`. Needs an NVIDIA GPU; exit 4 without one.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from rig import ROOT, write_run

from hawqsearch.core.hardware import Change, ChangeKey, HardwareProfile, KernelKey, Measurement, Signature
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError
from hawqsearch.graph.trace import trace
from hawqsearch.hardware.cuda.backend import CudaBackend
from hawqsearch.hardware.cuda.conditions import Conditions
from hawqsearch.hardware.cuda.device import Device, TorchCuda
from hawqsearch.hardware.cuda.workloads import least_capability
from hawqsearch.hardware.targets import find_target
from hawqsearch.zoo import digits, resnet_imagenet

Signatures = Callable[[int], list[Signature]]

_PATCHES: Final = 197
_PREFILL: Final = 512


def main() -> int:
    """Measure and write; the exit code."""
    arguments = _arguments()
    try:
        device = TorchCuda()
    except DeviceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    folder = _folder(device.name)
    target = find_target("cuda-int8")
    seen: list[Conditions] = []
    backend = CudaBackend(rounds=arguments.rounds, device=device, on_conditions=seen.append)
    rows: list[tuple[str, HardwareProfile]] = []
    for network in arguments.networks:
        for batch in arguments.batch:
            kernels = _kernels(_NETWORKS[network](batch), target, device)
            changes = {ChangeKey(k.signature.input_shape, change) for k in kernels for change in Change}
            print(f"{network}, batch {batch}: {len(kernels)} kernels", file=sys.stderr)
            rig = backend.rig(batch=batch)
            rows.append((network, backend.measure(target, rig, kernels, sorted(changes, key=repr))))
    _write(folder / "kernels.csv", _kernel_rows(rows))
    _write(folder / "changes.csv", _change_rows(rows))
    _write(folder / "conditions.csv", (asdict(now) for now in seen))
    slowed = sorted({why for now in seen for why in now.slowed})
    write_run(
        folder,
        ("hawqsearch", "torch", "nvidia-ml-py"),
        gpu=device.name,
        capability=device.capability,
        runtime=device.runtime,
        slowed=slowed,
        rounds=backend.rounds,
        burst=backend.burst,
    )
    print(folder)
    return 0


def _traced(build: Callable[[], torch.nn.Module], shape: tuple[int, ...]) -> Signatures:
    """Signatures of a network that is traced for the purpose; its weights do not matter."""

    def signatures(batch: int) -> list[Signature]:
        spec = trace(build().eval(), torch.zeros(2, *shape)).spec
        return [Signature.of(node, batch) for node in (*spec.layers, *spec.joins)]

    return signatures


def _linears(sizes: Iterable[tuple[int, int]], rows: tuple[int, ...]) -> Signatures:
    """Linear layers (inputs, outputs) on that many rows of each example."""

    def signatures(batch: int) -> list[Signature]:
        return [
            Signature(
                op="linear",
                input_shape=(batch * n, inputs),
                output_shape=(batch * n, outputs),
                weight_shape=(outputs, inputs),
            )
            for inputs, outputs in sizes
            for n in rows
        ]

    return signatures


_NETWORKS: Final = MappingProxyType(
    {
        "digits": _traced(digits.model, (1, 48, 48)),
        "resnet18": _traced(resnet_imagenet.resnet18, (3, 224, 224)),
        "resnet50": _traced(resnet_imagenet.resnet50, (3, 224, 224)),
        # Dosovitskiy et al. 2021, table 1: width 768, MLP 3072, 196 patches and a class token
        "vit_b": _linears([(768, 2304), (768, 768), (768, 3072), (3072, 768)], (_PATCHES,)),
        # Llama 3.2 1B's configuration: width 2048, key and value 512, MLP 8192, vocabulary 128256
        "decoder_1b": _linears(
            [(2048, 2048), (2048, 512), (2048, 8192), (8192, 2048), (2048, 128256)], (1, _PREFILL)
        ),
    }
)


def _kernels(signatures: list[Signature], target: Target, device: Device) -> list[KernelKey]:
    """Every precision of the target that this GPU is new enough for, each kernel once."""
    keys = {
        KernelKey(signature, precision)
        for signature in signatures
        for precision in target.kernels[signature.op]
        if device.capability >= least_capability(precision)
    }
    return sorted(keys, key=repr)


def _kernel_rows(rows: list[tuple[str, HardwareProfile]]) -> Iterator[dict[str, object]]:
    for network, profile in rows:
        for key, row in profile.kernels.items():
            place = {"network": network, "batch": profile.rig.batch, "signature": str(key.signature)}
            yield {**place, "precision": key.precision, **_measured(row, profile)}


def _change_rows(rows: list[tuple[str, HardwareProfile]]) -> Iterator[dict[str, object]]:
    for network, profile in rows:
        for key, row in profile.changes.items():
            place = {"network": network, "batch": profile.rig.batch, "shape": "x".join(map(str, key.shape))}
            yield {**place, "change": str(key.change), **_measured(row, profile)}


def _measured(row: Measurement, profile: HardwareProfile) -> dict[str, object]:
    return {**asdict(row), "origin": f"{row.origin}: {profile.rig}"}


def _write(path: Path, rows: Iterable[dict[str, object]]) -> None:
    found = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(found[0]) if found else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


def _folder(gpu: str) -> Path:
    slug = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
    folder = ROOT / "results" / f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-profile-cuda-{slug}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--networks", nargs="+", choices=list(_NETWORKS), default=list(_NETWORKS))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
