"""A board's measured profile for a network that it does not cover: the rows it lacks come from a table of its kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement
from hawqsearch.core.profile_file import check_rig, expired
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError, InputError
from hawqsearch.hardware.arm.cores import split_target
from hawqsearch.runtime.find import RUNTIMES, find_runtime

__all__ = ["check_stands_for", "check_tables", "cover", "fill_from", "only_measured"]

_FEWEST: Final = 5

Key = KernelKey | ChangeKey


@dataclass(frozen=True, slots=True)
class _Ratio:
    """The board's time over the table's: median, and the range of 95 % of the rows that both have."""

    low: float
    median: float
    high: float


def check_stands_for(profile: HardwareProfile, target: Target, *, threads: int, batch: int) -> None:
    """Raise `InputError` where `profile` cannot stand for a machine of `target` run with these settings."""
    if _plain(profile.target) != _plain(target.name):
        raise InputError(f"the profile is of {profile.target}, not of {target.name}")
    cores = {name for name in (profile.target, target.name) if name != _plain(name)}
    if len(cores) > 1:
        raise InputError(
            f"the profile is of {profile.target}, not of {target.name}; they are different cores"
        )
    if target.device == "local" and target.runtime is not None and target.runtime in RUNTIMES:
        here = find_runtime(target.runtime).version
        if expired(profile, here):
            raise InputError(
                f"the profile is of {profile.rig.runtime}, and this is {here}: kernels change from one to the next; "
                "measure it again there, or name the --runtime that it is of"
            )
    check_rig(profile, replace(profile.rig, threads=threads, batch=batch))
    if not only_measured(profile).rows:
        raise InputError(
            f"nothing in the profile was measured: {profile.origin}; measure with `hawqsearch profile`"
        )


def check_tables(target: Target, *, threads: int, batch: int) -> None:
    """Raise `InputError` where shipped tables stand for the machine, and these are not of such a run."""
    if target.device == "tables" and (threads, batch) != (1, 1):
        raise InputError(
            f"the shipped table of {target.name} is of one thread and batch 1; measure others on a board (--host)"
        )


def only_measured(profile: HardwareProfile) -> HardwareProfile:
    """`profile` without rows of another origin."""
    return profile.with_rows({k: m for k, m in profile.rows.items() if m.origin == "measured"})


def cover(
    measured: HardwareProfile, kernels: Sequence[KernelKey], changes: Sequence[ChangeKey]
) -> HardwareProfile:
    """`measured` reduced to `kernels` and `changes`; raises `DeviceError` where it lacks one of them."""
    lacking = [str(k.signature) + " " + k.precision for k in kernels if k not in measured.kernels]
    lacking += [
        f"{c.change.value} of {'x'.join(map(str, c.shape))}" for c in changes if c not in measured.changes
    ]
    if lacking:
        raise DeviceError(
            f"the profile of {measured.rig} lacks {len(lacking)} of {len(kernels) + len(changes)} rows of this network "
            f"({lacking[0]}, …); measure them into it on that machine: hawqsearch profile --target {measured.target} "
            "--out FILE.csv with the same --space and --precisions"
        )
    return replace(
        measured,
        kernels=FrozenDict({k: measured.kernels[k] for k in kernels}),
        changes=FrozenDict({c: measured.changes[c] for c in changes}),
    )


def _plain(target: str) -> str:
    return split_target(target)[0]


def fill_from(measured: HardwareProfile, table: HardwareProfile, keys: Sequence[Key]) -> HardwareProfile:
    """`measured` reduced to `keys`, those that it lacks predicted: the table's time, as much slower or faster as the
    board is on rows of that precision that both have.

    Args:
        table: has every one of `keys`.

    Raises:
        InputError: no row is in both.
    """
    known, stand_in = measured.rows, table.rows
    ratios = _ratios(known, stand_in)
    found = {
        key: known.get(key) or _predicted(stand_in[key], ratios, _group(key), measured.date) for key in keys
    }
    return measured.with_rows(found)


def _group(key: Key) -> str:
    return key.precision if isinstance(key, KernelKey) else "change"


def _ratios(known: dict[Key, Measurement], stand_in: dict[Key, Measurement]) -> dict[str, _Ratio]:
    """Precision -> ratio; under "" that of all rows, for precisions with few of them."""
    shared: dict[str, list[float]] = defaultdict(list)
    for key, row in known.items():
        if key in stand_in and stand_in[key].median_ms > 0:
            ratio = row.median_ms / stand_in[key].median_ms
            shared[_group(key)].append(ratio)
            shared[""].append(ratio)
    if not shared:
        raise InputError(
            "the profile has no row of this network; measure them on the board: "
            "hawqsearch profile --host user@board --out FILE.csv with the same --space"
        )
    return {
        group: _Ratio(*np.quantile(found, [0.025, 0.5, 0.975]).tolist())
        for group, found in shared.items()
        if len(found) >= _FEWEST or group == ""
    }


def _predicted(row: Measurement, ratios: dict[str, _Ratio], group: str, date: str) -> Measurement:
    ratio = ratios.get(group, ratios[""])
    return Measurement(
        median_ms=row.median_ms * ratio.median,
        low_ms=row.low_ms * ratio.low,
        high_ms=row.high_ms * ratio.high,
        n=0,
        date=date,
        origin="predicted",
    )
