"""Kernels and precision changes measured by the runtime's own profiler on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import onnx

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement, Rig
from hawqsearch.core.target import Target
from hawqsearch.hardware.conditions import Watch
from hawqsearch.hardware.micro import arbitrary_feed, micro_model
from hawqsearch.hardware.rows import between_kernels, kernel_time, today
from hawqsearch.runtime.find import find_runtime
from hawqsearch.runtime.interface import KernelRun, Session
from hawqsearch.runtime.pinned import pinned
from hawqsearch.runtime.rounds import Effort, Rounds, Sample, in_rounds

__all__ = ["LocalBackend"]

Key = KernelKey | ChangeKey


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBackend:
    """The target's runtime on this machine.

    Candidates are interleaved on pinned cores, so that a drifting clock hits all alike (see `in_rounds`). It goes on
    until the wall-clock time of every candidate's runs is known to `share`, or the time is up; the runtime's own
    times of a kernel, which are told when its session ends, have an interval of their own.

    Args:
        share: see `Effort`.
        rounds: most that are counted.
        row_ms: time that each row may take on average.
        slice_ms: what a candidate gets in a round; small kernels run more often in it, whose times spread more.
        root: where the system's own files are found.
    """

    share: float = 0.02
    rounds: int = 40
    row_ms: float = 12.0
    slice_ms: float = 0.3
    root: Path = field(default=Path("/"), repr=False)

    @property
    def n_rounds(self) -> int:
        """Most rounds that `measure` takes."""
        return self.rounds

    def measure(
        self,
        target: Target,
        rig: Rig,
        kernels: Iterable[KernelKey],
        changes: Iterable[ChangeKey],
        *,
        on_round: Callable[[int], object] = lambda done: None,
    ) -> HardwareProfile:
        """Measured times of every kernel and change; raises `DeviceError` where the runtime fails."""
        runtime = find_runtime(str(target.runtime))
        keys: list[Key] = [*kernels, *changes]
        models = {key: micro_model(key, target.scheme, fuses=runtime.fuses) for key in keys}
        with pinned(rig.threads, root=self.root) as cores:
            watch = Watch(cores=cores, threads=rig.threads, root=self.root)

            def after(done: int) -> None:
                watch.look()
                on_round(done)

            found, rows = self._rows(models, target, rig, after)
            conditions = watch.conditions(rounds=found.rounds, thrown=found.thrown, drift=found.drift)
        return HardwareProfile(
            target=target.name,
            rig=rig,
            date=today(),
            kernels=FrozenDict({k: row for k, row in rows.items() if isinstance(k, KernelKey)}),
            changes=FrozenDict({k: row for k, row in rows.items() if isinstance(k, ChangeKey)}),
            conditions=(conditions,),
        )

    def _rows(
        self,
        models: Mapping[Key, onnx.ModelProto],
        target: Target,
        rig: Rig,
        on_round: Callable[[int], object],
    ) -> tuple[Rounds[Key], dict[Key, Measurement]]:
        """How the rounds went, and the row of every model."""
        runtime = find_runtime(str(target.runtime))
        with ExitStack() as stack:
            sessions: dict[Key, Session] = {}
            runs: dict[Key, Callable[[], object]] = {}
            for key, model in models.items():
                context = runtime.open(
                    model.SerializeToString(),
                    threads=rig.threads,
                    signed_activations=target.scheme.signed_activations,
                    profiled=True,
                )
                sessions[key] = stack.enter_context(context)
                runs[key] = partial(sessions[key].run, arbitrary_feed(model))
            found = in_rounds(runs, self._effort(len(models)), on_round=on_round)
            return found, {key: _row(key, s.kernels(), found.samples[key]) for key, s in sessions.items()}

    def _effort(self, rows: int) -> Effort:
        return Effort(
            share=self.share, rounds=self.rounds, seconds=rows * self.row_ms / 1e3, slice_ms=self.slice_ms
        )


def _row(key: Key, runs: list[KernelRun], samples: tuple[Sample, ...]) -> Measurement:
    """The row of a model from the times of its nodes in every run since it was opened."""
    counted = [i for s in samples for i in range(s.first_run, s.first_run + len(s.runs_ms))]
    kept = [
        KernelRun(name=run.name, op=run.op, times_ms=tuple(run.times_ms[i] for i in counted)) for run in runs
    ]
    rounds = [len(sample.runs_ms) for sample in samples]
    return kernel_time(kept, rounds) if isinstance(key, KernelKey) else between_kernels(kept, rounds)
