"""What is sent to a board: models, the list of rounds still to be timed, and the measuring script, as one tar."""

from __future__ import annotations

import importlib.resources
import io
import json
import tarfile
from collections.abc import Mapping, Sequence, Set

__all__ = ["SCRIPT", "bundle"]

SCRIPT = "measure_onnx.py"
_BESIDE = "read_energy.py"


def bundle(
    models: Mapping[str, bytes], todo: Mapping[str, Set[int]], settings: Mapping[str, object]
) -> bytes:
    """A tar of the scripts, `jobs.json`, and every model that has rounds left to time.

    Args:
        models: job name -> ONNX file.
        todo: job name -> rounds still to be timed.
        settings: seconds, threads, rounds, warm_up, burst, signed_activations.
    """
    jobs = [
        {"name": name, "file": f"{name}.onnx", "rounds": sorted(rounds)}
        for name, rounds in todo.items()
        if rounds
    ]
    folder = importlib.resources.files(__package__)
    files = [(name, (folder / name).read_bytes()) for name in (SCRIPT, _BESIDE)]
    files.append(("jobs.json", json.dumps({**settings, "jobs": jobs}).encode()))
    return _tar([*files, *((f"{job['name']}.onnx", models[str(job["name"])]) for job in jobs)])


def _tar(files: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
