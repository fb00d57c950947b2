"""`doctor`: what this machine can measure, what stands in the way, and what to do about it."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hawqsearch.cache import Cache, default_folder
from hawqsearch.cli import options
from hawqsearch.cli.output import print_json, print_table
from hawqsearch.errors import InputError
from hawqsearch.hardware.equipment import equipment
from hawqsearch.hardware.machine import Finding, examine
from hawqsearch.spaces import data_folder, find_space, find_weights, missing_files, space_names

__all__ = ["run"]

_PACKAGES = ("onnxruntime", "torch", "onnx", "highspy")


def run(as_json: options.Json = False, data: options.Data = None, cache_dir: options.CacheDir = None) -> None:
    """Look, print."""
    findings = (
        *examine(),
        *equipment(),
        _packages(),
        _openvino(),
        _cache(cache_dir or default_folder()),
        _data(data),
    )
    if as_json:
        problems = sum(f.state == "problem" for f in findings)
        print_json({"schema_version": 1, "problems": problems, "findings": [asdict(f) for f in findings]})
        return
    print_table(["", "state", "found"], [[f.what, f.state, f.found] for f in findings])
    for finding in findings:
        if finding.remedy is not None:
            sys.stdout.write(f"{finding.what}: {finding.remedy}\n")


def _packages() -> Finding:
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        remedy = f"pip install {' '.join(missing)}"
        return Finding(what="packages", state="problem", found=f"no {', '.join(missing)}", remedy=remedy)
    return Finding(what="packages", state="good", found=", ".join(found))


def _openvino() -> Finding:
    try:
        found = f"openvino {version('openvino')}; x86 targets can be run by it: --runtime openvino"
    except PackageNotFoundError:
        return Finding(
            what="openvino",
            state="note",
            found="not installed; it is a second runtime of the x86 targets",
            remedy="pip install 'hawqsearch[openvino]'",
        )
    return Finding(what="openvino", state="good", found=found)


def _cache(folder: Path) -> Finding:
    try:
        Cache(folder).check_writable()
    except InputError as error:
        remedy = "name a folder that you may write to with --cache-dir"
        return Finding(what="cache", state="problem", found=str(error), remedy=remedy)
    size = sum(path.stat().st_size for path in folder.rglob("*.cache"))
    return Finding(what="cache", state="good", found=f"{folder} is writable and holds {size / 2**20:.1f} MiB")


def _data(directory: Path | None) -> Finding:
    folder = data_folder(directory)
    named = "--data" if directory else "HAWQSEARCH_DATA" if os.environ.get("HAWQSEARCH_DATA") else "default"
    waiting = [name for name in space_names() if not _complete(name, directory)]
    if not waiting:
        return Finding(what="data", state="good", found=f"{folder} ({named}): every space is complete")
    return Finding(
        what="data",
        state="note",
        found=f"{folder} ({named}) lacks files of {', '.join(waiting)}; the others are complete",
        remedy="hawqsearch spaces names them; point HAWQSEARCH_DATA or --data at their folder",
    )


def _complete(name: str, directory: Path | None) -> bool:
    space = find_space(name)
    if space.is_shapes_only:
        return True
    try:
        find_weights(space, directory)
    except InputError:
        return False
    return not missing_files(space, directory)
