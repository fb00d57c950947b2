"""What verbs print: data to stdout, talk and progress to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

__all__ = ["number", "print_json", "print_table", "progress", "say"]

_PIPED_WIDTH = 160  # a pipe has no width of its own; names of layers are long


def print_json(document: Mapping[str, object]) -> None:
    """Print one JSON object to stdout; what is not known is null, and NaN is a bug."""
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


def say(line: str) -> None:
    """Print a line of talk to stderr."""
    sys.stderr.write(f"{line}\n")


def number(value: float | None, digits: int = 6) -> str:
    """`value` for a table, a dash where it is not known."""
    return "-" if value is None else f"{value:.{digits}g}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table to stdout under its title; every column after the first is aligned to the right."""
    from rich.box import SIMPLE_HEAD  # here, so that --json stays light
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if title is not None:
        sys.stdout.write(f"{title}\n")
    table = Table(box=SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)


@contextmanager
def progress(description: str, total: int, *, hidden: bool = False) -> Iterator[Callable[[], None]]:
    """A bar on stderr while the block runs; call what it gives once per step. Hidden off a terminal."""
    from rich.console import Console  # here, so that --json stays light
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=hidden or not console.is_terminal) as bars:
        task = bars.add_task(description, total=total)
        yield lambda: bars.advance(task)
