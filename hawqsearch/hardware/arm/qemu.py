"""Runs of ONNX models under qemu: which blocks of instructions ran, and how often."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.arm.counts import ModelRun, NodeRun, parse_counts
from hawqsearch.hardware.arm.toolchain import Toolchain

__all__ = ["Answer", "Task", "random_feed", "run_models"]

_TYPES: Final = {TensorProto.FLOAT: np.float32, TensorProto.UINT8: np.uint8, TensorProto.INT8: np.int8}
_WHOLE: Final = 1  # tags of marks, as in runner.c
_CALLS: Final = 100
_MODEL: Final = 1_000_000
_SUFFIX: Final = "_kernel_time"


@dataclass(frozen=True, slots=True)
class Task:
    """A model to run; `nodes` asks for counts per node, `feed` replaces the random input."""

    model: onnx.ModelProto
    nodes: bool = False
    feed: Mapping[str, np.ndarray] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Counts of one run after one that warms up, on one thread, and the raw bytes of its outputs."""

    run: ModelRun
    output: bytes


def run_models(
    toolchain: Toolchain, processor: str, tasks: Sequence[Task], *, time_limit_s: float = 3600.0
) -> list[Answer]:
    """Answers of `tasks`, run one after another in one simulated process.

    Args:
        processor: a value of `KERNEL_SETS`.

    Raises `DeviceError` where the process fails.
    """
    with tempfile.TemporaryDirectory(prefix="hawqsearch-") as name:
        folder = Path(name)
        for index, task in enumerate(tasks):
            _write_job(folder / str(index), task)
        command = [str(toolchain.qemu), "-cpu", processor, "-L", str(toolchain.roots / processor)]
        command += ["-E", "ORT_DISABLE_TELEMETRY=1", "-plugin", f"{toolchain.plugin},out=counts"]
        printed = _run([*command, str(toolchain.runner)], folder, time_limit_s)
        with (folder / "counts").open() as lines:
            marks = parse_counts(lines)
        return [_answer(folder, index, line, marks) for index, line in enumerate(printed.splitlines())]


def _run(command: Sequence[str], folder: Path, time_limit_s: float) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=time_limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"the simulated run took more than {time_limit_s:g} s") from None
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise DeviceError(f"the simulated run failed ({done.returncode}): {''.join(why)}")
    return done.stdout


def _answer(folder: Path, index: int, printed: str, marks: Mapping[int, Mapping[bytes, int]]) -> Answer:
    """What the runner left of the model of that number; it printed `<clock readings> <profile or ->`."""
    calls, profile = printed.split()
    here, base = folder / str(index), _MODEL * index
    nodes = () if profile == "-" else _nodes(here / profile, int(calls), base, marks)
    return Answer(
        ModelRun(whole=FrozenDict(marks[base + _WHOLE]), nodes=nodes), (here / "output").read_bytes()
    )


def random_feed(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Inputs of the right type and shape, always the same ones."""
    rng = np.random.default_rng(0)
    feed = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value for d in kind.shape.dim]
        feed[value.name] = (rng.random(shape) * 5).astype(_TYPES[kind.elem_type])
    return feed


def _write_job(folder: Path, task: Task) -> None:
    model, feed = task.model, task.feed if task.feed is not None else random_feed(task.model)
    folder.mkdir()
    lines = ["warmups 1", f"profile {int(task.nodes)}", "config session.qdqisint8allowed 1"]
    for value in model.graph.input:
        shape = feed[value.name].shape
        kind = value.type.tensor_type.elem_type
        lines.append(f"input {value.name} {kind} {len(shape)} {' '.join(map(str, shape))}")
    lines += [f"output {value.name}" for value in model.graph.output]
    (folder / "job").write_text("\n".join(lines) + "\n")
    (folder / "model").write_bytes(model.SerializeToString())
    arrays = [np.ascontiguousarray(feed[value.name]) for value in model.graph.input]
    (folder / "input").write_bytes(b"".join(a.tobytes() for a in arrays))


def _nodes(
    profile: Path, calls: int, base: int, marks: Mapping[int, Mapping[bytes, int]]
) -> tuple[NodeRun, ...]:
    """Nodes in the order they ran: in the profile of the marked run, times are numbers of clock readings."""
    events = json.loads(profile.read_text())
    run = [e for e in events if e["name"] == "model_run"][-1]
    zero = run["ts"] + run["dur"] - calls
    found = []
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith(_SUFFIX) or event["ts"] < run["ts"]:
            continue
        start, end = event["ts"] - zero, event["ts"] + event["dur"] - zero
        if not 0 < start < end <= calls:
            continue
        counts: dict[bytes, int] = {}
        for tag in range(base + _CALLS + start + 1, base + _CALLS + end + 1):
            for code, n in marks.get(tag, {}).items():
                counts[code] = counts.get(code, 0) + n
        name, op = event["name"].removesuffix(_SUFFIX), event["args"]["op_name"]
        found.append(NodeRun(name=name, op=op, counts=FrozenDict(counts)))
    return tuple(found)
