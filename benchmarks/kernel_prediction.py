"""Predicted against measured times of single kernels and precision changes that the predictor was not taught.

    python benchmarks/kernel_prediction.py --table hw_profiles/x86-vnni/profiles/amd-epyc.csv

Taught by the table's grid of shapes. Tested twice: on the distinct shapes of five networks, measured in this run
(shapes that the grid holds by chance left out), and on every row of the grid from the others. Writes
`results/<date>-kernel-prediction-<cpu>/`: per kind the share within 10 %, which nn-Meter (Zhang et al., MobiSys 2021)
gives as 99 % for fp32 kernels on a Cortex-A76.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rig import study_folder, write_run

from hawqsearch.arm_tables import NETWORKS, rows_of
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement
from hawqsearch.core.profile_file import check_rig, read_profile
from hawqsearch.graph.trace import trace
from hawqsearch.hardware.kernel_features import kind_of
from hawqsearch.hardware.local import LocalBackend
from hawqsearch.hardware.predictor import LatencyPredictor, fit_predictor
from hawqsearch.hardware.targets import find_target
from hawqsearch.pipeline import local_rig

Key = KernelKey | ChangeKey
WITHIN = 0.10


def main() -> None:
    """Write the study's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--target", default="x86-vnni")
    arguments = parser.parse_args()
    table, target = read_profile(arguments.table), find_target(arguments.target)
    rig = local_rig(target, threads=1, batch=1)
    check_rig(table, rig)
    predictor = fit_predictor(table)
    rows = pd.DataFrame([*_of_networks(table, predictor, target.name), *_left_out(table, predictor)])
    rows["error"] = rows["predicted_ms"] / rows["measured_ms"] - 1
    folder = study_folder("kernel-prediction")
    rows.to_csv(folder / "rows.csv", index=False, float_format="%.5g")
    summary = pd.DataFrame(_summaries(rows))
    summary.to_csv(folder / "summary.csv", index=False, float_format="%.4g")
    print(summary.to_string(index=False))
    taught = {"kernels": len(table.kernels), "changes": len(table.changes)}
    write_run(folder, ("onnxruntime", "scikit-learn", "numpy"), taught=taught, table=table.origin)


def _of_networks(
    table: HardwareProfile, predictor: LatencyPredictor, target_name: str
) -> Iterator[dict[str, object]]:
    """A row per network and distinct shape that is not in the table, measured now."""
    target = find_target(target_name)
    rig = local_rig(target, threads=1, batch=1)
    for name, entry in NETWORKS.items():
        kernels, changes = rows_of(trace(entry.make().eval(), torch.zeros(2, *entry.shape)).spec, target)
        kernels = [k for k in kernels if k not in table.kernels]
        changes = [c for c in changes if c not in table.changes]
        measured = LocalBackend().measure(target, rig, kernels, changes)
        truth: dict[Key, Measurement] = {**measured.kernels, **measured.changes}
        predicted = predictor.predict(truth)
        for key, row in truth.items():
            inside = predicted[key].low_ms <= row.median_ms <= predicted[key].high_ms
            yield _row(f"network {name}", key, row, predicted[key].median_ms) | {"inside_interval": inside}


def _left_out(table: HardwareProfile, predictor: LatencyPredictor) -> Iterator[dict[str, object]]:
    """A row per row of the table, predicted by all others of its kind."""
    rows: dict[Key, Measurement] = {**table.kernels, **table.changes}
    seen: dict[str, int] = {}
    for key, row in rows.items():
        kind = kind_of(key)
        if kind in predictor.processes:
            index = seen.setdefault(kind, 0)
            seen[kind] += 1
            off = float(predictor.processes[kind].left_out[index])
            yield _row("grid, left out", key, row, row.median_ms * float(np.exp(off)))


def _row(test: str, key: Key, row: Measurement, predicted_ms: float) -> dict[str, object]:
    return {
        "test": test,
        "kind": kind_of(key),
        "shape": str(key.signature if isinstance(key, KernelKey) else "x".join(map(str, key.shape))),
        "measured_ms": row.median_ms,
        "half_width": row.half_width,
        "predicted_ms": predicted_ms,
    }


def _summaries(rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    rows = rows.assign(test=rows["test"].where(rows["test"] == "grid, left out", "networks"))
    for test, of_test in rows.groupby("test"):
        for kind, of_kind in of_test.groupby("kind"):
            yield _summary(str(test), str(kind), of_kind.drop_duplicates("shape"))
        yield _summary(str(test), "all", of_test.drop_duplicates(["kind", "shape"]))


def _summary(test: str, kind: str, rows: pd.DataFrame) -> dict[str, object]:
    error, large = rows["error"].abs(), rows["measured_ms"] >= 0.01
    return {
        "test": test,
        "kind": kind,
        "n": len(rows),
        "within_10_percent": (error <= WITHIN).mean(),
        "n_from_10us": int(large.sum()),
        "within_10_percent_from_10us": (error[large] <= WITHIN).mean(),
        "median_abs_error": error.median(),
        "p95_abs_error": error.quantile(0.95),
        "inside_interval": rows["inside_interval"].dropna().astype(float).mean(),
    }


if __name__ == "__main__":
    main()
