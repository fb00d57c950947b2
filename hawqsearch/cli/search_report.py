"""What a person sees of a search: layers, cost, accuracy, candidates, verdict."""

from __future__ import annotations

import sys

from hawqsearch.cli.output import number, print_table
from hawqsearch.core.outcome import Candidate, Latency, Outcome

__all__ = ["print_outcome", "verdict_lines"]


def print_outcome(outcome: Outcome) -> None:
    """Tables on stdout, the verdict last."""
    print_table(["layer", "precision"], list(outcome.layers.items()), title="precision of every layer")
    print_table(
        ["", "fp32", "int8", "answer"],
        [
            *_latency_rows(outcome),
            *_energy_rows(outcome),
            _size_row(outcome),
            *_metric_rows(outcome),
        ],
        title=f"fp32, all-int8 and the answer on {outcome.target}",
    )
    metered = outcome.fp32.energy_mj is not None
    columns = ["candidate", "from fp32, nats", "above the least", "loss, nats", "latency, ms", "size, bytes"]
    print_table(
        columns + ["energy, mJ"] * metered,
        [_candidate_row(c) + [_candidate_energy(c)] * metered for c in outcome.candidates if c.meets],
        title="candidates within the budget, judged on the second half of the search split",
    )
    for line in verdict_lines(outcome):
        sys.stdout.write(f"{line}\n")


def _candidate_row(candidate: Candidate) -> list[str]:
    more = candidate.versus_best
    return [
        candidate.name,
        number(candidate.divergence.value if candidate.divergence else None, 3),
        "-" if more is None else f"{more.value:+.2g} ± {more.stderr:.1g}",
        number(candidate.loss.value if candidate.loss else None, 4),
        number(candidate.measured.latency_ms if candidate.measured else candidate.predicted_ms, 4),
        number(candidate.size_bytes, 8),
    ]


def _candidate_energy(candidate: Candidate) -> str:
    return number(candidate.measured.energy_mj if candidate.measured else candidate.predicted_mj, 4)


def verdict_lines(outcome: Outcome) -> list[str]:
    """The verdict in words."""
    gap = "-" if outcome.result is None else number(outcome.result.gap, 2)
    lines = [f"solver's answer: {outcome.status}, gap {gap}", f"returned: {outcome.chosen_by}"]
    lines.append(f"budget {outcome.budget}: {_met(outcome)}")
    lines += _int8_line(outcome)
    metric = outcome.metric
    if metric is not None:
        drop = 100 * (metric.fp32.value - metric.searched.value)
        lines.append(
            f"{metric.name} {100 * metric.searched.value:.2f} % ± {100 * metric.searched.stderr:.2f} "
            f"({drop:+.2f} points lost) on {metric.n} test examples of {metric.n_groups} sources, by {metric.runtime}"
        )
    lines.append(f"origin: {outcome.origin}")
    if outcome.run_dir is not None:
        lines.append(f"run folder: {outcome.run_dir}")
    return lines


def _met(outcome: Outcome) -> str:
    measured = outcome.measured
    if measured.latency_ms is None:
        return _met_unmeasured(outcome)
    return f"met when measured: {_interval(measured)}{_energy_interval(measured)}"


def _interval(latency: Latency) -> str:
    if latency.latency_ms is None:
        return "-"
    if latency.low_ms is None or latency.high_ms is None or latency.low_ms == latency.high_ms:
        return f"{latency.latency_ms:.4g} ms"
    return f"{latency.latency_ms:.4g} ms, 95 % interval {latency.low_ms:.4g} to {latency.high_ms:.4g}"


def _energy_interval(seen: Latency) -> str:
    if seen.energy_mj is None:
        return ""
    if seen.energy_low_mj is None or seen.energy_high_mj is None:
        return f"; {seen.energy_mj:.4g} mJ"
    return f"; {seen.energy_mj:.4g} mJ, 95 % interval {seen.energy_low_mj:.4g} to {seen.energy_high_mj:.4g}"


def _int8_line(outcome: Outcome) -> list[str]:
    """Where all-int8 is within the budget and as good within the error bars of the test split, say so."""
    metric = outcome.metric
    if metric is None or set(outcome.layers.values()) == {"w8a8"}:
        return []
    if not any(c.meets and all(c.config[n] == "w8a8" for n in outcome.layers) for c in outcome.candidates):
        return []
    lost = metric.searched.value - metric.int8.value
    if lost > 1.96 * metric.searched.stderr:
        return []
    return [f"all-int8 is as good within the error bars of {metric.name}: {100 * metric.int8.value:.2f} %"]


def _met_unmeasured(outcome: Outcome) -> str:
    word = outcome.origin.partition(":")[0]
    predicted = outcome.predicted.latency_ms
    if predicted is None:
        return "met as counted; no device was timed"
    in_words = {"simulated": "met in simulation", "measured": "met by a measured profile"}.get(
        word, f"met as {word}"
    )
    energy = outcome.predicted.energy_mj
    if energy is None:
        return f"{in_words}: {_interval(outcome.predicted)}; the whole network was not timed"
    return f"{in_words}: {predicted:.4g} ms, {energy:.4g} mJ; the whole network was neither timed nor metered"


def _latency_rows(outcome: Outcome) -> list[list[str]]:
    """Measured beside predicted where there is a machine; else what stands for it, by its own word."""
    answer = outcome.measured if outcome.measured.latency_ms is not None else outcome.predicted
    columns = (outcome.fp32, outcome.int8, answer)
    if outcome.fp32.latency_ms is None:
        return []
    word = (answer.origin or outcome.origin).partition(":")[0]
    rows = [
        [f"{word}, ms", *(number(c.latency_ms, 4) for c in columns)],
        ["of fp32's", *(number(c.ratio, 3) for c in columns)],
    ]
    if answer is outcome.measured:
        rows.append(["predicted, ms", "", "", number(outcome.predicted.latency_ms, 4)])
    return rows


def _energy_rows(outcome: Outcome) -> list[list[str]]:
    """Metered beside predicted where there is a counter; else the prediction from metered parts."""
    if outcome.fp32.energy_mj is None:
        return []
    metered = outcome.measured.energy_mj is not None
    answer = outcome.measured if metered else outcome.predicted
    columns = (outcome.fp32, outcome.int8, answer)
    rows = [["metered, mJ" if metered else "predicted, mJ", *(number(c.energy_mj, 4) for c in columns)]]
    if metered:
        rows.append(["predicted, mJ", "", "", number(outcome.predicted.energy_mj, 4)])
    return rows


def _size_row(outcome: Outcome) -> list[str]:
    return ["file, bytes", number(outcome.fp32_size_bytes, 8), "", number(outcome.size_bytes, 8)]


def _metric_rows(outcome: Outcome) -> list[list[str]]:
    if outcome.metric is None:
        return []
    scores = (outcome.metric.fp32, outcome.metric.int8, outcome.metric.searched)
    return [
        [f"{outcome.metric.name} (test)", *(f"{100 * s.value:.2f} % ± {100 * s.stderr:.2f}" for s in scores)]
    ]
