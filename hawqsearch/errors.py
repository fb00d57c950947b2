"""Every exception that hawqsearch raises on purpose.

HawqsearchError                    one line on stderr, never a trace
├── InputError                     exit 2: the user can mend it before work starts
│   ├── UnknownNameError           a target, space, precision, layer, strategy … that does not exist
│   ├── BudgetError                a budget that cannot be read, or that nothing meters
│   ├── FileFormatError            a file that is truncated, of another version, or not what it says
│   ├── UnsupportedModelError      a model that cannot be exported, traced, or that answers NaN
│   └── MissingDependencyError     an optional package that is not installed
├── InfeasibleError                exit 3: no configuration meets the budget
├── DeviceError                    exit 4: the device or its runtime failed, or is not there
└── InterruptedRunError            exit 130: stopped by the user, the best so far is on disk
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BudgetError",
    "DeviceError",
    "FileFormatError",
    "HawqsearchError",
    "InfeasibleError",
    "InputError",
    "InterruptedRunError",
    "MissingDependencyError",
    "UnknownNameError",
    "UnsupportedModelError",
]


class HawqsearchError(Exception):
    """Root of the tree; `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(HawqsearchError):
    """Something the user can mend before work starts."""

    exit_code = 2


class UnknownNameError(InputError):
    """A name that nothing answers to; the message lists the nearest that do."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(choices)}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")
        self.kind, self.name, self.known = kind, name, tuple(choices)

    def __reduce__(self) -> tuple[type, tuple[str, str, tuple[str, ...]]]:
        return type(self), (self.kind, self.name, self.known)


class BudgetError(InputError):
    """A budget that cannot be read, or that bounds a quantity nothing meters."""


class FileFormatError(InputError):
    """A file that is truncated, of another schema version, or not what it says it is."""


class UnsupportedModelError(InputError):
    """A model that cannot be exported or traced, or whose output is not finite."""


class MissingDependencyError(InputError):
    """An optional package that is not installed; the message says how to get it."""


class _OutcomeError(HawqsearchError):
    """An end that still has something to show: `outcome`, where the run got far enough to have one."""

    def __init__(self, message: str, outcome: object = None) -> None:
        super().__init__(message)
        self.outcome = outcome

    def __reduce__(self) -> tuple[type, tuple[str, object]]:
        return type(self), (str(self), self.outcome)


class InfeasibleError(_OutcomeError):
    """No configuration meets the budget; the message names the nearest that can be had."""

    exit_code = 3


class DeviceError(HawqsearchError):
    """The device or its runtime failed, or this machine is not one of the target's."""

    exit_code = 4


class InterruptedRunError(_OutcomeError):
    """Stopped by the user; the best so far is on disk."""

    exit_code = 130
