"""The study of GPUs runs from end to end on a device that is none; without a GPU it ends with exit 4."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from hawqsearch.hardware.cuda.conditions import Conditions
from hawqsearch.hardware.cuda.workloads import kernel_work
from hawqsearch.hardware.targets import find_target
from tests.hardware.cuda.fake import FakeDevice

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("profile_cuda")
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def test_it_measures_and_writes(
    study: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hot = Conditions(sm_mhz=900, memory_mhz=5000, temperature_c=88, slowed=("power cap",))
    monkeypatch.setattr(study, "TorchCuda", lambda: FakeDevice(name="Fake T4", capability=(7, 5), now=hot))
    monkeypatch.setattr(
        sys, "argv", ["profile_cuda.py", "--networks", "digits", "--batch", "1", "--rounds", "2"]
    )
    assert study.main() == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder.parent == tmp_path / "results"
    assert folder.name.endswith("-profile-cuda-fake-t4")
    with (folder / "kernels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["precision"] for row in rows} == {"fp32", "fp16", "w8a8"}  # what compute capability 7.5 has
    assert {row["n"] for row in rows} == {"10"}
    assert all(row["origin"].startswith("measured: Fake T4, torch 0.0") for row in rows)
    run = json.loads((folder / "run.json").read_text())
    assert (run["gpu"], run["slowed"]) == ("Fake T4", ["power cap"])


@pytest.mark.parametrize("network", ["resnet18", "resnet50", "vit_b", "decoder_1b"])
def test_every_kernel_of_the_other_networks_exists(study: ModuleType, network: str) -> None:
    device = FakeDevice(place=torch.device("cuda", 0))
    kernels = study._kernels(study._NETWORKS[network](1), find_target("cuda-int8"), device)
    assert kernels
    with FakeTensorMode():
        for key in kernels:
            kernel_work(key, device.place, device.capability)()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here: run benchmarks/profile_cuda.py")
def test_without_a_gpu(
    study: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["profile_cuda.py"])
    assert study.main() == 4
    assert "profile --target cuda-int8" in capsys.readouterr().err
