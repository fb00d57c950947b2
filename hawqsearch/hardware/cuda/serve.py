"""Measures on this machine's GPU what standard input asks for: `python -m hawqsearch.hardware.cuda.serve`.

`CudaSshBackend` starts it over ssh. One line per step: a marker, then JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.metadata import version

from hawqsearch.errors import DeviceError, HawqsearchError
from hawqsearch.hardware.cuda.backend import CudaBackend
from hawqsearch.hardware.cuda.wire import MARKER, Request, dump_profile, parse_request
from hawqsearch.hardware.targets import find_target

__all__ = ["main"]

_TARGET = "cuda-int8"


def main() -> int:
    """Answer one request; 0 also where the answer is what went wrong."""
    try:
        _answer(parse_request(sys.stdin.buffer.read()))
    except HawqsearchError as error:
        _say({"failed": str(error)})
    return 0


def _answer(request: Request) -> None:
    here = version("hawqsearch")
    if request.version != here:
        raise DeviceError(
            f"it has hawqsearch {here} and this is {request.version}; install the same there: "
            f"pip install hawqsearch=={request.version}"
        )
    backend = CudaBackend(rounds=request.rounds, burst=request.burst)
    rig = backend.rig(batch=request.batch)
    _say({"rig": asdict(rig)})
    if request.kernels or request.changes:
        profile = backend.measure(
            find_target(_TARGET),
            rig,
            request.kernels,
            request.changes,
            on_round=lambda done: _say({"rounds": done}),
        )
        _say({"profile": dump_profile(profile)})
    _say({"done": True})


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(f"{MARKER}{json.dumps(message)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
