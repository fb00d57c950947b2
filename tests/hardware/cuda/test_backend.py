"""The backend on a device and a clock that are the test's."""

from __future__ import annotations

import contextlib
import gc
import itertools
import weakref
from types import SimpleNamespace

import pytest
import torch

from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Signature
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.cuda.backend import CudaBackend
from hawqsearch.hardware.cuda.conditions import Conditions, read_conditions
from hawqsearch.hardware.cuda.device import TorchCuda, check_cuda
from hawqsearch.hardware.cuda.timing import time_in_turn, warm_up
from hawqsearch.hardware.targets import find_target
from tests.hardware.cuda.fake import FakeDevice

LINEAR = Signature(op="linear", input_shape=(4, 32), output_shape=(4, 16), weight_shape=(16, 32))
KERNELS = [KernelKey(LINEAR, p) for p in ("fp32", "fp16", "w8a8", "fp8e4m3")]
CHANGES = [ChangeKey((4, 32), change) for change in Change]
COOL = Conditions(sm_mhz=1590, memory_mhz=5000, temperature_c=50, slowed=())


def test_a_profile_of_every_kernel_and_change() -> None:
    seen: list[Conditions] = []
    rounds: list[int] = []
    backend = CudaBackend(rounds=4, burst=3, device=FakeDevice(now=COOL), on_conditions=seen.append)
    rig = backend.rig(batch=4)
    profile = backend.measure(find_target("cuda-int8"), rig, KERNELS, CHANGES, on_round=rounds.append)
    assert set(profile.kernels) == set(KERNELS)
    assert set(profile.changes) == set(CHANGES)
    assert {(m.median_ms, m.n, m.origin) for m in profile.kernels.values()} == {(1.0, 12, "measured")}
    assert str(rig) == "Fake GPU, torch 0.0, CUDA 0.0, 1 thread, batch 4"
    assert profile.origin.startswith("measured: Fake GPU")
    assert sum(rounds) == backend.n_rounds
    assert seen == [COOL] * 5


def test_a_device_that_does_not_say_what_it_runs_at() -> None:
    seen: list[Conditions] = []
    backend = CudaBackend(rounds=1, device=FakeDevice(), on_conditions=seen.append)
    backend.measure(find_target("cuda-int8"), backend.rig(batch=1), KERNELS[:1], [])
    assert seen == []


def test_another_gpu_than_the_rigs() -> None:
    rig = CudaBackend(device=FakeDevice(name="NVIDIA T4")).rig(batch=1)
    with pytest.raises(DeviceError, match="the rig says NVIDIA T4, but Fake GPU is here"):
        CudaBackend(device=FakeDevice()).measure(find_target("cuda-int8"), rig, KERNELS, [])


def test_memory_that_runs_out() -> None:
    class Full(FakeDevice):
        def captured(self, work: object) -> object:  # type: ignore[override]
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")

    backend = CudaBackend(device=Full())
    with pytest.raises(DeviceError, match=r"CUDA failed on Fake GPU: CUDA out of memory\.$"):
        backend.measure(find_target("cuda-int8"), backend.rig(batch=1), KERNELS, [])


def test_where_it_runs_does_not_change_what_a_row_is_cached_under() -> None:
    assert repr(CudaBackend(device=FakeDevice())) == repr(CudaBackend()) == "CudaBackend(rounds=30, burst=5)"


def test_works_take_turns_in_reverse_every_other_round() -> None:
    device = FakeDevice()
    works = {name: device.captured(lambda: None) for name in "abc"}
    times = time_in_turn(device, works, rounds=2, burst=2)
    assert device.order == [0, 0, 1, 1, 2, 2, 2, 2, 1, 1, 0, 0]
    assert {len(t) for t in times.values()} == {4}


def test_a_drift_hits_all_alike() -> None:
    device = FakeDevice(clock=(1.0 + 0.01 * k for k in itertools.count()))
    works = {name: device.captured(lambda: None) for name in "abc"}
    means = [sum(t) / len(t) for t in time_in_turn(device, works, rounds=10, burst=1).values()]
    assert max(means) - min(means) < 1e-9


def test_it_warms_up_until_it_is_steady() -> None:
    falling = [5.0, 3.0, 2.0, 1.5, 1.2, 1.05, 1.0, 0.995]
    device = FakeDevice(clock=iter(falling))
    assert warm_up(device, {"a": device.captured(lambda: None)}) == len(falling)
    restless = FakeDevice(clock=itertools.cycle([1.0, 2.0]))
    assert warm_up(restless, {"a": restless.captured(lambda: None)}) == 50


