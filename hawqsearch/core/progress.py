"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["SILENT", "Advance", "Progress"]

Advance = Callable[[int], object]
"""Called with how many steps were just done."""


class Progress(Protocol):
    """Shows stages of work, or does not."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """A stage of `total` steps, shown while the context is open."""
        ...

    def note(self, text: str) -> None:
        """One line worth reading that is no result."""
        ...


class _Silent:
    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        yield lambda steps: None

    def note(self, text: str) -> None:
        return None


SILENT: Progress = _Silent()
"""Shows nothing."""
