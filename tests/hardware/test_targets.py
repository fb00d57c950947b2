"""Target files: those that ship, those that are broken, and machines that are not what a target needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hawqsearch.core.model import JOIN_OPS, WEIGHTED_OPS
from hawqsearch.core.precision import Precision
from hawqsearch.errors import DeviceError, FileFormatError, UnknownNameError
from hawqsearch.hardware import targets

WHOLE = """
name = "mine"
summary = "a target"
runtime = "onnxruntime"
metered = ["latency_ms", "size_bytes"]

[[kernel]]
ops = ["conv", "linear"]
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
        ('ops = ["conv"]', 'ops = "conv"', "operator 'c'"),
        ('"latency_ms"', '"latency"', "'latency'; did you mean latency_ms"),
        ("[[kernel]]\nops = [", "[scheme]\nsigned = true\n[[kernel]]\nops = [", "signed"),
        ("[[kernel]]", "[kernel]", "not a TOML file"),
        ("summary = ", "summary ", "not a TOML file"),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in WHOLE
    with pytest.raises(FileFormatError, match=message) as error:
        targets.read_target(written(tmp_path, WHOLE.replace(old, new, 1)))
    assert "target.toml" in str(error.value)


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
