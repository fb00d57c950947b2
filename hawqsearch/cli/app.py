"""`hawqsearch VERB …`: finds the verb, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final

from hawqsearch.errors import HawqsearchError, UnknownNameError

__all__ = ["VERBS", "main", "search_main"]

VERBS: Final = MappingProxyType(
    {
        "search": ("hawqsearch.cli.search", "The precision of every layer within a budget."),
        "profile": ("hawqsearch.cli.profile", "What every kernel takes on a target, measured or simulated."),
        "profile-diff": ("hawqsearch.cli.profile_diff", "Two profiles row by row."),
        "analyze": ("hawqsearch.cli.analyze", "How much every choice hurts, with error bars."),
        "compare": ("hawqsearch.cli.compare", "Configurations side by side, measured."),
        "solve": ("hawqsearch.cli.solve", "The search alone, on numbers that you bring."),
        "targets": ("hawqsearch.cli.targets", "Devices, and what each precision buys there."),
        "spaces": (
            "hawqsearch.cli.spaces",
            "Networks that a search knows, and whether all they need is here.",
        ),
        "doctor": ("hawqsearch.cli.doctor", "What this machine can measure, and what stands in the way."),
    }
)
"""Verb -> (module whose function `run` has its options, one line of help). The module is loaded on call."""

_USAGE_ERROR = 2
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that `argv` (default: the process's arguments) names; the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except HawqsearchError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)
    except BrokenPipeError:  # the reader of stdout left: nobody is there to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def search_main() -> int:
    """`search …`, short for `hawqsearch search …`."""
    return main(["search", *sys.argv[1:]])


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h"):
        sys.stdout.write(_help())
        return 0
    if arguments[0] == "--version":
        sys.stdout.write(f"hawqsearch {_version()}\n")
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        raise UnknownNameError("verb", verb, VERBS)
    return _run(verb, importlib.import_module(VERBS[verb][0]).run, rest)


def _run(verb: str, function: Callable[..., None], arguments: list[str]) -> int:
    import typer  # here, so that --help stays light

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(verb, help=VERBS[verb][1])(function)
    command = typer.main.get_command(app)
    try:
        with command.make_context(f"hawqsearch {verb}", arguments) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:
        return _fail(f"{error.format_message().rstrip('.')}; see hawqsearch {verb} --help", _USAGE_ERROR)
    return 0


def _fail(message: str, exit_code: int) -> int:
    sys.stdout.flush()
    line = " ".join(message.split())
    sys.stderr.write(f"error: {line}\n".encode("utf-8", "backslashreplace").decode())
    return exit_code


def _version() -> str:
    from importlib.metadata import version  # here, so that --help stays light

    return version("hawqsearch")


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "".join(f"  {verb:{width}}  {line}\n" for verb, (_, line) in VERBS.items())
    return (
        "usage: hawqsearch VERB [OPTIONS]\n\n"
        "The precision of every layer that costs the least accuracy within a budget.\n\n"
        f"{verbs}\n"
        "hawqsearch VERB --help shows a verb's options; hawqsearch --version the version.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