@pytest.mark.parametrize("said", [-1.0, float("nan"), float("inf")])
def test_a_clock_that_makes_no_sense(said: float) -> None:
    device = FakeDevice(clock=itertools.repeat(said))
    with pytest.raises(DeviceError, match="device's clock"):
        time_in_turn(device, {"a": device.captured(lambda: None)}, rounds=1, burst=1)


def test_without_a_gpu_it_says_how_to_profile_one() -> None:
    cuda = SimpleNamespace(is_available=lambda: False)
    with pytest.raises(DeviceError, match="profile --target cuda-int8") as caught:
        check_cuda(cuda)
    assert caught.value.exit_code == 4
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="none is here"):
            CudaBackend().rig(batch=1)


class FakeCuda:
    """`torch.cuda` as `TorchCuda` uses it; `log` keeps what happened, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.l2_bytes = 4_194_304

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def get_device_properties(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(name="NVIDIA T4", major=7, minor=5, L2_cache_size=self.l2_bytes, uuid="1-2")

    def device(self, index: int) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def current_stream(self) -> SimpleNamespace:
        return SimpleNamespace(wait_stream=lambda other: self.log.append("main waits"))

    def Stream(self) -> SimpleNamespace:  # noqa: N802  (torch's name)
        return SimpleNamespace(wait_stream=lambda other: self.log.append("side waits"))

    def stream(self, side: object) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def CUDAGraph(self) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(replay=lambda: self.log.append("replay"))

    @contextlib.contextmanager
    def graph(self, graph: object):  # type: ignore[no-untyped-def]
        self.log.append("capture")
        yield
        self.log.append("captured")

    def Event(self, *, enable_timing: bool) -> SimpleNamespace:  # noqa: N802
        assert enable_timing
        return SimpleNamespace(
            record=lambda: self.log.append("record"),
            synchronize=lambda: self.log.append("synchronize"),
            elapsed_time=lambda end: 0.25,
        )


def nvml(**answers: object) -> SimpleNamespace:
    class NVMLError(Exception):
        pass

    def refuse(uuid: str) -> str:
        if uuid != "GPU-1-2":
            raise NVMLError("Not Found")
        return uuid

    known = {
        "NVMLError": NVMLError,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": refuse,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 0x44,
        "nvmlDeviceGetClockInfo": lambda handle, kind: {1: 1590, 2: 5000}[kind],
        "nvmlDeviceGetTemperature": lambda handle, kind: 71,
    }
    return SimpleNamespace(**(known | answers))


def test_torchs_gpu_warms_up_captures_and_times() -> None:
    cuda = FakeCuda()
    gpu = TorchCuda(cuda=cuda, nvml=nvml())
    replay = gpu.captured(lambda: cuda.log.append("work"))
    assert cuda.log == ["side waits", "work", "work", "work", "main waits", "capture", "work", "captured"]
    cuda.log.clear()
    assert gpu.elapsed_ms(replay) == 0.25
    assert cuda.log == ["record", "replay", "record", "synchronize"]
    assert (gpu.name, gpu.capability, gpu.flush_bytes) == ("NVIDIA T4", (7, 5), 2**28)
    assert gpu.place == torch.device("cuda", 0)
    assert gpu.runtime.startswith(f"torch {torch.__version__}, CUDA")


def test_a_large_cache_is_flushed_whole() -> None:
    cuda = FakeCuda()
    cuda.l2_bytes = 2**28
    assert TorchCuda(cuda=cuda, nvml=nvml()).flush_bytes == 2**29


def test_the_operands_live_as_long_as_the_replay() -> None:
    """A graph reads the memory of its operands, whoever has it by then."""
    operand = torch.zeros(1)
    alive = weakref.ref(operand)
    replay = TorchCuda(cuda=FakeCuda(), nvml=nvml()).captured(lambda operand=operand: operand + 1)
    del operand
    gc.collect()
    assert alive() is not None
    del replay
    gc.collect()
    assert alive() is None


def test_clocks_temperature_and_what_slows_it() -> None:
    gpu = TorchCuda(cuda=FakeCuda(), nvml=nvml())
    slowed = ("power cap", "hardware thermal slowdown")
    assert gpu.conditions() == Conditions(sm_mhz=1590, memory_mhz=5000, temperature_c=71, slowed=slowed)


def test_without_nvml_nothing_is_said_of_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert TorchCuda(cuda=FakeCuda()).conditions() is None


def test_a_gpu_that_nvml_does_not_know() -> None:
    with pytest.raises(DeviceError, match="NVML does not say what GPU-9"):
        read_conditions("GPU-9", nvml())


def test_a_gpu_number_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="no GPU number 1 here, only 1"):
        TorchCuda(1, cuda=FakeCuda())
