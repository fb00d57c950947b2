"""Power that a sensor shows, integrated over time into energy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hawqsearch.errors import DeviceError

__all__ = ["PowerIntegral"]


class PowerIntegral:
    """Microjoules since the first sample, by the trapezoidal rule; safe to sample from several threads."""

    def __init__(self, read_uw: Callable[[], float], clock: Callable[[], float]) -> None:
        self._read_uw = read_uw
        self._clock = clock
        self._lock = threading.Lock()
        self._last: tuple[float, float] | None = None
        self._total_uj = 0.0

    def sample(self) -> float:
        """Read the sensor once more; microjoules until now."""
        with self._lock:
            now, power_uw = self._clock(), self._read_uw()
            if self._last is not None:
                then, before_uw = self._last
                self._total_uj += (now - then) * (power_uw + before_uw) / 2
            self._last = now, power_uw
            return self._total_uj

    @contextmanager
    def sampling(self, every_s: float) -> Iterator[None]:
        """Sample in the background meanwhile."""
        stop = threading.Event()
        thread = threading.Thread(target=self._keep_sampling, args=(every_s, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _keep_sampling(self, every_s: float, stop: threading.Event) -> None:
        while not stop.wait(every_s):
            try:
                self.sample()
            except DeviceError:
                return  # the next reading in the foreground fails alike, where it can be told
