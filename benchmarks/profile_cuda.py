"""Kernels of known networks on the GPU of this machine, in every precision that it has.

    python benchmarks/profile_cuda.py [--batch 1 8] [--rounds 30] [--networks digits resnet18 …]

Writes the profiles that ship, `hw_profiles/cuda-int8/profiles/<gpu>-batch<n>.csv`: `search --target cuda-int8
--profile` reads them, and another run adds to them. What it was like goes to `results/<date>-profile-cuda-<gpu>/`:
`networks.csv` (which kernels are whose), `conditions.csv` (clocks and temperature before each round) and `run.json`,
which names what was left out and why. Files are written after every network, so that a machine that is taken away
leaves what it measured. Exit 4 without an NVIDIA GPU, or where it failed on the way.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from rig import ROOT, write_run

from hawqsearch.core.hardware import Change, ChangeKey, HardwareProfile, KernelKey, Signature
from hawqsearch.core.profile_file import check_rig, merge, read_profile, write_profile
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError, InputError
from hawqsearch.graph.trace import trace
from hawqsearch.hardware.cuda.backend import CudaBackend
from hawqsearch.hardware.cuda.conditions import Conditions
from hawqsearch.hardware.cuda.device import Device, TorchCuda
from hawqsearch.hardware.cuda.workloads import float_math, kernel_work, least_capability
from hawqsearch.hardware.targets import find_target
from hawqsearch.zoo import digits, resnet_imagenet

Signatures = Callable[[int], list[Signature]]

_TARGET: Final = "cuda-int8"
_PATCHES: Final = 197
_PREFILL: Final = 512


def main() -> int:
    """Measure and write; the exit code."""
    arguments = _arguments()
    try:
        study = _Study.open(TorchCuda(), rounds=arguments.rounds)
        for batch in arguments.batch:
            study.check_file(batch)
        for network in arguments.networks:
            for batch in arguments.batch:
                study.measure(network, batch)
    except (DeviceError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(study.folder)
    return 4 if study.failed else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Study:
    """One GPU under measurement, and what became of it so far."""

    device: Device
    backend: CudaBackend
    target: Target
    folder: Path
    conditions: list[Conditions]
    networks: list[dict[str, object]] = field(default_factory=list)
    left_out: list[dict[str, object]] = field(default_factory=list)
    failed: list[dict[str, object]] = field(default_factory=list)

    @classmethod
    def open(cls, device: Device, *, rounds: int) -> _Study:
        seen: list[Conditions] = []
        return cls(
            device=device,
            backend=CudaBackend(rounds=rounds, device=device, on_conditions=seen.append),
            target=find_target(_TARGET),
            folder=_folder(device.name),
            conditions=seen,
        )

    def profile_path(self, batch: int) -> Path:
        """Where rows of that batch go."""
        return ROOT / "hw_profiles" / _TARGET / "profiles" / f"{_slug(self.device.name)}-batch{batch}.csv"

    def check_file(self, batch: int) -> None:
        """Raise `InputError` before anything is measured where the profile that is there is of another PyTorch."""
        path = self.profile_path(batch)
        if path.exists():
            check_rig(read_profile(path), self.backend.rig(batch=batch))

    def measure(self, network: str, batch: int) -> None:
        """Measure one network and write it down; a GPU that fails is told, and the next network tried."""
        signatures = _NETWORKS[network](batch)
        kernels = self._that_run(_kernels(signatures, self.target, self.device), network, batch)
        shapes = {shape for s in signatures for shape in (s.input_shape, s.output_shape)}
        changes = sorted((ChangeKey(shape, change) for shape in shapes for change in Change), key=repr)
        print(f"{network}, batch {batch}: {len(kernels)} kernels", file=sys.stderr)
        try:
            found = self.backend.measure(self.target, self.backend.rig(batch=batch), kernels, changes)
        except DeviceError as error:
            print(f"{network}, batch {batch}: {error}", file=sys.stderr)
            self.failed.append({"network": network, "batch": batch, "why": str(error)})
        else:
            self._keep(network, batch, found)
        self._write()

    def _that_run(self, kernels: list[KernelKey], network: str, batch: int) -> list[KernelKey]:
        """Those that this GPU and this PyTorch run; the others are told and left out."""
        found = []
        for key in kernels:
            try:
                with float_math(key.precision):
                    self.device.captured(kernel_work(key, self.device.place, self.device.capability))
            except RuntimeError as error:
                why = str(error).splitlines()[0]
                print(f"left out {key.signature} {key.precision}: {why}", file=sys.stderr)
                place = {"network": network, "batch": batch, "signature": str(key.signature)}
                self.left_out.append({**place, "precision": key.precision, "why": why})
            else:
                found.append(key)
        return found

    def _keep(self, network: str, batch: int, found: HardwareProfile) -> None:
        path = self.profile_path(batch)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_profile(path, merge(read_profile(path), found) if path.exists() else found)
        for key in found.kernels:
            place = {"network": network, "batch": batch, "signature": str(key.signature)}
            self.networks.append({**place, "precision": key.precision})

    def _write(self) -> None:
        _write(self.folder / "networks.csv", self.networks)
        _write(self.folder / "conditions.csv", [asdict(now) for now in self.conditions])
        write_run(
            self.folder,
            ("hawqsearch", "torch", "nvidia-ml-py"),
            gpu=self.device.name,
            capability=self.device.capability,
            runtime=self.device.runtime,
            slowed=sorted({why for now in self.conditions for why in now.slowed}),
            left_out=self.left_out,
            failed=self.failed,
            rounds=self.backend.rounds,
            burst=self.backend.burst,
        )


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
                input_shape=(batch, n, inputs),
                output_shape=(batch, n, outputs),
                weight_shape=(outputs, inputs),
            )
            for inputs, outputs in sizes
            for n in rows
        ]

    return signatures


def _vit_b(batch: int) -> list[Signature]:
    """ViT-B/16 (Dosovitskiy et al. 2021, table 1): width 768, MLP 3072, 196 patches and a class token."""
    patches = Signature(
        op="conv",
        input_shape=(batch, 3, 224, 224),
        output_shape=(batch, 768, 14, 14),
        weight_shape=(768, 3, 16, 16),
        stride=(16, 16),
        padding=(0, 0),
        dilation=(1, 1),
    )
    head = Signature(
        op="linear", input_shape=(batch, 768), output_shape=(batch, 1000), weight_shape=(1000, 768)
    )
    blocks = _linears([(768, 2304), (768, 768), (768, 3072), (3072, 768)], (_PATCHES,))
    return [patches, *blocks(batch), head]


_NETWORKS: Final = MappingProxyType(
    {
        "digits": _traced(digits.model, (1, 48, 48)),
        "resnet18": _traced(resnet_imagenet.resnet18, (3, 224, 224)),
        "resnet50": _traced(resnet_imagenet.resnet50, (3, 224, 224)),
        "vit_b": _vit_b,
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


def _write(path: Path, rows: Iterable[dict[str, object]]) -> None:
    found = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(found[0]) if found else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


def _slug(gpu: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")


def _folder(gpu: str) -> Path:
    folder = ROOT / "results" / f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-profile-cuda-{_slug(gpu)}"
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
