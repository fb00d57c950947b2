"""The study of GPUs runs from end to end on a device that is none; without a GPU it ends with exit 4."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from hawqsearch.core.hardware import Change, ChangeKey, HardwareProfile, KernelKey, Signature
from hawqsearch.core.profile_file import read_profile
from hawqsearch.graph.trace import trace
from hawqsearch.hardware.board_profile import cover
from hawqsearch.hardware.cuda import backend, timing
from hawqsearch.hardware.cuda.conditions import Conditions
from hawqsearch.hardware.cuda.workloads import change_work, kernel_work
from hawqsearch.hardware.targets import find_target
from hawqsearch.testing import tiny
from tests.hardware.cuda.fake import FakeDevice

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("profile_cuda")
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    small = module._traced(tiny.model, (1, 8, 8))
    monkeypatch.setattr(module, "_NETWORKS", {**module._NETWORKS, "digits": small})
    return module


Go = Callable[..., tuple[int, str, str]]


@pytest.fixture
def go(study: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Go:
    """Runs the study on a device; its exit code and what it says."""

    def command(device: FakeDevice, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(study, "TorchCuda", lambda: device)
        monkeypatch.setattr(sys, "argv", ["profile_cuda.py", *arguments])
        code = study.main()
        said = capsys.readouterr()
        return code, said.out.strip(), said.err

    return command


def profile_of(root: Path, name: str) -> HardwareProfile:
    return read_profile(root / "hw_profiles/cuda-int8/profiles" / name)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


DIGITS = ("--networks", "digits", "--batch", "1", "--rounds", "2")
HOT = Conditions(sm_mhz=900, memory_mhz=5000, temperature_c=88, slowed=("power cap",))


def test_it_measures_and_writes(go: Go, tmp_path: Path) -> None:
    code, out, err = go(FakeDevice(name="Fake T4", capability=(7, 5), now=HOT), *DIGITS)
    assert code == 0, err
    folder = Path(out)
    assert folder.parent == tmp_path / "results"
    assert folder.name.endswith("-profile-cuda-fake-t4")
    profile = profile_of(tmp_path, "fake-t4-batch1.csv")
    assert profile.origin.startswith("measured: Fake T4, torch 0.0, CUDA 0.0, 1 thread, batch 1")
    assert {k.precision for k in profile.kernels} == {
        "fp32",
        "fp16",
        "w8a8",
    }  # what compute capability 7.5 has
    assert {row.n for row in profile.kernels.values()} == {10}
    assert len(rows(folder / "networks.csv")) == len(profile.kernels)
    assert {row["sm_mhz"] for row in rows(folder / "conditions.csv")} == {"900"}
    run = json.loads((folder / "run.json").read_text())
    assert (run["gpu"], run["slowed"], run["left_out"], run["failed"]) == ("Fake T4", ["power cap"], [], [])


def test_what_it_measures_covers_a_search(go: Go, tmp_path: Path) -> None:
    assert go(FakeDevice(capability=(7, 5)), *DIGITS)[0] == 0
    spec = trace(tiny.model(), torch.zeros(2, 1, 8, 8)).spec
    target = find_target("cuda-int8")
    kernels = [
        KernelKey(Signature.of(node, 1), p)
        for node in spec.nodes
        for p in ("fp32", "w8a8")
        if target.kernel(node.op, p) is not None
    ]
    changes = [ChangeKey((1, *t.shape[1:]), change) for t in spec.tensors for change in Change]
    cover(profile_of(tmp_path, "fake-gpu-batch1.csv"), kernels, changes)


def test_another_run_adds_to_the_file(go: Go, tmp_path: Path) -> None:
    assert go(FakeDevice(capability=(7, 5)), *DIGITS)[0] == 0
    first = profile_of(tmp_path, "fake-gpu-batch1.csv")
    assert go(FakeDevice(capability=(8, 0)), *DIGITS)[0] == 0
    second = profile_of(tmp_path, "fake-gpu-batch1.csv")
    assert set(first.kernels) < set(second.kernels)
    code, _, err = go(FakeDevice(runtime="torch 9.9, CUDA 9"), *DIGITS)
    assert code == 2
    assert "the runtime's version changed" in err
    assert profile_of(tmp_path, "fake-gpu-batch1.csv") == second


def test_a_kernel_that_does_not_run_is_left_out_and_told(go: Go, tmp_path: Path) -> None:
    code, out, err = go(FakeDevice(capability=(8, 0)), *DIGITS)  # the CPU has no int4 kernels of CUDA's form
    assert code == 0
    run = json.loads((Path(out) / "run.json").read_text())
    assert {row["precision"] for row in run["left_out"]} == {"w4a16"}
    assert "left out linear" in err
    assert "w4a16" not in {k.precision for k in profile_of(tmp_path, "fake-gpu-batch1.csv").kernels}


def test_a_gpu_that_fails_on_the_way_leaves_what_it_measured(go: Go, tmp_path: Path) -> None:
    @dataclass
    class Full(FakeDevice):
        """Has no room for a second example."""

        full: bool = False

        def captured(self, work: Callable[[], object]) -> Callable[[], object]:
            self.full |= getattr(work(), "shape", (1,))[0] == 2
            return super().captured(work)

        def elapsed_ms(self, work: Callable[[], object]) -> float:
            if self.full:
                raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")
            return super().elapsed_ms(work)

    code, out, err = go(Full(capability=(7, 0)), *DIGITS[:3], "1", "2", "--rounds", "2")
    assert code == 4
    assert "digits, batch 2: CUDA failed on Fake GPU: CUDA out of memory." in err
    assert profile_of(tmp_path, "fake-gpu-batch1.csv").kernels
    (failed,) = json.loads((Path(out) / "run.json").read_text())["failed"]
    assert (failed["network"], failed["batch"]) == ("digits", 2)


NETWORKS = ("--networks", "resnet18", "vit_b", "decoder_1b")


class Shapes(FakeDevice):
    """A GPU of PyTorch's own shape rules: tensors of CUDA without values."""

    def captured(self, work: Callable[[], object]) -> Callable[[], object]:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return super().captured(work)


def test_networks_in_every_precision(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command as it is run where there is a GPU."""

    def without_values(make: Callable[..., object]) -> Callable[..., object]:
        def made(*arguments: object) -> object:
            with FakeTensorMode(allow_non_fake_inputs=True):
                return make(*arguments)

        return made

    study = sys.modules["profile_cuda"]
    monkeypatch.setattr(backend, "kernel_work", without_values(kernel_work))
    monkeypatch.setattr(backend, "change_work", without_values(change_work))
    monkeypatch.setattr(study, "kernel_work", without_values(kernel_work))
    monkeypatch.setattr(timing, "_flusher", lambda device: lambda: None)
    code, out, err = go(Shapes(place=torch.device("cuda", 0)), "--rounds", "1", "--batch", "1", *NETWORKS)
    assert code == 0, err
    run = json.loads((Path(out) / "run.json").read_text())
    assert (run["left_out"], run["failed"]) == ([], [])
    told = {row["network"] for row in rows(Path(out) / "networks.csv")}
    assert told == set(NETWORKS[1:])
    precisions = {k.precision for k in profile_of(tmp_path, "fake-gpu-batch1.csv").kernels}
    assert precisions == {"fp32", "tf32", "fp16", "bf16", "w8a8", "fp8e4m3", "w4a16"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here: run benchmarks/profile_cuda.py")
def test_without_a_gpu(
    study: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["profile_cuda.py"])
    assert study.main() == 4
    assert "profile --target cuda-int8" in capsys.readouterr().err
