"""Energy counters of the machine that runs this file, and what goes through them; it travels beside `measure_onnx`.

Needs Python 3.8, nothing of this project. Spans are sent home as they were read: what follows from them is
reckoned there, by `hawqsearch.hardware.energy.meter`, whose blocks these are.
"""

from __future__ import annotations

import glob
import os
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

METERS = {"amd_energy", "power_meter", "scmi_sensors"}
METERS |= {"ina" + str(chip) for chip in (209, 219, 220, 226, 230, 231, 233, 237, 238)}
RAPL_S, RAPL_STEP_UJ, SENSOR_S = 1e-3, 1e6 / 2**14, 0.1
SLOW_S, SLOW_STEPS = 0.02, 10
LONGEST_S = 60.0


class Counter:
    """Microjoules since some moment; `wrap_uj` is where they start again at zero, 0 where they do not."""

    def __init__(self, name: str, path: str, step_uj: float, update_s: float, wrap_uj: int = 0) -> None:
        self.name, self.path = name, path
        self.step_uj, self.update_s, self.wrap_uj = step_uj, update_s, wrap_uj

    def read_uj(self) -> float:
        """What it shows now; raises OSError or ValueError where it cannot be read."""
        return float(number(self.path))

    def start(self) -> None:
        """It counts by itself."""

    def stop(self) -> None:
        """It counts by itself."""


class Power(Counter):
    """A sensor of power in microwatts, integrated by the trapezoidal rule as often as it is refreshed."""

    def __init__(self, name: str, path: str, step_uj: float, update_s: float) -> None:
        super().__init__(name, path, step_uj, update_s)
        self.lock, self.total_uj, self.last = threading.Lock(), 0.0, (time.perf_counter(), 0.0)
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)

    def read_uj(self) -> float:
        """The integral until now."""
        with self.lock:
            now, power = time.perf_counter(), float(number(self.path))
            self.total_uj += (now - self.last[0]) * (power + self.last[1]) / 2
            self.last = now, power
            return self.total_uj

    def sample(self) -> None:
        """Until it is stopped."""
        while not self.done.wait(self.update_s):
            try:
                self.read_uj()
            except (OSError, ValueError):
                return  # the next reading in the foreground fails alike, where it can be told

    def start(self) -> None:
        """Sample in the background from now on."""
        self.read_uj()
        self.thread.start()

    def stop(self) -> None:
        """No longer."""
        self.done.set()
        self.thread.join()


def find(root: str) -> list[Counter]:
    """Every RAPL package below `root`, else the sensors of the board; raises LookupError with what is in the way."""
    found = packages(root) or sensors(root)
    if not found:
        raise LookupError(
            "it has no RAPL package below /sys/class/powercap and no sensor of its power below /sys/class/hwmon"
        )
    if len(found) > 1 and isinstance(found[0], Power):
        names = ", ".join(counter.name for counter in found)
        raise LookupError("which of " + names + " feeds the processor cannot be known")
    for counter in found:
        try:
            counter.read_uj()
        except PermissionError:
            raise LookupError(
                counter.path + " is for root only; on it run: sudo chmod a+r " + counter.path
            ) from None
        except (OSError, ValueError) as error:
            raise LookupError(counter.path + " cannot be read: " + str(error)) from None
    return found


def packages(root: str) -> list[Counter]:
    """RAPL's, without their parts and without the platform that holds them."""
    zones = sorted(glob.glob(os.path.join(root, "sys/class/powercap/intel-rapl:*")))
    zones = [zone for zone in zones if re.fullmatch(r"intel-rapl:[0-9]+", os.path.basename(zone))]
    named = [(text(os.path.join(zone, "name")), zone) for zone in zones]
    return [
        Counter(
            "RAPL " + name,
            os.path.join(zone, "energy_uj"),
            RAPL_STEP_UJ,
            RAPL_S,
            number(os.path.join(zone, "max_energy_range_uj")),
        )
        for name, zone in named
        if name.startswith("package")
    ]


