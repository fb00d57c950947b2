"""The predictor on an Arm core: taught by the grid of shapes alone, tested on networks that it never saw.

    python benchmarks/arm_prediction.py [--core cortex-a76]

Truth is the shipped table, simulated. Per kind of kernel and precision the share of the networks' distinct shapes
predicted within 10 %, beside the predictor's own cross-validation; and whole networks as sums of predicted parts
against their whole simulated runs. Shapes that are in the grid by chance are left out of the test. Writes
`results/<date>-arm-prediction-<cpu>/`; the host's processor changes no figure.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pandas as pd
import torch
from rig import study_folder, write_run

from hawqsearch.arm_tables import NETWORKS, grid, rows_of
from hawqsearch.core.hardware import Change, ChangeKey, HardwareProfile, KernelKey, Measurement, Signature
from hawqsearch.core.latency import Term, terms_of
from hawqsearch.core.model import ModelSpec
from hawqsearch.errors import InputError
from hawqsearch.graph.trace import trace
from hawqsearch.hardware.arm.cores import Core, find_core
from hawqsearch.hardware.arm.memory import working_set
from hawqsearch.hardware.kernel_features import kind_of
from hawqsearch.hardware.predictor import LatencyPredictor, fit_predictor
from hawqsearch.hardware.shipped import run_ms, select, shipped_profile, shipped_whole
from hawqsearch.hardware.targets import find_target

Key = KernelKey | ChangeKey
WITHIN = 0.10


def main() -> None:
    """Write the study's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", default="cortex-a76")
    core = find_core(parser.parse_args().core)
    kernels, changes = grid()
    table = shipped_profile(core)
    here = [k for k in kernels if k in table.kernels], [c for c in changes if c in table.changes]
    predictor = fit_predictor(select(table, *here))
    specs = {n: trace(e.make().eval(), torch.zeros(2, *e.shape)).spec for n, e in NETWORKS.items()}
    rows = pd.DataFrame(_rows(specs, table, predictor, {*here[0], *here[1]}))
    wholes = pd.DataFrame(_wholes(specs, core, predictor))
    folder = study_folder("arm-prediction")
    rows.to_csv(folder / "rows.csv", index=False, float_format="%.5g")
    wholes.to_csv(folder / "wholes.csv", index=False, float_format="%.5g")
    print(wholes.to_string(index=False), "\n")
    for by in ("kind", "network"):
        summary = rows.groupby(by).apply(_summary, include_groups=False).reset_index()
        summary.loc[len(summary)] = {by: "all", **_summary(rows.drop_duplicates(["kind", "shape"]))}
        summary.to_csv(folder / f"by_{by}.csv", index=False, float_format="%.4g")
        print(summary.to_string(index=False), "\n")
    taught = {"kernels": len(here[0]), "changes": len(here[1])}
    write_run(folder, ("onnxruntime", "scikit-learn", "numpy"), core=str(core), taught=taught)


def _rows(
    specs: dict[str, ModelSpec], table: HardwareProfile, predictor: LatencyPredictor, taught: set[Key]
) -> Iterator[dict[str, object]]:
    """A row per network and distinct shape that the predictor was not taught."""
    target = find_target("arm-neon")
    truth: dict[Key, Measurement] = {**table.kernels, **table.changes}
    for name, spec in specs.items():
        kernels, changes = rows_of(spec, target)
        for key in [*kernels, *changes]:
            if key in taught:
                continue
            predicted = _predicted(predictor, key)
            true_ms = truth[key].median_ms
            yield {
                "network": name,
                "kind": kind_of(key),
                "shape": str(key.signature if isinstance(key, KernelKey) else key.shape),
                "simulated_ms": true_ms,
                "predicted_ms": predicted.median_ms if predicted else None,
                "error": predicted.median_ms / true_ms - 1 if predicted else None,
                "inside_interval": predicted.low_ms <= true_ms <= predicted.high_ms if predicted else None,
            }


def _predicted(predictor: LatencyPredictor, key: Key) -> Measurement | None:
    try:
        return predictor.predict([key])[key]
    except InputError:  # the grid has no kernel of this kind
        return None


def _summary(rows: pd.DataFrame) -> pd.Series:
    error = rows["error"].abs()
    return pd.Series(
        {
            "n": len(rows),
            "not_taught": int(error.isna().sum()),
            "within_10_percent": (error <= WITHIN).mean(),
            "median_abs_error": error.median(),
            "p95_abs_error": error.quantile(0.95),
            "inside_interval": rows["inside_interval"].dropna().astype(float).mean(),
        }
    )


def _wholes(
    specs: dict[str, ModelSpec], core: Core, predictor: LatencyPredictor
) -> Iterator[dict[str, object]]:
    """A row per network: sums of parts that are all predicted against whole simulated runs.

    Parts of a kind that the grid does not teach come from the table.
    """
    target = find_target("arm-neon")
    for name, spec in specs.items():
        table = shipped_profile(core, network=working_set(spec))
        parts = dict(_parts(spec, table, predictor))
        errors = []
        for config, true_ms in shipped_whole(core, spec, target).items():
            total = run_ms(core) + sum(parts[term] for term in terms_of(spec, target, config))
            errors.append(total / true_ms - 1)
        error = pd.Series(errors)
        yield {
            "network": name,
            "n": len(error),
            "fp32_error": error[0],
            "int8_error": error[1],
            "median_abs_error": error.abs().median(),
            "max_abs_error": error.abs().max(),
        }


def _parts(
    spec: ModelSpec, table: HardwareProfile, predictor: LatencyPredictor
) -> Iterator[tuple[Term, float]]:
    target = find_target("arm-neon")

    def ms(key: Key) -> float:
        predicted = _predicted(predictor, key)
        known = table.kernels[key] if isinstance(key, KernelKey) else table.changes[key]
        return (predicted or known).median_ms

    for node in spec.nodes:
        for precision in ("fp32", "w8a8"):
            if target.kernel(node.op, precision) is not None:
                yield Term(node.name, precision), ms(KernelKey(Signature.of(node, 1), precision))
    for tensor in spec.tensors:
        for change in Change:
            yield Term(tensor.name, change.value), ms(ChangeKey((1, *tensor.shape[1:]), change))


if __name__ == "__main__":
    main()
