"""What is found of parts that only some measurements need, on machines that are made up."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import pytest

from hawqsearch.hardware.arm import toolchain
from hawqsearch.hardware.arm.toolchain import Missing
from hawqsearch.hardware.equipment import equipment
from hawqsearch.hardware.machine import Finding

NOTHING = (
    Missing("qemu-aarch64", "apt-get install qemu-user"),
    Missing("gcc", "apt-get install gcc libc6-dev"),
    Missing("capstone", "pip install 'hawqsearch[arm]'"),
)


def found(what: str, root: Path) -> Finding:
    return {finding.what: finding for finding in equipment(root)}[what]


@pytest.mark.parametrize(("lacking", "state"), [(NOTHING, "note"), ((), "good")])
def test_the_simulator(
    lacking: tuple[Missing, ...], state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "missing", lambda: lacking)
    finding = found("arm simulator", tmp_path)
    assert finding.state == state
    if lacking:
        assert "qemu-aarch64, gcc, capstone" in finding.found
        told = "apt-get install qemu-user gcc libc6-dev && pip install 'hawqsearch[arm]'"
        assert str(finding.remedy).endswith(told)


@pytest.mark.parametrize(("path", "state"), [("/usr/bin/ssh", "good"), (None, "note")])
def test_the_ssh_client(
    path: str | None, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: path)
    monkeypatch.setattr(toolchain, "missing", lambda: ())
    finding = found("ssh", tmp_path)
    assert finding.state == state
    assert finding.remedy == (None if path else "apt-get install openssh-client")


@pytest.mark.parametrize(
    ("driver", "built", "state", "says"),
    [
        (False, "2.13.0+cpu", "note", "on the machine that has the GPU"),
        (True, "2.13.0+cpu", "problem", "built without CUDA"),
        (True, "2.13.0+cu130", "good", "torch 2.13.0+cu130"),
    ],
)
def test_the_gpu(
    driver: bool, built: str, state: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: built)
    monkeypatch.setattr(toolchain, "missing", lambda: ())
    if driver:
        (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
        (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version\n")
    finding = found("gpu", tmp_path)
    assert finding.state == state
    assert says in f"{finding.found} {finding.remedy}"
