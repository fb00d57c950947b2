"""Whether this machine has a GPU that PyTorch could use, told without loading PyTorch."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Final

__all__ = ["missing_gpu", "torch_version"]

_DRIVERS: Final = ("proc/driver/nvidia/version", "dev/dxg", "dev/nvhost-ctrl")
"""What NVIDIA's driver shows on Linux, below Windows (WSL), and on Jetson boards."""


def missing_gpu(root: Path = Path("/")) -> str | None:
    """Why there is none to measure, None where a driver and a PyTorch with CUDA are here."""
    if not any((root / path).exists() for path in _DRIVERS):
        return "no NVIDIA driver is here"
    version = torch_version()
    if version is None:
        return "torch is not installed"
    if version.endswith("+cpu"):
        return f"torch {version} is built without CUDA (https://pytorch.org/get-started/locally)"
    return None


def torch_version() -> str | None:
    """PyTorch's version, None where it is not installed."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None
