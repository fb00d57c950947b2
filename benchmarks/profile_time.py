"""Wall time of `profile`, nothing cached: ResNet-18's distinct signatures, and the default network's.

    python benchmarks/profile_time.py [--target x86-vnni] [--space imagenet_resnet18 --space digits]

Writes `results/<date>-profile-time-<cpu>/`: per space the seconds, the rows, how many of them are wider than wanted,
under what conditions they were measured, and how far the sum of parts and the corrected sum were from whole networks.
The profile itself is kept beside the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from rig import study_folder, write_run


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", default="x86-vnni")
    parser.add_argument("--space", action="append")
    arguments = parser.parse_args()
    folder = study_folder("profile-time")
    rows = [
        profiled(arguments.target, space, folder)
        for space in arguments.space or ["imagenet_resnet18", "digits"]
    ]
    table = pd.DataFrame(rows)
    table.to_csv(folder / "runs.csv", index=False)
    write_run(folder, ("onnxruntime", "torch"))
    print(table.T.to_string(header=False))


def profiled(target: str, space: str, folder: Path) -> dict[str, Any]:
    """One `profile` as a process of its own, with an empty cache."""
    command = [
        "hawqsearch",
        "profile",
        "--target",
        target,
        "--space",
        space,
        "--out",
        str(folder / f"{space}.csv"),
    ]
    (folder / f"{space}.csv").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        ended = subprocess.run([*command, "--cache-dir", cache], capture_output=True, text=True, check=False)
        wall_s = time.perf_counter() - start
        if ended.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-500:]}")
        again = subprocess.run(
            [*command[:-2], "--cache-dir", cache, "--json"], capture_output=True, text=True, check=True
        )
    (folder / f"{space}.txt").write_text(f"$ {' '.join(command[:-2])}\n{ended.stdout}\n{ended.stderr}")
    found = json.loads(again.stdout)
    (fit,), (conditions,) = found["whole"], found["conditions"]
    stages = re.findall(r"^(.*): ([0-9.]+) s$", ended.stderr, re.MULTILINE)
    return {
        "space": space,
        "wall_s": wall_s,
        **{f"{name.replace(' ', '_')}_s": float(seconds) for name, seconds in stages},
        "rows": found["wide"]["n_rows"],
        "wide_rows": len(found["wide"]["rows"]),
        **{name: conditions[name] for name in ("rounds", "drift", "steal", "load_before", "load_after")},
        "sum_error": fit["sum_error"],
        "corrected_error": fit["corrected_error"],
        "load_1min": os.getloadavg()[0],
    }


if __name__ == "__main__":
    main()
