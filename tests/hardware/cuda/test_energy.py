"""Energy of kernels on a GPU that is none, by a counter that adds what its runs take."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hawqsearch.cli.app import main
from hawqsearch.core.hardware import Change, ChangeKey, Energy, KernelKey, Rig, Signature
from hawqsearch.errors import DeviceError
from hawqsearch.hardware import targets
from hawqsearch.hardware.cuda import backend as cuda_backend
from hawqsearch.hardware.cuda import energy as cuda_energy
from hawqsearch.hardware.cuda.energy import CudaEnergy
from hawqsearch.hardware.energy import available
from hawqsearch.hardware.energy.meter import Meter
from hawqsearch.hardware.energy.nvml import open_nvml
from hawqsearch.hardware.energy.survey import Survey
from hawqsearch.hardware.targets import find_target
from hawqsearch.testing import tiny
from tests.hardware.cuda.fake import FakeDevice

LINEAR = KernelKey(
    Signature(op="linear", input_shape=(64, 64), output_shape=(64, 32), weight_shape=(32, 64)), "fp32"
)
CHANGE = ChangeKey((64, 64), Change.TO_INT8)
RIG = Rig(device="Fake GPU", runtime="torch 0.0, CUDA 0.0", threads=1, batch=1)
IDLE_W, NET_W = 60.0, 200.0


@dataclass
class Bench(FakeDevice):
    """A GPU whose every replay takes `replay_s` at `NET_W` above idle; it is its own counter and clock."""

    replay_s: float = 1e-3
    seconds: float = 0.0
    uj: float = 0.0
    bursts: list[int] = field(default_factory=list)
    resolution_uj: float = 1e3
    update_s: float = 0.1
    wrap_uj: float | None = None
    uuid: str = "GPU-1234"

    def elapsed_ms(self, work: Callable[[], object]) -> float:
        before = len(self.order)
        work()
        replays = len(self.order) - before
        self.bursts.append(replays)
        self.pass_time(replays * self.replay_s, IDLE_W + NET_W)
        return replays * self.replay_s * 1e3

    def pass_time(self, seconds: float, watts: float) -> None:
        self.seconds += seconds
        self.uj += watts * 1e6 * seconds

    def read_uj(self) -> float:
        return self.uj

    def metering(self) -> AbstractContextManager[None]:
        return nullcontext()

    def reader(self) -> Meter:
        return Meter(
            counters=(self,),
            blocks=3,
            steps=10,
            clock=lambda: self.seconds,
            sleep=lambda s: self.pass_time(s, IDLE_W),
        )


def metered(
    bench: Bench, times_ms: dict[KernelKey | ChangeKey, float]
) -> dict[KernelKey | ChangeKey, Energy]:
    found: dict[KernelKey | ChangeKey, Energy] = {}
    backend = CudaEnergy(bench.reader(), bench)
    assert backend.counter == "Fake GPU"
    backend.meter(find_target("cuda-int8"), RIG, times_ms, on_row=found.__setitem__)
    return found


def test_a_kernels_energy_is_the_power_above_idle_over_its_time() -> None:
    found = metered(Bench(), {LINEAR: 1.0, CHANGE: 0.5})
    assert found[LINEAR].median_mj == pytest.approx(NET_W * 1.0)
    assert found[CHANGE].median_mj == pytest.approx(NET_W * 0.5)
    for energy in found.values():
        assert (energy.counter, energy.n) == ("Fake GPU", 3)
        assert energy.low_mj <= energy.median_mj <= energy.high_mj


def test_short_kernels_are_replayed_in_bursts() -> None:
    """Else the host's waiting between them would count as their time."""
    bench = Bench(replay_s=1e-5)
    metered(bench, {LINEAR: 0.01})
    assert set(bench.bursts) == {500}


def test_another_gpu_than_the_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = CudaEnergy(Bench().reader(), Bench())
    other = replace(RIG, device="Tesla T4")
    with pytest.raises(DeviceError, match="the rig says Tesla T4, but Fake GPU is here"):
        backend.meter(find_target("cuda-int8"), other, {LINEAR: 1.0}, on_row=lambda key, energy: None)


def test_cuda_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(work: Callable[[], object]) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    bench = Bench()
    monkeypatch.setattr(bench, "elapsed_ms", fail)
    with pytest.raises(DeviceError, match="CUDA failed on Fake GPU: CUDA out of memory"):
        metered(bench, {LINEAR: 1.0})


def test_the_counter_is_that_of_the_gpu_that_pytorch_uses() -> None:
    """By its UUID: PyTorch and NVML may number GPUs differently."""
    asked: list[str] = []

    class NVMLError(Exception):
        pass

    library = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: asked.append(uuid) or "handle",
        nvmlDeviceGetName=lambda handle: "NVIDIA T4",
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 7,
    )
    counter = open_nvml("GPU-1234", library)
    assert asked == ["GPU-1234"]
    assert (counter.name, counter.read_uj()) == ("NVML NVIDIA T4", 7e3)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    """A machine with that GPU and the tiny space; the GPU."""
    monkeypatch.chdir(tmp_path)
    tiny.write_space(tmp_path, precisions=("fp32", "w8a8"))
    bench = Bench()
    monkeypatch.setattr(targets, "missing_gpu", lambda: None)
    monkeypatch.setattr(cuda_backend, "TorchCuda", Bench)
    monkeypatch.setattr(cuda_energy, "TorchCuda", lambda: bench)
    monkeypatch.setattr(cuda_energy, "gpu_survey", lambda uuid: Survey((bench,)))
    monkeypatch.setattr(cuda_energy, "open_meter", lambda found: bench.reader())
    monkeypatch.setattr(available, "gpu_survey", lambda: Survey((bench,)))
    return bench


def test_a_search_on_a_gpu_with_a_budget_in_joules(gpu: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """Every part takes a millisecond at 200 W; whole networks are neither timed nor metered there."""
    shared = ("--target", "cuda-int8", "--space", "tiny.toml", "--cache-dir", "cache")
    assert main(["search", *shared, "--budget", "100J", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["limits"]["energy_mj"] == 100e3
    assert found["predicted"]["energy_mj"] == pytest.approx(NET_W * found["predicted"]["latency_ms"])
    assert found["measured"]["energy_mj"] is None
    assert main(["profile", *shared, "--energy", "--out", "gpu.csv", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["kernels"]
    assert {row["energy_counter"] for row in rows} == {"Fake GPU"}
    assert main(["search", *shared, "--budget", "1mJ", "--profile", "gpu.csv"]) == 3
    assert "the least that can be had is energy_mj" in capsys.readouterr().err
