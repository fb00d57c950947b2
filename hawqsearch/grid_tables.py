"""Measure the shapes that a predictor of this machine's kernels learns from.

    python -m hawqsearch.grid_tables --target x86-vnni --out hw_profiles/x86-vnni/profiles/amd-epyc.csv

Portion by portion, so that one that was stopped goes on; then the predictor's scales are learned from all of them.
Nothing else should run meanwhile. Where the machine is shared, call it some more times with `--again`: a busy
neighbour only slows (Chen and Revels, arXiv:1608.04295), so of every row the quickest pass is kept.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from hawqsearch.cli.output import Bars
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement, Rig
from hawqsearch.core.profile_file import check_rig, merge, read_profile, write_profile
from hawqsearch.core.target import Target
from hawqsearch.hardware.grid import change_grid, kernel_grid
from hawqsearch.hardware.kernel_features import kind_of
from hawqsearch.hardware.local import LocalBackend
from hawqsearch.hardware.predictor import learned
from hawqsearch.hardware.targets import check_machine, find_target
from hawqsearch.hardware.wide_grid import wide_change_grid, wide_kernel_grid

__all__ = ["PORTION", "grid", "main", "quicker"]

_SEED: Final = 0
PORTION: Final = 200
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
    parser.add_argument("--again", action="store_true", help="measure every row once more, keep the quicker")
    options = parser.parse_args(arguments)
    target = find_target(options.target)
    check_machine(target)
    keys = grid(options.signatures, options.changes)
    profile = _measured(options.out, target, keys, again=options.again)
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


def _measured(path: Path, target: Target, keys: Sequence[Key], *, again: bool) -> HardwareProfile:
    """Every row of `keys`, those that `path` lacks (`again`: all) measured into it."""
    from hawqsearch.pipeline import local_rig

    rig = local_rig(target, threads=1, batch=1)
    known = _known(path, rig)
    held = {} if known is None or again else known.rows
    todo = [k for k in keys if k not in held]
    with Bars().stage("grid of shapes", len(keys)) as advance:
        advance(len(keys) - len(todo))
        for start in range(0, len(todo), PORTION):
            portion = todo[start : start + PORTION]
            found = LocalBackend().measure(target, rig, _kernels(portion), _changes(portion))
            known = found if known is None else quicker(known, found)
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


def quicker(first: HardwareProfile, second: HardwareProfile) -> HardwareProfile:
    """Rows of both, of one that is in both the lower."""
    before, merged = first.rows, merge(first, second)
    return merged.with_rows({k: _lower(before.get(k), m) for k, m in merged.rows.items()})


def _lower(first: Measurement | None, second: Measurement) -> Measurement:
    return second if first is None or second.median_ms < first.median_ms else first


def _kernels(keys: Iterable[Key]) -> list[KernelKey]:
    return [k for k in keys if isinstance(k, KernelKey)]


def _changes(keys: Iterable[Key]) -> list[ChangeKey]:
    return [k for k in keys if isinstance(k, ChangeKey)]


if __name__ == "__main__":
    main()
