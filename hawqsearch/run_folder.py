"""A run's folder: what was asked, what came out, and the file to deploy; every file whole or not at all."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hawqsearch.core.files import write_atomic
from hawqsearch.core.outcome import Outcome
from hawqsearch.errors import FileFormatError, InputError

__all__ = ["RunFolder", "default_run_folder"]

_SCHEMA: Final = "hawqsearch.run"
_VERSION: Final = 1


def default_run_folder(space: str, target: str) -> Path:
    """`runs/<utc>-<space>-<target>` below the working directory."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return Path("runs") / f"{now}-{space}-{target}"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run writes; open it with `RunFolder.open`, which refuses before any work is done."""

    path: Path
    inputs: Mapping[str, Any]
    is_new: bool

    @classmethod
    def open(cls, path: Path, inputs: Mapping[str, Any]) -> RunFolder:
        """The folder at `path`, made if it is not there; one that exists is resumed if its inputs agree.

        Raises:
            InputError: it cannot be written, or it holds a run of other inputs.
            FileFormatError: its run.json is broken.
        """
        is_new = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot make the run folder {path}: {error.strerror}; choose another with --out"
            ) from error
        if not os.access(path, os.W_OK):
            raise InputError(f"cannot write to the run folder {path}; choose another with --out")
        folder = cls(path, inputs, is_new)
        folder._check_same_inputs()
        folder._write("run.json", {"state": "running"})
        return folder

    def discard(self) -> None:
        """Remove a folder that this run made and that holds no answer."""
        if self.is_new and not (self.path / "model.onnx").exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def save(
        self, outcome: Outcome, record: Mapping[str, Any], config: str | None, model: bytes | None
    ) -> None:
        """Write the outcome so far: the files of the answer first, `run.json` last."""
        if model is not None:
            write_atomic(self.path / "model.onnx", model)
        if config is not None:
            write_atomic(self.path / "config.json", config)
        write_atomic(self.path / "layers.csv", _layers_csv(record))
        self._write("run.json", {"state": outcome.state, "outcome": outcome.as_json(), **record})

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        whole = {"schema": _SCHEMA, "schema_version": _VERSION, "inputs": dict(self.inputs), **content}
        write_atomic(self.path / name, json.dumps(whole, indent=1, allow_nan=False) + "\n")

    def _check_same_inputs(self) -> None:
        path = self.path / "run.json"
        if not path.exists():
            return
        try:
            before = json.loads(path.read_text())["inputs"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileFormatError(
                f"{path} is no whole run file ({error}); remove it or choose another --out"
            ) from None
        for key in [*self.inputs, *(k for k in before if k not in self.inputs)]:
            if before.get(key) != self.inputs.get(key):
                raise InputError(
                    f"{self.path} holds a run with {key} {before.get(key)!r}, not {self.inputs.get(key)!r}; "
                    "choose another --out"
                )


def _layers_csv(record: Mapping[str, Any]) -> str:
    rows = record.get("layers", [])
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
