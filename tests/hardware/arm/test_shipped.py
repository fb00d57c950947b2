"""The tables that ship: they parse, cover what they say, and tell a plausible story."""

from __future__ import annotations

import importlib.resources
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hawqsearch.core.design import all_float, all_int8
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change, ChangeKey, HardwareProfile, KernelKey, Measurement, Signature
from hawqsearch.core.latency import Term, terms_of
from hawqsearch.core.model import ModelSpec
from hawqsearch.graph.trace import trace
from hawqsearch.hardware.arm import tables
from hawqsearch.hardware.arm.cores import Core, cores, find_core
from hawqsearch.hardware.arm.memory import working_set
from hawqsearch.hardware.shipped import NotInTableError, run_ms, select, shipped_profile, shipped_whole
from hawqsearch.hardware.targets import find_target
from hawqsearch.zoo import digits, resnet20

A76 = find_core("cortex-a76")


def _conv(channels: int, out: int, size: int, kernel: int) -> Signature:
    return Signature(
        op="conv",
        input_shape=(1, channels, size, size),
        output_shape=(1, out, size, size),
        weight_shape=(out, channels, kernel, kernel),
        stride=(1, 1),
        padding=(kernel // 2, kernel // 2),
        dilation=(1, 1),
        activation="relu",
    )


def _ms(profile: HardwareProfile, signature: Signature, precision: str) -> float:
    return profile.kernels[KernelKey(signature, precision)].median_ms


@pytest.fixture(scope="module", params=["digits", "cifar10_resnet20"])
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    """The networks of the spaces that ship."""
    if request.param == "digits":
        return trace(digits.model().eval(), torch.zeros(2, 1, digits.CANVAS, digits.CANVAS)).spec
    return trace(resnet20.model().eval(), torch.zeros(2, 3, 32, 32)).spec


def test_every_row_says_that_it_is_simulated() -> None:
    profile = shipped_profile(A76)
    rows = [*profile.kernels.values(), *profile.changes.values()]
    assert {row.origin for row in rows} == {"simulated"}
    assert all(isinstance(row, Measurement) and row.median_ms > 0 for row in profile.kernels.values())
    assert profile.origin.startswith("simulated: Cortex-A76 port model, 2.4 GHz, onnxruntime ")
    assert "aarch64 on qemu" in profile.origin


def test_int8_pays_where_the_core_has_dot_products() -> None:
    """A 3x3 convolution of 64 channels: about four times as fast on the A76, half of that on the A72."""
    signature = _conv(64, 64, 8, 3)
    a76, a72 = (shipped_profile(find_core(name)) for name in ("cortex-a76", "cortex-a72"))
    assert 3.0 < _ms(a76, signature, "fp32") / _ms(a76, signature, "w8a8") < 4.5
    assert 1.5 < _ms(a72, signature, "fp32") / _ms(a72, signature, "w8a8") < 2.5


def test_fp32_reaches_most_of_the_peak_and_never_more() -> None:
    """The A76 does eight fp32 multiply-accumulates a cycle."""
    cycles = _ms(shipped_profile(A76), _conv(64, 64, 8, 3), "fp32") * A76.clock_ghz * 1e6
    per_cycle = 64 * 64 * 9 * 64 / cycles
    assert 5.5 < per_cycle <= 8


@pytest.mark.parametrize("core", cores().values(), ids=lambda core: core.name)
def test_no_kernel_beats_the_peak(core: Core) -> None:
    """Multiply-accumulates a cycle: two units (or one) of 4 fp32 lanes; of 16 int8 lanes with dot products, of 8
    without."""
    units = 2 if core.kernels == "dotprod" else 1
    peak = {"fp32": 4 * units, "w8a8": 16 * units if core.kernels == "dotprod" else 8}
    for key, row in shipped_profile(core).kernels.items():
        s = key.signature
        if s.is_weighted:
            macs = torch.Size(s.output_shape).numel() * torch.Size(s.weight_shape[1:]).numel()
            assert macs / (row.median_ms * core.clock_ghz * 1e6) <= peak[key.precision], s


def test_a_clock_scales_everything() -> None:
    slow = shipped_profile(replace(A76, clock_ghz=1.2))
    fast = shipped_profile(A76)
    for key, row in fast.kernels.items():
        assert slow.kernels[key].median_ms == pytest.approx(2 * row.median_ms)


def test_the_neoverse_n1_is_an_a76_at_its_clock() -> None:
    n1 = find_core("neoverse-n1")
    same = shipped_profile(replace(n1, clock_ghz=2.4))
    for key, row in shipped_profile(A76).kernels.items():
        assert same.kernels[key].median_ms == pytest.approx(row.median_ms)


@pytest.mark.parametrize("core", cores().values(), ids=lambda core: core.name)
def test_the_tables_cover_the_spaces_and_add_up(spec: ModelSpec, core: Core) -> None:
    """The sum of parts against whole networks, nothing fitted: within 7 per cent each."""
    target = find_target("arm-neon")
    profile = shipped_profile(core, network=working_set(spec))
    parts = {}
    for node in spec.nodes:
        for precision in ("fp32", "w8a8"):
            if target.kernel(node.op, precision) is not None:
                parts[Term(node.name, precision)] = _ms(profile, Signature.of(node, 1), precision)
    for tensor in spec.tensors:
        for change in Change:
            key = ChangeKey((1, *tensor.shape[1:]), change)
            parts[Term(tensor.name, change.value)] = profile.changes[key].median_ms
    whole = shipped_whole(core, spec, target)
    assert {all_float(spec), all_int8(spec, target)} <= set(whole)
    assert len(whole) >= 12
    for config, latency_ms in whole.items():
        predicted = run_ms(core) + sum(parts[term] for term in terms_of(spec, target, config))
        assert predicted == pytest.approx(latency_ms, rel=0.07)


def test_a_network_without_rows_has_no_whole_ones() -> None:
    spec = trace(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)).eval(), torch.zeros(2, 3, 8, 8)).spec
    assert shipped_whole(A76, spec, find_target("arm-neon")) == {}


def test_rows_that_are_not_there_are_all_named() -> None:
    strange = KernelKey(_conv(17, 19, 23, 3), "fp32")
    change = ChangeKey((1, 17, 23, 23), Change.TO_INT8)
    with pytest.raises(NotInTableError, match=r"conv 1x17x23x23.*and 1 more") as caught:
        select(shipped_profile(A76), [strange], [change])
    assert caught.value.keys == (strange, change)


def test_other_tables_are_read_where_they_are(tmp_path: Path) -> None:
    shipped = Path(str(importlib.resources.files("hw_profiles") / "arm-neon" / "profiles"))
    key, work = next(iter(tables.read_kernels(shipped / tables.KERNELS).items()))
    tables.merge(tmp_path, {key: tables.Work(FrozenDict({c: 2 * v for c, v in work.amounts.items()}))})
    shutil.copy(shipped / tables.RIG, tmp_path)
    other = shipped_profile(A76, folder=tmp_path)
    assert set(other.kernels) == {key}
    assert other.kernels[key].median_ms == pytest.approx(2 * shipped_profile(A76).kernels[key].median_ms)
