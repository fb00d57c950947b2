"""A board that was lost on the way, and what it had measured until then."""

from __future__ import annotations

from hawqsearch.core.hardware import HardwareProfile
from hawqsearch.errors import DeviceError

__all__ = ["BoardLostError"]


class BoardLostError(DeviceError):
    """The board or the line to it failed; `partial` holds the rows that were measured (each with its n)."""

    def __init__(self, message: str, partial: HardwareProfile) -> None:
        super().__init__(message)
        self.partial = partial

    def __reduce__(self) -> tuple[type, tuple[str, HardwareProfile]]:
        return type(self), (str(self), self.partial)
