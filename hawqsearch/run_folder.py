"""A run's folder: what was asked, what came out, and the file to deploy; every file whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hawqsearch.core.files import write_atomic
from hawqsearch.core.outcome import Outcome
from hawqsearch.errors import FileFormatError, HawqsearchError, InputError, InterruptedRunError

__all__ = ["RunFolder", "default_run_folder"]

_SCHEMA: Final = "hawqsearch.run"
_VERSION: Final = 1
_FILES: Final = ("model.onnx", "config.json", "scales.safetensors", "layers.csv", "run.json")


def default_run_folder(space: str, target: str) -> Path:
    """`runs/<utc>-<space>-<target>` below the working directory, numbered where a second saw two runs."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = Path("runs") / f"{now}-{space}-{target}"
    again = (folder.with_name(f"{folder.name}-{k}") for k in itertools.count(2))
    return next(path for path in itertools.chain([folder], again) if not path.exists())


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run writes; open it with `RunFolder.open`, which refuses before any work is done.

    Args:
        made: the topmost folder that opening it made, None where it was there.
        before: the run file that it held, empty where there was none.
    """

    path: Path
    inputs: Mapping[str, Any]
    made: Path | None
    before: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path, inputs: Mapping[str, Any]) -> RunFolder:
        """The folder at `path`, made if it is not there; one that exists is resumed if its inputs agree.

        Raises:
            InputError: it cannot be written, or it holds a run of other inputs.
            FileFormatError: its run.json is broken.
        """
        made = _first_missing(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot make the run folder {path}: {error.strerror}; choose another with --out"
            ) from error
        if not os.access(path, os.W_OK):
            raise InputError(f"cannot write to the run folder {path}; choose another with --out")
        folder = cls(path, inputs, made, _read_run(path / "run.json"))
        folder._check_same_inputs()
        try:
            folder._write({**folder.before, "state": "running"})
        except InputError:
            folder.discard()
            raise
        return folder

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Within, what ends the run early leaves a folder that says so, or none where nothing was answered."""
        try:
            yield
        except (KeyboardInterrupt, InterruptedRunError):
            self.interrupt()
            raise
        except HawqsearchError as error:
            if getattr(error, "outcome", None) is None:
                with contextlib.suppress(InputError):  # a full disk: what went wrong first is what counts
                    self.discard()
            raise

    def discard(self) -> None:
        """After an error: keep what was answered, leave nothing else behind."""
        if self.before:
            self._write(self.before)
        elif "outcome" in _read_run(self.path / "run.json"):
            self.interrupt()
        elif self.made is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            _remove_empty(self.path.parent, self.made)
        else:
            for name in _FILES:
                (self.path / name).unlink(missing_ok=True)

    def interrupt(self) -> None:
        """Note that the run was stopped; what it answered so far stays."""
        self._write({**_read_run(self.path / "run.json"), "state": "interrupted"})

    def save(self, outcome: Outcome, record: Mapping[str, Any], files: Mapping[str, bytes | str]) -> None:
        """Write the outcome so far: the files of the answer first, `run.json` last."""
        for name, content in files.items():
            write_atomic(self.path / name, content)
        write_atomic(self.path / "layers.csv", _layers_csv(record))
        self._write({"state": outcome.state, "outcome": outcome.as_json(), **record})

    def _write(self, content: Mapping[str, Any]) -> None:
        whole = {"schema": _SCHEMA, "schema_version": _VERSION, "inputs": dict(self.inputs)} | dict(content)
        write_atomic(self.path / "run.json", json.dumps(whole, indent=1, allow_nan=False) + "\n")

    def _check_same_inputs(self) -> None:
        before = self.before.get("inputs", self.inputs)
        for key in [*self.inputs, *(k for k in before if k not in self.inputs)]:
            if before.get(key) != self.inputs.get(key):
                raise InputError(
                    f"{self.path} holds a run with {key} {before.get(key)!r}, not {self.inputs.get(key)!r}; "
                    "choose another --out"
                )


def _read_run(path: Path) -> dict[str, Any]:
    """The run file's content, empty where there is none."""
    try:
        whole = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"{path} is no whole run file ({error}); remove it or choose another --out"
        ) from None
    if not isinstance(whole, dict) or not isinstance(whole.get("inputs"), dict):
        raise FileFormatError(f"{path} is no run file: it has no inputs; remove it or choose another --out")
    return whole


def _first_missing(path: Path) -> Path | None:
    """The topmost folder that making `path` makes, None where it is there."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    return missing[-1] if missing else None


def _remove_empty(path: Path, top: Path) -> None:
    """Remove `path` and its parents up to `top` as long as they are empty."""
    with contextlib.suppress(OSError):
        while path != top.parent:
            path.rmdir()
            path = path.parent


def _layers_csv(record: Mapping[str, Any]) -> str:
    rows = record.get("layers", [])
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
