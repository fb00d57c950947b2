"""Reading a versioned JSON file: what is wrong with it is one line that names the place and the way out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from hawqsearch.errors import FileFormatError, InputError, UnknownNameError

__all__ = ["Part", "named", "read_document"]


class Part(BaseModel):
    """A part of a file: nothing is converted, no key is unknown, every number is finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


FileT = TypeVar("FileT", bound=Part)


@contextmanager
def named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within, what is wrong with the content of `path` is raised as a `FileFormatError` that names it."""
    try:
        yield
    except _UnreadableError:
        raise
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error


def read_document(
    path: str | os.PathLike[str], kind: type[FileT], schema: str, version: int, keys: Iterable[str]
) -> FileT:
    """The file at `path` as a `kind`; open it within `named(path)`.

    Args:
        keys: every key that the schema knows, for the hint at a misspelt one.

    Raises:
        InputError: there is no such file, or it cannot be read.
        FileFormatError: it is not whole JSON, or not of this schema and version.
    """
    document = _parsed(_content(Path(path), schema))
    _check_header(document, schema, version)
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise _first_line(error, keys) from error


class _UnreadableError(InputError):
    """There is no content that could be wrong."""


def _content(path: Path, schema: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _UnreadableError(f"cannot read {path}: {error.strerror}; name a {schema} file") from error


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content.decode(), object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise FileFormatError(
            f"not whole JSON at {where} ({error.msg}); was it cut short? write it again"
        ) from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise FileFormatError("not a JSON text file; write it again as UTF-8") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FileFormatError(f"key {twice!r} is there twice in one object; remove one")
    return found


def _check_header(document: object, schema: str, version: int) -> None:
    kind = schema.rpartition(".")[2]
    found = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(document, dict) or found != schema:
        raise FileFormatError(f'not a {kind} file: its "schema" is {found!r}, it must be "{schema}"')
    stated = document.get("schema_version")
    if type(stated) is not int or stated != version:
        raise FileFormatError(
            f"schema_version is {stated!r}, this release reads {version}; upgrade hawqsearch"
        )


def _first_line(error: ValidationError, keys: Iterable[str]) -> InputError:
    first = error.errors(include_url=False)[0]
    *parents, last = (str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        unknown = UnknownNameError("key", last, keys)
        return FileFormatError(f"{'.'.join(parents) or 'top level'}: {unknown}")
    given = "" if first["type"] == "missing" else f", got {_short(first['input'])}"
    return FileFormatError(f"{'.'.join([*parents, last])}: {first['msg']}{given}")


def _short(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:57]}..."
