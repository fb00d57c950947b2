"""Simulated runs of models, kept on disk by what they depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import onnx

from hawqsearch.core.files import write_atomic
from hawqsearch.hardware.arm.counts import ModelRun
from hawqsearch.hardware.arm.qemu import Task, run_models
from hawqsearch.hardware.arm.toolchain import Toolchain

__all__ = ["Job", "Simulator"]

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """A model to run; `build` makes it when its turn comes, `nodes` asks for counts per node.

    `alone`: it is too large to share a process with others.
    """

    build: Callable[[], onnx.ModelProto]
    nodes: bool
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """Runs models for one processor; counts stay in `folder`, if there is one.

    Args:
        workers: simulated processes side by side.
        batch: models that share a process, one after another: starting one takes longer than a small model.
    """

    toolchain: Toolchain
    processor: str
    folder: Path | None = None
    workers: int = 2
    batch: int = 12

    def run_all(
        self,
        jobs: Mapping[K, Job],
        reduce: Callable[[K, ModelRun], T],
        *,
        on_done: Callable[[int], object] = lambda done: None,
    ) -> dict[K, T]:
        """What `reduce` makes of each job's run, in the order of `jobs`; runs themselves are not kept.

        Args:
            on_done: called with how many runs have just ended.

        Raises `DeviceError` where a simulated process fails; what ended before is in `folder`.
        """
        found: dict[K, T] = {}
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = {pool.submit(self._run, batch, jobs, reduce) for batch in self._batches(jobs)}
            try:
                for future in as_completed(waiting):
                    found.update(future.result())
                    on_done(len(future.result()))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return {key: found[key] for key in jobs}

    def _batches(self, jobs: Mapping[K, Job]) -> list[list[K]]:
        alone = [[key] for key, job in jobs.items() if job.alone]
        shared = [key for key, job in jobs.items() if not job.alone]
        return [shared[i : i + self.batch] for i in range(0, len(shared), self.batch)] + alone

    def _run(
        self, keys: Sequence[K], jobs: Mapping[K, Job], reduce: Callable[[K, ModelRun], T]
    ) -> dict[K, T]:
        models = {key: jobs[key].build() for key in keys}
        paths = {key: self._path(models[key], jobs[key].nodes) for key in keys}
        todo = [key for key in keys if (path := paths[key]) is None or not path.exists()]
        tasks = [Task(models[key], jobs[key].nodes) for key in todo]
        answers = run_models(self.toolchain, self.processor, tasks) if tasks else []
        runs = {key: answer.run for key, answer in zip(todo, answers, strict=True)}
        for key, run in runs.items():
            _keep(paths[key], run)
        return {key: reduce(key, runs[key] if key in runs else _kept(paths[key])) for key in keys}

    def _path(self, model: onnx.ModelProto, nodes: bool) -> Path | None:
        if self.folder is None:
            return None
        tools = f"{self.toolchain.runtime} {self.toolchain.runner.parent.name} {self.processor} {nodes}"
        content = model.SerializeToString(deterministic=True)
        name = hashlib.sha256(tools.encode() + content).hexdigest()[:32]
        return self.folder / name[:2] / f"{name}.counts"


def _keep(path: Path | None, run: ModelRun) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, run.dump())


def _kept(path: Path | None) -> ModelRun:
    assert path is not None, "a run that is not kept was made just now"
    return ModelRun.parse(path.read_bytes())
