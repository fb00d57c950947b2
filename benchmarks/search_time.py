"""Wall time, CPU time and memory of `search` on the default space: nothing cached, then everything cached.

    python benchmarks/search_time.py [--search arm-neon=5ms --search x86-vnni=70%] [--runs 2]

Writes `results/<date>-search-time-<cpu>/`; each run's own output is kept beside the figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from rig import study_folder, write_run

_SEARCHES = ("arm-neon=5ms", "x86-vnni=70%")


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--search", action="append", help="TARGET=BUDGET")
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    folder = study_folder("search-time")
    rows = []
    for run, asked in itertools.product(range(arguments.runs), arguments.search or _SEARCHES):
        target, budget = asked.split("=")
        with tempfile.TemporaryDirectory() as work:
            for state in ("nothing cached", "everything cached"):
                out = Path(work) / f"{state.split()[0]}"
                command = ["search", "--target", target, "--budget", budget]
                command += ["--cache-dir", f"{work}/cache", "--out", str(out)]
                seen = timed(command, folder / f"{target}-{run}-{out.name}.txt")
                rows.append({"what": f"search {target}", "state": state, **seen})
                outcome = json.loads((out / "run.json").read_text())["outcome"]
                rows[-1] |= {"status": outcome["status"], "n_layers": outcome["n_layers"]}
    for what, command in (
        ("--help", ["hawqsearch", "--help"]),
        ("import", [sys.executable, "-c", "import hawqsearch"]),
    ):
        rows += [{"what": what, "state": "", **timed(command, None)} for _ in range(5)]
    table = pd.DataFrame(rows)
    table.to_csv(folder / "runs.csv", index=False)
    write_run(folder, ("onnxruntime", "torch", "highspy"))
    print(table.groupby(["what", "state"])[["wall_s", "cpu_s", "peak_gib"]].median().to_string())


def timed(command: list[str], keep: Path | None) -> dict[str, Any]:
    """One run of a command as a process of its own."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    stdout, stderr = process.communicate()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if keep is not None:
        keep.write_text(f"$ {' '.join(command[:5])}\n{stdout}\n{stderr}")
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {stderr[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "peak_gib": after.ru_maxrss / 2**20,
        "load_1min": os.getloadavg()[0],
    }


if __name__ == "__main__":
    main()
