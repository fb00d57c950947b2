"""A target: which kernels its runtime has, as data."""

from __future__ import annotations

from dataclasses import dataclass

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import WEIGHTED_OPS
from hawqsearch.core.precision import Precision

__all__ = ["Kernel", "Scheme", "Target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How a target's kernels quantize, so that the simulation computes what the kernel computes.

    Args:
        signed_activations: int8 codes of activations are -128..127, otherwise 0..255.
        symmetric_activations: zero point fixed at the middle (signed) of the code range.
        narrow_weights: weight codes stop at -(2^(b-1) - 1), so that they are symmetric.
        weight_code_bits: most bits a weight code may use (7 where u8 x s8 products saturate).
    """

    signed_activations: bool = False
    symmetric_activations: bool = False
    narrow_weights: bool = True
    weight_code_bits: int = 8

    @property
    def activation_codes(self) -> tuple[int, int]:
        """Lowest and highest activation code."""
        return (-128, 127) if self.signed_activations else (0, 255)

    def weight_codes(self, bits: int) -> tuple[int, int]:
        """Lowest and highest weight code at `bits` bits."""
        top = 2 ** (min(bits, self.weight_code_bits) - 1) - 1
        return (-top if self.narrow_weights else -top - 1), top


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One (op, precision) that a runtime has.

    Args:
        timed_as: the precision whose kernel runs (`w4a8` on onnxruntime runs `w8a8`'s: buys size, no time).
        requantizes: the kernel's output comes out quantized, also where the reader is float.
        storage_bits: bits a weight takes in the file.
        note: what it is.
        source: where that fact comes from.
    """

    timed_as: str
    requantizes: bool = False
    storage_bits: int = 32
    note: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A runtime on an instruction set.

    Args:
        kernels: op -> precision name -> `Kernel`.
        functions: whether the runtime loads functions that a model defines.
        device: `local` where this machine is timed, `tables` where shipped tables stand for the machine.
        variant: which machine, where the target has several: `cortex-a72@1.5GHz`.
        requires, excludes: processor flags; one of the first must be there, and none of the second.
    """

    name: str
    summary: str
    runtime: str | None
    scheme: Scheme
    kernels: FrozenDict[str, FrozenDict[str, Kernel]]
    device: str = "local"
    functions: bool = True
    variant: str = ""
    requires: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    metered: tuple[str, ...] = ()

    @property
    def on_gpu(self) -> bool:
        """Whether PyTorch's kernels on a GPU are what is timed."""
        return self.runtime == "torch"

    def kernel(self, op: str, precision: str) -> Kernel | None:
        """The kernel for that choice, or None where the choice does not exist."""
        return self.kernels.get(op, FrozenDict()).get(precision)

    def precisions(self, op: str) -> tuple[Precision, ...]:
        """Precisions that have a kernel for `op`, in the target file's order."""
        return tuple(Precision.parse(p) for p in self.kernels.get(op, FrozenDict()))

    def buys(self, op: str, precision: str) -> tuple[str, ...]:
        """What an existing choice buys: `time` where a kernel of its own runs, `size` where weights are narrower.

        A choice that runs another precision's kernel has the time of that one and buys size only.
        """
        kernel = self.kernels[op][precision]
        if precision == "fp32":
            return ()
        time = self.runtime is not None and kernel.timed_as == precision
        size = op in WEIGHTED_OPS and kernel.storage_bits < 32
        return ("time",) * time + ("size",) * size
