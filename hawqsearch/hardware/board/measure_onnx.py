"""Times the nodes of ONNX models on the machine that runs this file; it travels there alone.

Needs Python 3.8, numpy and onnxruntime, nothing of this project. Reads `jobs.json` in its folder,
writes one line per model and round as soon as it is timed: a marker, then JSON. Every round opens
each model anew, so that only one is in memory, a lost connection loses one model of one round, and
no row owes its time to where its tensors happened to lie.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
import platform
import signal
import sys
from collections import defaultdict
from typing import Any

MARKER = "hawqsearch: "
MISSING, FAILED = 3, 4
MOST_JUMPS, LEAP_MS, LEAP_FACTOR = 3, 1000.0, 100
TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}


def main() -> int:
    """Measure the jobs; 0, or `MISSING` or `FAILED` with a line that says what."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    modules = {}
    for name in ("numpy", "onnxruntime"):
        try:
            modules[name] = importlib.import_module(name)
        except ImportError as error:
            say({"missing": name, "python": sys.executable, "why": first_line(error)})
            return MISSING
    with open("jobs.json", encoding="utf-8") as file:
        work = json.load(file)
    signal.alarm(work["seconds"])  # nobody may be left to stop it
    cores = pin(work["threads"])
    say({"board": describe(modules["onnxruntime"].__version__, cores)})
    if "energy" in work:
        return meter(work, modules["numpy"], modules["onnxruntime"])
    for index in range(work["rounds"]):
        for job in work["jobs"][:: -1 if index % 2 else 1]:
            if index in job["rounds"]:
                try:
                    nodes = measure(job["file"], work, modules["numpy"], modules["onnxruntime"])
                except Exception as error:  # whatever the runtime throws, the other side must hear of it
                    say({"failed": job["name"], "why": first_line(error)})
                    return FAILED
                say({"row": job["name"], "round": index, "nodes": nodes})
        say({"round": index, "load": os.getloadavg()[0], "temperature_c": temperature()})
    say({"done": True})
    return 0


def meter(work: dict[str, Any], np: Any, ort: Any) -> int:
    """Meter the jobs of the pass for energy; a counter that is not there is said, and no failure."""
    asked, energy = work["energy"], importlib.import_module("read_energy")
    try:
        counters = energy.find(asked["root"])
    except LookupError as error:
        say({"unmetered": first_line(error)})
        return FAILED
    say({"counter": " + ".join(counter.name for counter in counters)})
    step_uj = sum(counter.step_uj for counter in counters)
    for name in asked["jobs"]:
        try:
            session, feed = opened(name + ".onnx", work, np, ort, profiled=False)
            spans = energy.meter(
                lambda: session.run(None, feed),  # noqa: B023  (called before the next one is opened)
                energy.find(asked["root"]),
                asked["blocks"],
                asked["steps"],
                lambda: say({"alive": True}),
            )
        except Exception as error:  # whatever the runtime throws, the other side must hear of it
            say({"failed": name, "why": first_line(error)})
            return FAILED
        say(dict(spans, metered=name, resolution_uj=step_uj))
    say({"done": True})
    return 0


def opened(path: str, work: dict[str, Any], np: Any, ort: Any, profiled: bool) -> tuple[Any, Any]:
    """A session, and values for its inputs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = work["threads"]
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if profiled:
        options.enable_profiling = True
        options.profile_file_prefix = "profile"
    if work["signed_activations"]:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feed = {i.name: (rng.random(i.shape) * 5).astype(TYPES[i.type]) for i in session.get_inputs()}
    return session, feed


def measure(path: str, work: dict[str, Any], np: Any, ort: Any) -> list[list[Any]]:
    """[name, operator, [ms of each timed run]] of every node, in the order they ran; again where the clock jumped."""
    for _ in range(MOST_JUMPS + 1):
        nodes = timed(path, work, np, ort)
        if not any(jumped(times) for _, _, times in nodes):
            return nodes
        say({"jumped": path})
    raise RuntimeError("the clock keeps jumping: is the board suspended, or its clock set? leave it running")


def jumped(times: list[float]) -> bool:
    """Whether a time is none: negative, or more than a second and a hundred times what the node takes."""
    middle = sorted(times)[len(times) // 2] if times else 0.0
    return any(ms < 0 or ms > max(LEAP_MS, LEAP_FACTOR * middle) for ms in times)


def timed(path: str, work: dict[str, Any], np: Any, ort: Any) -> list[list[Any]]:
    """One attempt of `measure`."""
    session, feed = opened(path, work, np, ort, profiled=True)
    for _ in range(work["warm_up"] + work["burst"]):
        session.run(None, feed)
    profile = session.end_profiling()
    times = defaultdict(list)
    with open(profile, encoding="utf-8") as file:
        for event in json.load(file):
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                name = event["name"][: -len("_kernel_time")]
                times[name, event["args"]["op_name"]].append(event["dur"] / 1000)
    os.unlink(profile)
    return [[name, op, found[work["warm_up"] :]] for (name, op), found in times.items()]


def pin(threads: int) -> list[int]:
    """Keep to the fastest cores (a board may have slow ones beside them), as many as `threads`."""
    allowed = sorted(os.sched_getaffinity(0), key=lambda core: (-max_khz(core), core))
    chosen = allowed[:threads]
    os.sched_setaffinity(0, chosen)
    return chosen


def describe(runtime: str, cores: list[int]) -> dict[str, Any]:
    """What the machine says of itself."""
    return {
        "model": read("/proc/device-tree/model").replace("\0", ""),
        "machine": platform.machine(),
        "cpuinfo": read("/proc/cpuinfo"),
        "cores": os.cpu_count(),
        "pinned": cores,
        "max_khz": max_khz(cores[0]),
        "governor": read(f"/sys/devices/system/cpu/cpu{cores[0]}/cpufreq/scaling_governor"),
        "load": os.getloadavg()[0],
        "temperature_c": temperature(),
        "onnxruntime": runtime,
        "python": platform.python_version(),
    }


def max_khz(core: int) -> int:
    """The core's highest clock in kHz, 0 where nothing says it."""
    return int(read(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq") or 0)


def temperature() -> float | None:
    """The hottest thermal zone in degrees Celsius."""
    zones = [read(path) for path in glob.glob("/sys/class/thermal/thermal_zone*/temp")]
    return max((int(zone) / 1000 for zone in zones if zone.lstrip("-").isdigit()), default=None)


def read(path: str) -> str:
    """The file's text, empty where it cannot be had."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def first_line(error: Exception) -> str:
    """What went wrong, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def say(message: dict[str, Any]) -> None:
    """One line to the other side, at once."""
    print(MARKER + json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
