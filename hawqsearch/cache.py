"""Results of stages, kept by what they depend on.

A key is any JSON value that names everything the content was made from; its hash is the file's name. A file
that cannot be read back is made again, with one line on stderr.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hawqsearch.core.files import write_atomic
from hawqsearch.errors import InputError

__all__ = ["Cache", "code_version", "default_folder"]

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


def default_folder() -> Path:
    """Where results are kept unless `--cache-dir` says otherwise."""
    import platformdirs

    return platformdirs.user_cache_path("hawqsearch")


def code_version(*parts: str) -> str:
    """Hash of some of our sources, packages or single files: what other code computed is computed again."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for part in parts:
        for path in sorted([root / part] if part.endswith(".py") else (root / part).glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of results; `folder=None` keeps nothing."""

    folder: Path | None

    def check_writable(self) -> None:
        """Raise `InputError` before any work if the folder cannot be written."""
        if self.folder is not None:
            self._make(self.folder)

    def read(self, kind: str, key: object, parse: Callable[[bytes], T]) -> T | None:
        """The content under `key` as `parse` reads it; None where there is none, or none that can be read."""
        path = self._path(kind, key)
        if path is None or not path.exists():
            return None
        try:
            content = path.read_bytes()
            digest, body = content[:_DIGEST], content[_DIGEST:]
            if hashlib.sha256(body).hexdigest().encode() != digest:
                raise ValueError("its checksum is wrong")
            return parse(body)
        except (OSError, ValueError, KeyError, TypeError, InputError) as error:
            _LOG.warning("cache file %s is broken (%s); making it again", path, error)
            return None

    def write(self, kind: str, key: object, content: bytes) -> None:
        """Keep `content` under `key`, whole or not at all."""
        path = self._path(kind, key)
        if path is not None:
            self._make(path.parent)
            write_atomic(path, hashlib.sha256(content).hexdigest().encode() + content)

    def read_json(self, kind: str, key: object) -> Any:
        """The JSON value under `key`, None where there is none."""
        return self.read(kind, key, json.loads)

    def write_json(self, kind: str, key: object, value: object) -> None:
        """Keep a JSON value under `key`."""
        self.write(kind, key, json.dumps(value, allow_nan=False).encode())

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot write the cache {self.folder} ({error.strerror}); choose --cache-dir or --no-cache"
            ) from error

    def _path(self, kind: str, key: object) -> Path | None:
        if self.folder is None:
            return None
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / kind / f"{name[:32]}.cache"


_DIGEST = 64
