"""OpenVINO as it is where its telemetry package is not installed.

With that package, an import sends word of itself and leaves an identifier in the home folder. It is hidden while
OpenVINO is imported for the first time; a program that imported it before has made its own choice.
"""

from __future__ import annotations

import sys

__all__ = ["openvino"]

_TELEMETRY = "openvino_telemetry"

_HIDDEN = _TELEMETRY not in sys.modules
if _HIDDEN:
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # an import of it fails, as if it were not there
try:
    import openvino
finally:
    if _HIDDEN:
        del sys.modules[_TELEMETRY]
