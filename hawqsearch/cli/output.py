"""What verbs print: data to stdout, talk and progress to stderr."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

__all__ = ["Bars", "number", "print_json", "print_table", "say"]

_NUMBER = re.compile(r"[-+]?\.?[0-9]|-?$")  # or a dash, or nothing
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
    """Print a table to stdout under its title; columns of numbers are aligned to the right."""
    from rich.box import SIMPLE_HEAD  # here, so that --json stays light
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if title is not None:
        sys.stdout.write(f"{title}\n")
    table, cells = Table(box=SIMPLE_HEAD), [list(row) for row in rows]
    for index, column in enumerate(columns):
        numbers = index > 0 and all(_NUMBER.match(row[index]) for row in cells)
        table.add_column(Text(column), justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)


class Bars:
    """Progress on stderr: one bar per stage on a terminal, one line per finished stage elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar of `total` steps; a line with its seconds once it is done."""
        from rich.console import Console  # here, so that --json stays light
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        start = time.perf_counter()
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description:32}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        hidden = self._quiet or not console.is_terminal
        with Progress(*columns, console=console, transient=True, disable=hidden) as bars:
            task = bars.add_task(name, total=total)
            yield lambda steps: bars.advance(task, steps)
        self.note(f"{name}: {time.perf_counter() - start:.1f} s")

    def note(self, text: str) -> None:
        """One line on stderr, unless quiet."""
        if not self._quiet:
            say(text)
