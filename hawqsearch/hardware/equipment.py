"""Parts that only some measurements need: is each here, and how to get it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hawqsearch.hardware.arm import toolchain
from hawqsearch.hardware.cuda.presence import missing_gpu, torch_version
from hawqsearch.hardware.machine import Finding

__all__ = ["equipment"]

_APT: Final = "apt-get install "


def equipment(root: Path = Path("/")) -> tuple[Finding, ...]:
    """The Arm simulator, the ssh client and the GPU; without them the rest works."""
    return _simulator(), _ssh(), _gpu(root)


def _simulator() -> Finding:
    lacking = toolchain.missing()
    if not lacking:
        found = "qemu, compilers and libraries are here: profile --target arm-neon --backend qemu"
        return Finding(what="arm simulator", state="good", found=found)
    return Finding(
        what="arm simulator",
        state="note",
        found=f"no {', '.join(part.what for part in lacking)}; the shipped table of arm-neon needs none of it",
        remedy="to simulate other kernels: " + " && ".join(_together(part.remedy for part in lacking)),
    )


def _together(remedies: Iterable[str]) -> list[str]:
    """The remedies, those that install packages with apt-get as one command."""
    told = list(dict.fromkeys(remedies))
    apt = [r.removeprefix(_APT) for r in told if r.startswith(_APT)]
    return ([_APT + " ".join(apt)] if apt else []) + [r for r in told if not r.startswith(_APT)]


def _ssh() -> Finding:
    path = shutil.which("ssh")
    if path is not None:
        return Finding(what="ssh", state="good", found=f"{path}: profile --host user@board")
    return Finding(
        what="ssh",
        state="note",
        found="no ssh client, so no board can be measured",
        remedy="apt-get install openssh-client",
    )


def _gpu(root: Path) -> Finding:
    """The driver and PyTorch's build, without loading PyTorch."""
    why = missing_gpu(root)
    if why is None:
        return Finding(what="gpu", state="good", found=f"an NVIDIA driver and torch {torch_version()}")
    driver = "driver" in why
    return Finding(
        what="gpu",
        state="note" if driver else "problem",
        found=f"{why}, so cuda-int8 cannot be measured here",
        remedy="hawqsearch profile --target cuda-int8 on the machine that has the GPU, or here with --host user@machine"
        if driver
        else "pip install --force-reinstall torch with CUDA: https://pytorch.org/get-started/locally",
    )
