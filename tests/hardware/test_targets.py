"""Target files: those that ship, those that are broken, and machines that are not what a target needs."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import pytest

from hawqsearch.core.model import JOIN_OPS, WEIGHTED_OPS
from hawqsearch.core.precision import Precision
from hawqsearch.errors import DeviceError, FileFormatError, InputError, UnknownNameError
from hawqsearch.hardware import targets

WHOLE = """
name = "mine"
summary = "a target"
runtime = "onnxruntime"
metered = ["latency_ms", "size_bytes"]

[[kernel]]
ops = ["conv", "linear", "add", "concat", "avg_pool", "max_pool"]
precisions = ["fp32"]

[[kernel]]
ops = ["conv"]
precisions = ["w8a8", "w4a8"]
timed_as = "w8a8"
requantizes = true
"""


@pytest.mark.parametrize("name", targets.target_names())
def test_targets_that_ship_are_whole(name: str) -> None:
    target = targets.find_target(name)
    assert target.name == name
    for op in WEIGHTED_OPS | JOIN_OPS:
        assert Precision.parse("fp32") in target.precisions(op)
        for precision in target.precisions(op):
            kernel = target.kernel(op, str(precision))
            assert kernel is not None
            assert target.kernel(op, kernel.timed_as) is not None, "timed as a kernel that it has"
            assert not (kernel.requantizes and precision.is_float)
    assert (target.runtime is None) == ("latency_ms" not in target.metered)


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="x86-vnni"):
        targets.find_target("x86-vni")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "target.toml"
    path.write_text(text)
    return path


def test_a_whole_file_says_what_it_says(tmp_path: Path) -> None:
    target = targets.read_target(written(tmp_path, WHOLE))
    assert [str(p) for p in target.precisions("conv")] == ["fp32", "w8a8", "w4a8"]
    assert [str(p) for p in target.precisions("linear")] == ["fp32"]
    narrow, plain = target.kernel("conv", "w4a8"), target.kernel("linear", "fp32")
    assert narrow is not None
    assert plain is not None
    assert (narrow.timed_as, narrow.requantizes, narrow.storage_bits) == ("w8a8", True, 4)
    assert (plain.timed_as, plain.requantizes, plain.storage_bits) == ("fp32", False, 32)
    assert target.kernel("linear", "w8a8") is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "mine"', "", "'name'"),
        ("summary", "sumary", "'sumary'; did you mean summary"),
        ("timed_as", "timed", "'timed'; did you mean timed_as"),
        ('precisions = ["fp32"]', "", "'precisions'"),
        ('"w4a8"', '"w9a8"', "w9a8"),
        ('timed_as = "w8a8"', 'timed_as = "int8"', "int8"),
        ('"w4a8"', '"w8a8"', "w8a8 on conv twice"),
        ('ops = ["conv"]', 'ops = ["convolution"]', "'convolution'"),
        ('ops = ["conv"]', 'ops = "conv"', "ops is 'conv'; write a list"),
        ('ops = ["conv"]', "ops = []", "ops is empty"),
        ('"max_pool"]', '"max_pool"]\nfoo = 1', "key 'foo'"),
        (', "max_pool"]', "]", "no fp32 kernel of max_pool"),
        ('timed_as = "w8a8"', 'timed_as = "w6a8"', "w8a8 on conv is timed as w6a8, which it does not list"),
        ('timed_as = "w8a8"', "timed_as = 8", "timed_as is 8; write it in quotes"),
        ("requantizes = true", 'requantizes = "yes"', "write true or false"),
        ('precisions = ["fp32"]', 'precisions = ["fp32"]\nrequantizes = true', "fp32 does not quantize"),
        ("requantizes = true", "storage_bits = 4", "storage_bits is 4; write a whole number from 8 to 32"),
        ("requantizes = true", "storage_bits = true", "storage_bits is True"),
        ('"onnxruntime"', '"onnxruntim"', "runtime 'onnxruntim'; did you mean onnxruntime"),
        ('runtime = "onnxruntime"', "", "latency_ms is metered where there is a runtime"),
        ('"latency_ms", ', "", "latency_ms is metered where there is a runtime"),
        ('"size_bytes"', '"energy_mj"', "leave energy_mj out"),
        ('name = "mine"', 'name = "my target"', "name 'my target' must be of letters"),
        ('name = "mine"', 'name = "mine"\ndevice = "table"', "device 'table'; did you mean tables"),
        ('name = "mine"', 'name = "mine"\nrequires = "avx2"', "write a list of names"),
        ('name = "mine"', 'name = "mine"\nscheme = 1', "scheme is a table"),
        ("[[kernel]]", "[scheme]\nweight_code_bits = 9\n[[kernel]]", "a whole number from 2 to 8"),
        ("[[kernel]]", '[scheme]\nnarrow_weights = "no"\n[[kernel]]', "write true or false"),
        ('"latency_ms"', '"latency"', "'latency'; did you mean latency_ms"),
        ("[[kernel]]\nops = [", "[scheme]\nsigned = true\n[[kernel]]\nops = [", "signed"),
        (WHOLE[WHOLE.index("[[kernel]]") :], "", "kernels are tables"),
        ("[[kernel]]", "[kernel]", "not a TOML file"),
        ("summary = ", "summary ", "not a TOML file"),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in WHOLE
    with pytest.raises(FileFormatError, match=message) as error:
        targets.read_target(written(tmp_path, WHOLE.replace(old, new, 1)))
    assert "target.toml" in str(error.value)


def test_a_folder_or_file_of_ones_own_is_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, WHOLE)
    for name in (str(tmp_path), str(path), "./", "target.toml"):
        assert targets.find_target(name) == targets.read_target(path)
    (tmp_path / "npu").mkdir()
    path.rename(tmp_path / "npu/target.toml")
    assert targets.find_target("./npu").name == "mine"
    with pytest.raises(InputError, match=r"write \./npu"):
        targets.find_target("npu")
    with pytest.raises(InputError, match=r"cannot read nowhere/x: .*name a target\.toml or its folder"):
        targets.find_target("nowhere/x")


def test_the_name_of_a_target_that_ships_is_taken(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="of a target that ships; choose another"):
        targets.find_target(str(written(tmp_path, WHOLE.replace('"mine"', '"x86-vnni"'))))
    with pytest.raises(FileFormatError, match="of a target that ships; choose another"):
        targets.find_target(str(written(tmp_path, WHOLE.replace('"mine"', '"native"'))))
    shipped = Path(str(importlib.resources.files("hw_profiles"))) / "x86-vnni"
    assert targets.find_target(str(shipped)) == targets.find_target("x86-vnni")


def test_tables_are_of_targets_that_ship(tmp_path: Path) -> None:
    text = WHOLE.replace('name = "mine"', 'name = "mine"\ndevice = "tables"')
    with pytest.raises(FileFormatError, match="leave it out"):
        targets.find_target(str(written(tmp_path, text)))


def test_a_gpu_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    target = targets.find_target("cuda-int8")
    monkeypatch.setattr(targets, "missing_gpu", lambda: None)
    targets.check_machine(target)
    monkeypatch.setattr(targets, "missing_gpu", lambda: "no NVIDIA driver is here")
    with pytest.raises(DeviceError, match=r"profile --target cuda-int8 --out gpu\.csv") as caught:
        targets.check_machine(target)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "target.toml"
    path.write_bytes(b"name = \xff")
    with pytest.raises(FileFormatError, match="not a TOML file"):
        targets.read_target(path)


@pytest.mark.parametrize(
    ("flags", "fits"),
    [
        ({"avx2", "avx512_vnni"}, "x86-vnni"),
        ({"avx2", "avx_vnni"}, "x86-vnni"),
        ({"avx2"}, "x86-avx2"),
        ({"sse2"}, None),
        (set(), None),
    ],
)
def test_a_machine_is_checked_for_what_a_target_needs(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], fits: str | None
) -> None:
    monkeypatch.setattr(targets, "cpu_flags", lambda: frozenset(flags))
    targets.check_machine(targets.find_target("generic"))
    for name in ("x86-vnni", "x86-avx2"):
        if name == fits:
            targets.check_machine(targets.find_target(name))
        else:
            way_out = "no target describes it" if fits is None else f"use --target {fits} here"
            with pytest.raises(DeviceError, match=f"{name} needs a processor .*{way_out}"):
                targets.check_machine(targets.find_target(name))
