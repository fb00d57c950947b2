"""Where a study's results go, and what they were made on."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["ROOT", "cpu_model", "describe_rig", "describe_run", "study_folder", "write_run"]

ROOT = Path(__file__).resolve().parents[1]


def study_folder(name: str, root: Path = ROOT) -> Path:
    """`results/<date>-<study>-<cpu>/`, made if it is not there."""
    slug = re.sub(r"[^a-z0-9]+", "-", cpu_model().lower()).strip("-")
    folder = root / "results" / f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-{name}-{slug}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cpu_model() -> str:
    """The processor's own name for itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe_rig() -> dict[str, object]:
    """Processor, cores, load and system, as they are now."""
    return {
        "cpu": cpu_model(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def describe_run(packages: tuple[str, ...]) -> dict[str, object]:
    """Command, revision, time, rig and versions: what one needs to do it again."""
    return {
        "command": " ".join(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]]),
        "revision": _git("rev-parse", "HEAD"),
        "uncommitted": [line[3:] for line in _git("status", "--porcelain", "-uno").splitlines()],
        "utc": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
        "rig": describe_rig(),
        "versions": {name: _version(name) for name in packages},
    }


def write_run(folder: Path, packages: tuple[str, ...], **more: object) -> None:
    """Write `run.json` into a study's folder."""
    (folder / "run.json").write_text(json.dumps(describe_run(packages) | more, indent=1) + "\n")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.rstrip("\n")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
