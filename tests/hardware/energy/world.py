"""A machine whose clock, power and sysfs files are the test's: energy is known exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class World:
    """Time passes only where it is told to; every counter then shows what the power of that time adds.

    Args:
        root: the tree below which `sys` lies.
        idle_w: power of each RAPL package when nothing runs.
        load_w: power of each while the workload runs.
    """

    root: Path
    idle_w: tuple[float, ...] = (5.0,)
    load_w: tuple[float, ...] = (15.0,)
    wrap_uj: int = 262_143_328_850
    start_uj: int = 1_000_000
    now: float = 100.0
    total_uj: list[float] = field(default_factory=list)
    on_write: Callable[[int, int], int] = lambda index, value: value

    def __post_init__(self) -> None:
        self.total_uj = [float(self.start_uj)] * len(self.idle_w)
        for index in range(len(self.idle_w)):
            zone = self.zone(index)
            zone.mkdir(parents=True)
            (zone / "name").write_text(f"package-{index}\n")
            (zone / "max_energy_range_uj").write_text(f"{self.wrap_uj}\n")
        self.write()

    def zone(self, index: int) -> Path:
        return self.root / f"sys/class/powercap/intel-rapl:{index}"

    def clock(self) -> float:
        """The time; whoever reads a counter asks for it first, so that the files are brought up to date here."""
        self.write()
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pass_time(seconds, self.idle_w)

    def run(self, seconds: float = 0.002) -> None:
        """The workload."""
        self.pass_time(seconds, self.load_w)

    def pass_time(self, seconds: float, watts: tuple[float, ...]) -> None:
        self.now += seconds
        self.total_uj = [uj + w * 1e6 * seconds for uj, w in zip(self.total_uj, watts, strict=True)]

    def write(self) -> None:
        for index, total in enumerate(self.total_uj):
            value = self.on_write(index, int(total) % self.wrap_uj)
            (self.zone(index) / "energy_uj").write_text(f"{value}\n")


def sensor(root: Path, chip: str, driver: str, **files: str) -> Path:
    """A hwmon chip with these files."""
    folder = root / "sys/class/hwmon" / chip
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{driver}\n")
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
    return folder
