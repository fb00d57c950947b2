"""What a simulated run needs, found or built: qemu, a cross compiler, onnxruntime's aarch64 library."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.resources
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from hawqsearch.errors import DeviceError, MissingDependencyError
from hawqsearch.hardware.arm.cores import KERNEL_SETS
from hawqsearch.hardware.arm.root import root_files, write_root

__all__ = ["Missing", "Toolchain", "build", "missing"]

_QEMU: Final = "qemu-aarch64"
_CROSS_GCC: Final = "aarch64-linux-gnu-gcc"
_SYSROOT: Final = Path("/usr/aarch64-linux-gnu/lib")
_LIBRARIES: Final = ("ld-linux-aarch64.so.1", "libc.so.6", "libstdc++.so.6", "libgcc_s.so.1")
_FLAGS: Final = ("-O2", "-std=gnu11", "-w")
_SONAME: Final = "libonnxruntime.so.1"


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that is not here, and how to get it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """All that a simulated run needs, as paths.

    Args:
        roots: folder of one guest root per entry of `KERNEL_SETS`, named after the processor.
        runtime_version, qemu_version: for the origin of what is simulated.
    """

    qemu: Path
    plugin: Path
    runner: Path
    roots: Path
    runtime_version: str
    qemu_version: str

    @property
    def runtime(self) -> str:
        """The runtime as rigs name it."""
        return f"onnxruntime {self.runtime_version} aarch64 on qemu {self.qemu_version}"


def missing() -> tuple[Missing, ...]:
    """Parts that are not here, with the remedy; nothing is built or fetched."""
    parts = []
    if shutil.which(_QEMU) is None:
        parts.append(Missing(_QEMU, "apt-get install qemu-user"))
    elif "-plugin" not in _output([_QEMU, "-h"]):
        parts.append(
            Missing(f"plugins in {_QEMU}", "install a qemu-user built with them, such as Debian 12's")
        )
    if shutil.which("gcc") is None:
        parts.append(Missing("gcc", "apt-get install gcc libc6-dev"))
    if shutil.which(_CROSS_GCC) is None and find_spec("ziglang") is None:
        parts.append(Missing(_CROSS_GCC, "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"))
    lacking = [name for name in _LIBRARIES if not (_SYSROOT / name).exists()]
    if lacking:
        remedy = "apt-get install libc6-arm64-cross libstdc++6-arm64-cross libgcc-s1-arm64-cross"
        parts.append(Missing(f"{', '.join(lacking)} in {_SYSROOT}", remedy))
    if find_spec("capstone") is None:
        parts.append(Missing("capstone", "pip install 'hawqsearch[arm]'"))
    return tuple(parts)


def build(folder: Path) -> Toolchain:
    """The toolchain, built below `folder` unless it is there already.

    Raises:
        MissingDependencyError: a part is missing; the message says how to get all of them.
        DeviceError: a download or a compiler failed.
    """
    lacking = missing()
    if lacking:
        raise MissingDependencyError(
            "simulating Arm needs " + "; ".join(f"{part.what} ({part.remedy})" for part in lacking)
        )
    runtime_version, qemu_version = importlib.metadata.version("onnxruntime"), _qemu_version()
    home = folder / f"{runtime_version}-{qemu_version}-{_sources_hash()}"
    roots = home / "roots"
    if not (home / "ready").exists():
        home.mkdir(parents=True, exist_ok=True)
        library = _fetch_runtime(runtime_version, home)
        _compile_plugin(home)
        _compile_runner(home, library)
        for processor in KERNEL_SETS.values():
            write_root(roots / processor, processor, [*sorted(_SYSROOT.glob("*.so*")), library])
        (home / "ready").touch()
    return Toolchain(
        qemu=Path(str(shutil.which(_QEMU))),
        plugin=home / "bbcount.so",
        runner=home / "runner",
        roots=roots,
        runtime_version=runtime_version,
        qemu_version=qemu_version,
    )


def _qemu_version() -> str:
    match = re.search(r"version (\S+)", _output([_QEMU, "--version"]))
    return match[1] if match else "unknown"


def _sources_hash() -> str:
    """What was built from what: programs, and what the simulated processes see of a machine."""
    digest = hashlib.sha256()
    for name in ("runner.c", "bbcount.c"):
        digest.update((importlib.resources.files(__package__) / name).read_bytes())
    for processor in KERNEL_SETS.values():
        digest.update(repr(root_files(processor)).encode())
    return digest.hexdigest()[:12]


def _fetch_runtime(version: str, home: Path) -> Path:
    """The aarch64 library of the onnxruntime that is installed here, out of its wheel."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", "manylinux_2_28_aarch64", "--python-version", python]
    _run([*command, "--dest", str(home), f"onnxruntime=={version}"])
    wheel = next(home.glob("onnxruntime-*aarch64.whl"))
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if "/libonnxruntime.so." in n)
        library = home / _SONAME
        library.write_bytes(archive.read(name))
    wheel.unlink()
    return library


def _compile_plugin(home: Path) -> None:
    source = importlib.resources.files(__package__) / "bbcount.c"
    with importlib.resources.as_file(source) as path:
        _run(["gcc", *_FLAGS, "-shared", "-fPIC", "-o", str(home / "bbcount.so"), str(path)])


def _compile_runner(home: Path, library: Path) -> None:
    if shutil.which(_CROSS_GCC) is not None:
        compiler = [_CROSS_GCC]
        linking = [f"-Wl,-rpath-link,{_SYSROOT}"]
    else:
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu.2.28"]
        linking = ["-Wl,--allow-shlib-undefined"]
    source = importlib.resources.files(__package__) / "runner.c"
    with importlib.resources.as_file(source) as path:
        output = ["-rdynamic", "-o", str(home / "runner")]
        _run([*compiler, *_FLAGS, *output, str(path), str(library), *linking])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise DeviceError(
            f"{Path(command[0]).name} failed while the Arm simulator was built: {''.join(last)}"
        )


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