def sensors(root: str) -> list[Counter]:
    """Of drivers that meter a processor or a board; energy before power where a chip shows both."""
    found: list[Counter] = []
    for chip in sorted(glob.glob(os.path.join(root, "sys/class/hwmon/*"))):
        driver = text(os.path.join(chip, "name"))
        if driver not in METERS:
            continue
        interval = text(os.path.join(chip, "update_interval"))  # milliseconds
        every_s = int(interval) / 1000 if interval.isdigit() and int(interval) > 0 else SENSOR_S
        energies = [
            Counter("hwmon " + driver + " " + label(path), path, 1.0, every_s)
            for path in sorted(glob.glob(os.path.join(chip, "energy*_input")))
            if not re.fullmatch(r"Ecore[0-9]+", label(path))
        ]
        paths = glob.glob(os.path.join(chip, "power*_input")) or glob.glob(
            os.path.join(chip, "power*_average")
        )
        powers = [
            Power("hwmon " + driver + " " + label(path), path, every_s, every_s) for path in sorted(paths)
        ]
        found += energies or powers
    return found


def meter(
    run: Callable[[], object], counters: list[Counter], blocks: int, steps: int, tell: Callable[[], object]
) -> dict[str, Any]:
    """Spans of [microjoules, seconds]: blocks of `runs` runs, each between two of idling.

    Args:
        tell: called after every span, so that the other side knows that we live.
    """
    every_s = max(counter.update_s for counter in counters)
    steps = steps if every_s <= SLOW_S else min(steps, SLOW_STEPS)
    need_s, need_uj = steps * every_s, steps * sum(counter.step_uj for counter in counters)
    for counter in counters:
        counter.start()
    try:
        run()
        idle_uj, idle_s = span(lambda: time.sleep(need_s), counters)
        runs = 1
        while True:
            uj, seconds = span(partial(repeat, run, runs), counters)
            tell()
            net_uj = uj - idle_uj / idle_s * seconds
            if seconds >= need_s and net_uj >= need_uj:
                break
            if seconds >= LONGEST_S or (uj == 0 and seconds >= need_s):
                break  # nothing above idle, which the spans then show
            wanted = max(need_s / seconds, need_uj / net_uj if net_uj > 0 else 10.0)
            runs = int(runs * min(max(1.1 * wanted, 1.5), 10.0, 1.05 * LONGEST_S / seconds)) + 1
        idle, load = [span(lambda: time.sleep(seconds), counters)], []
        for _ in range(blocks):
            load.append(span(partial(repeat, run, runs), counters))
            idle.append(span(lambda: time.sleep(seconds), counters))
            tell()
    finally:
        for counter in counters:
            counter.stop()
    return {"runs": runs, "load": load, "idle": idle}


def span(work: Callable[[], object], counters: list[Counter]) -> tuple[float, float]:
    """Microjoules and seconds that `work` takes, at most one wrap of a counter among them."""
    start, before = time.perf_counter(), [counter.read_uj() for counter in counters]
    work()
    end, after = time.perf_counter(), [counter.read_uj() for counter in counters]
    moved = 0.0
    for index, counter in enumerate(counters):
        moved += after[index] - before[index] + (counter.wrap_uj if after[index] < before[index] else 0)
    return moved, end - start


def repeat(run: Callable[[], object], times: int) -> None:
    """`run`, so many times."""
    for _ in range(times):
        run()


def label(path: str) -> str:
    """A sensor's own name, else its file's."""
    sensor = path.rpartition("_")[0]
    return text(sensor + "_label") or os.path.basename(sensor)


def text(path: str) -> str:
    """A file's content, empty where it cannot be had."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def number(path: str) -> int:
    """A file's whole number."""
    with open(path, encoding="utf-8") as file:
        return int(file.read())
