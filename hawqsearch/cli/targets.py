"""`targets`: which devices there are, and what each precision buys there, with the reason and its source."""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from hawqsearch.cli import options
from hawqsearch.cli.output import print_json, print_table
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError, InputError
from hawqsearch.hardware.machines import machine_names
from hawqsearch.hardware.published import published_names
from hawqsearch.hardware.targets import check_machine, find_target, runtimes_of, target_names

__all__ = ["run"]

_WORDS: Final = MappingProxyType({True: "can be measured", False: "is none", None: "need not be one"})


def run(
    name: Annotated[
        str | None,
        typer.Argument(help="Show what each precision buys on this one; ./FOLDER is a target of your own."),
    ] = None,
    runtime: options.Runtime = None,
    as_json: options.Json = False,
) -> None:
    """Look up, print."""
    if name is None and runtime is not None:
        raise InputError("--runtime is about one target; name it")
    found = [find_target(name, runtime)] if name is not None else [find_target(n) for n in target_names()]
    if as_json:
        print_json({"schema_version": 1, "targets": {target.name: _document(target) for target in found}})
    elif name is not None:
        _print_target(found[0])
    else:
        rows = [[t.name, _WORDS[_here(t)[0]], t.summary] for t in found]
        print_table(["target", "this machine", "what it is"], rows)
        sys.stdout.write(
            "hawqsearch targets NAME shows what each precision buys there; ./FOLDER with a target.toml is one more\n"
        )


def _document(target: Target) -> dict[str, Any]:
    here, why = _here(target)
    kernels = {
        op: {
            precision: {
                "buys": list(target.buys(op, precision)),
                "timed_as": k.timed_as,
                "requantizes": k.requantizes,
            }
            | {"storage_bits": k.storage_bits, "note": k.note, "source": k.source}
            for precision, k in kernels.items()
        }
        for op, kernels in target.kernels.items()
    }
    return {
        "summary": target.summary,
        "runtime": target.runtime,
        "runtimes": list(runtimes_of(target)),
        "metered": list(target.metered),
        "this_machine": here,
        "this_machine_why": why,
        "kernels": kernels,
        "machines": list(machine_names(target)),
        "published": [f"{target.name}/{name}" for name in published_names(target.name)],
    }


def _print_target(target: Target) -> None:
    precisions = list(dict.fromkeys(p for kernels in target.kernels.values() for p in kernels))
    print_table(
        ["precision", *target.kernels],
        [[p, *(_cell(target, op, p) for op in target.kernels)] for p in precisions],
        title=f"{target.name}: {target.summary}; what a precision buys against fp32",
    )
    for note, (ops, names) in _notes(target).items():
        sys.stdout.write(f"{', '.join(ops)} {', '.join(names)}: {note}\n")
    for name in machine_names(target):
        sys.stdout.write(f"measured elsewhere: search --target {target.name} --profile {name} --budget …\n")
    for name in published_names(target.name):
        sys.stdout.write(f"published by others: hawqsearch solve {target.name}/{name} --budget …\n")
    for other in runtimes_of(target):
        if other != target.runtime:
            sys.stdout.write(f"runs on {other} too: hawqsearch targets {target.name} --runtime {other}\n")
    sys.stdout.write(f"this machine: {_here(target)[1]}\n")


def _cell(target: Target, op: str, precision: str) -> str:
    kernel = target.kernel(op, precision)
    if kernel is None:
        return "does not exist"
    buys = target.buys(op, precision)
    if precision == "fp32":
        return "baseline"
    pace = f", {kernel.timed_as}'s time" if kernel.timed_as != precision else ""
    return f"buys {' and '.join(buys) or 'nothing'}{pace}"


def _notes(target: Target) -> dict[str, tuple[dict[str, None], dict[str, None]]]:
    """Note -> operators and precisions that it is about, each in order."""
    found: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for op, kernels in target.kernels.items():
        for precision, kernel in kernels.items():
            told = kernel.note + (f" [{kernel.source}]" if kernel.source else "")
            if told:
                ops, names = found.setdefault(told, ({}, {}))
                ops[op], names[precision] = None, None
    return found


def _here(target: Target) -> tuple[bool | None, str]:
    """Whether this machine is one of the target, and why; None where none need be here."""
    if target.runtime is None:
        return None, "need not be one: nothing is timed"
    if target.device == "tables":
        return None, (
            "need not be one: shipped tables stand for it; a board is measured with hawqsearch profile --host"
        )
    try:
        check_machine(target)
    except DeviceError as error:
        return False, f"no: {error}"
    return True, "yes, it can be measured here"
