"""Measure the shapes that a predictor of this machine's kernels learns from.

    python -m hawqsearch.grid_tables --target x86-vnni --out hw_profiles/x86-vnni/profiles/amd-epyc.csv

Portion by portion, so that one that was stopped goes on; then the predictor's scales are learned from all of them.
Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from hawqsearch.cli.output import Bars
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Rig
from hawqsearch.core.profile_file import check_rig, merge, read_profile, write_profile
from hawqsearch.core.target import Target
from hawqsearch.hardware.grid import change_grid, kernel_grid
from hawqsearch.hardware.kernel_features import kind_of
from hawqsearch.hardware.local import LocalBackend
from hawqsearch.hardware.predictor import learned
from hawqsearch.hardware.targets import check_machine, find_target
from hawqsearch.hardware.wide_grid import wide_change_grid, wide_kernel_grid

__all__ = ["grid", "main"]

_SEED: Final = 0
_PORTION: Final = 200
"""Rows measured side by side: their models stay loaded meanwhile."""

Key = KernelKey | ChangeKey


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure what is not in the file, learn."""
    parser = argparse.ArgumentParser(prog="python -m hawqsearch.grid_tables", description=__doc__)
    parser.add_argument("--target", default="native")
    parser.add_argument("--out", type=Path, required=True, help="CSV file; rows that are in it stay")
    parser.add_argument(
        "--signatures", type=int, default=3600, help="distinct kernels, each in every precision"
    )
    parser.add_argument("--changes", type=int, default=400, help="shapes of tensors whose precision changes")
    options = parser.parse_args(arguments)
    target = find_target(options.target)
    check_machine(target)
    profile = _measured(options.out, target, grid(options.signatures, options.changes))
    n_kinds = len({*map(kind_of, profile.kernels), *map(kind_of, profile.changes)})
    with Bars().stage("learning the predictor's scales", n_kinds) as advance:
        write_profile(options.out, learned(profile, on_kind=lambda kind: advance(1)))


def grid(signatures: int, changes: int) -> list[Key]:
    """About so many shapes of kernels and of tensors, usual ones and those at the ends, shuffled."""
    keys: list[Key] = list(
        dict.fromkeys(
            [
                *kernel_grid(signatures * 2 // 3, seed=_SEED),
                *wide_kernel_grid(signatures // 3, seed=_SEED),
                *change_grid(changes // 2, seed=_SEED),
                *wide_change_grid(changes // 2, seed=_SEED),
            ]
        )
    )
    random.Random(_SEED).shuffle(keys)
    return keys


def _measured(path: Path, target: Target, keys: Sequence[Key]) -> HardwareProfile:
    """Every row of `keys`, those that `path` lacks measured into it."""
    from hawqsearch.pipeline import local_rig

    rig = local_rig(target, threads=1, batch=1)
    known = _known(path, rig)
    todo = [k for k in keys if known is None or (k not in known.kernels and k not in known.changes)]
    with Bars().stage("grid of shapes", len(keys)) as advance:
        advance(len(keys) - len(todo))
        for start in range(0, len(todo), _PORTION):
            portion = todo[start : start + _PORTION]
            found = LocalBackend().measure(target, rig, _kernels(portion), _changes(portion))
            known = found if known is None else merge(known, found)
            write_profile(path, known)
            advance(len(portion))
    assert known is not None
    return known


def _known(path: Path, rig: Rig) -> HardwareProfile | None:
    if not path.exists():
        return None
    known = read_profile(path)
    check_rig(known, rig)
    return known


def _kernels(keys: Iterable[Key]) -> list[KernelKey]:
    return [k for k in keys if isinstance(k, KernelKey)]


def _changes(keys: Iterable[Key]) -> list[ChangeKey]:
    return [k for k in keys if isinstance(k, ChangeKey)]


if __name__ == "__main__":
    main()
