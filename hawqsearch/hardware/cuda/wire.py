"""What goes over the line between `CudaSshBackend` here and `serve` on the machine that has the GPU: lines of JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hawqsearch.core.hardware import Change, ChangeKey, HardwareProfile, KernelKey, Signature
from hawqsearch.core.profile_file import read_profile, write_profile
from hawqsearch.errors import DeviceError, HawqsearchError

__all__ = ["MARKER", "Request", "dump_profile", "missing_rows", "parse_profile", "parse_request"]

MARKER: Final = "hawqsearch-gpu: "
"""Begins every line of the server's; what a login prints does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be measured there, by the same release as asks.

    Args:
        batch: of the rig; the kernels' shapes hold it already.
    """

    version: str
    batch: int
    rounds: int
    burst: int
    kernels: tuple[KernelKey, ...] = ()
    changes: tuple[ChangeKey, ...] = ()

    def dump(self) -> bytes:
        """Inverse of `parse_request`."""
        return json.dumps(asdict(self)).encode()


def parse_request(content: bytes) -> Request:
    """The request; raises `DeviceError` where it is none."""
    try:
        told = json.loads(content)
        kernels = tuple(KernelKey(_signature(k["signature"]), k["precision"]) for k in told.pop("kernels"))
        changes = tuple(ChangeKey(tuple(c["shape"]), Change(c["change"])) for c in told.pop("changes"))
        return Request(**told, kernels=kernels, changes=changes)
    except (ValueError, TypeError, KeyError) as error:
        raise DeviceError(f"the request cannot be read: {error!r}") from None


def _signature(told: dict[str, Any]) -> Signature:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
    return Signature(**fields)


def dump_profile(profile: HardwareProfile) -> str:
    """The text of its file."""
    with tempfile.TemporaryDirectory(prefix="hawqsearch-") as folder:
        path = Path(folder) / "profile.csv"
        write_profile(path, profile)
        return path.read_text(encoding="utf-8")


def parse_profile(text: str) -> HardwareProfile:
    """The profile in a file's text, checked as any file is; raises `DeviceError` where it is none."""
    with tempfile.TemporaryDirectory(prefix="hawqsearch-") as folder:
        path = Path(folder) / "profile.csv"
        path.write_text(text, encoding="utf-8")
        try:
            return read_profile(path)
        except HawqsearchError as error:
            why = str(error).removeprefix(f"{path}: ")
            raise DeviceError(f"the GPU's machine sent a profile that cannot be read: {why}") from None


def missing_rows(profile: HardwareProfile, asked: Sequence[KernelKey | ChangeKey]) -> int:
    """How many of the rows asked for it lacks."""
    known = profile.rows
    return sum(key not in known for key in asked)
