"""Makes the tables of `hw_profiles/arm-neon/profiles`: `python -m hawqsearch.arm_tables [--networks digits …]`.

Every kernel, change of precision and whole network is run once per kernel set under qemu (see
`hawqsearch.hardware.arm`); the port model turns the counts into cycles of each core. Counts are kept in the
cache, so a second call only models, and one that was stopped goes on. Imports stages, as `pipeline` does: a
network comes from `graph`, its int8 file from `export`.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

import onnx
import torch

from hawqsearch.cache import default_folder
from hawqsearch.core.design import all_float, all_int8, random_mixed
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Signature
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.placement import place
from hawqsearch.core.precision import Precision
from hawqsearch.core.space import SearchSpace
from hawqsearch.core.target import Target
from hawqsearch.export.onnx_qdq import write_qdq
from hawqsearch.graph.onnx_float import float_onnx
from hawqsearch.graph.trace import TracedModel, trace
from hawqsearch.hardware.arm import tables
from hawqsearch.hardware.arm.cores import DEFAULT_CORE, TARGET, find_core
from hawqsearch.hardware.arm.ship import Shipment, WholeNetwork, ship
from hawqsearch.hardware.arm.toolchain import build
from hawqsearch.hardware.grid import change_grid, kernel_grid
from hawqsearch.hardware.predictor import learned
from hawqsearch.hardware.shipped import shipped_profile
from hawqsearch.hardware.targets import find_target
from hawqsearch.hardware.wide_grid import wide_change_grid, wide_kernel_grid
from hawqsearch.quant.arbitrary import ArbitraryValues
from hawqsearch.zoo import digits, mobilenetv2, resnet20, resnet_imagenet

if TYPE_CHECKING:
    from hawqsearch.quant.calibrated import CalibratedModel

__all__ = ["NETWORKS", "Entry", "grid", "main", "rows_of"]

_LOG = logging.getLogger("hawqsearch.arm_tables")
_FOLDER: Final = Path(__file__).parent.parent / "hw_profiles" / TARGET / "profiles"
_SEED: Final = 0
_GRID_KERNELS: Final = 900
_GRID_CHANGES: Final = 60
_WIDE_KERNELS: Final = 528
_WIDE_CHANGES: Final = 120
_PORTION: Final = 150


@dataclass(frozen=True, slots=True)
class Entry:
    """A network of the tables: how to make it, one input's shape, and how many mixed configurations are run."""

    make: Callable[[], torch.nn.Module]
    shape: tuple[int, int, int]
    mixed: int


NETWORKS: Final = MappingProxyType(
    {
        "digits": Entry(digits.model, (1, digits.CANVAS, digits.CANVAS), 16),
        "cifar10_resnet20": Entry(resnet20.model, (3, 32, 32), 16),
        "mobilenetv2": Entry(mobilenetv2.model, (3, 224, 224), 10),
        "resnet18": Entry(resnet_imagenet.resnet18, (3, 224, 224), 8),
        "resnet50": Entry(resnet_imagenet.resnet50, (3, 224, 224), 4),
    }
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run what is not in the cache, write the tables."""
    parser = argparse.ArgumentParser(prog="python -m hawqsearch.arm_tables", description=__doc__)
    parser.add_argument(
        "--networks", nargs="*", choices=[*NETWORKS], default=[*NETWORKS], help="default: all"
    )
    parser.add_argument("--no-grid", action="store_true", help="leave the predictor's shapes as they are")
    parser.add_argument("--workers", type=int, default=2, help="simulated runs side by side")
    parser.add_argument("--folder", type=Path, default=_FOLDER, help="where the tables go")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    target = find_target(TARGET)
    cache = default_folder() / "arm"
    shipment = Shipment(
        toolchain=build(cache),
        target=target,
        counts=cache / "counts",
        folder=options.folder,
        workers=options.workers,
    )
    for name in options.networks:
        _LOG.info("%s", name)
        traced = _traced(name)
        ship(shipment, *rows_of(traced.spec, target), _wholes(name, traced, target))
    if not options.no_grid:
        _ship_grid(shipment)
    _learn(options.folder)


def grid() -> tuple[list[KernelKey], list[ChangeKey]]:
    """The shapes that the predictor learns from."""
    kernels = kernel_grid(_GRID_KERNELS, seed=_SEED) + wide_kernel_grid(_WIDE_KERNELS, seed=_SEED)
    changes = change_grid(_GRID_CHANGES, seed=_SEED) + wide_change_grid(_WIDE_CHANGES, seed=_SEED)
    return [*dict.fromkeys(kernels)], [*dict.fromkeys(changes)]


def _ship_grid(shipment: Shipment) -> None:
    """In portions drawn evenly over the grid: a call that is stopped leaves whole rows, of every kind."""
    kernels, changes = grid()
    portions = math.ceil(len(kernels) / _PORTION) | 1  # odd: precisions alternate in the grid
    for k in range(portions):
        _LOG.info("grid, portion %d of %d", k + 1, portions)
        ship(shipment, kernels[k::portions], changes[k::portions], [])


def _learn(folder: Path) -> None:
    """What the predictor knows of the rows; one core's will do, as cycles of all vary with shapes alike."""
    _LOG.info("learning the predictor's scales")
    profile = shipped_profile(find_core(DEFAULT_CORE), folder=folder)
    tables.write_scales(folder / tables.SCALES, learned(profile).scales)


def _traced(name: str) -> TracedModel:
    entry = NETWORKS[name]
    torch.manual_seed(_SEED)
    return trace(entry.make().eval(), torch.randn(2, *entry.shape))


def rows_of(spec: ModelSpec, target: Target) -> tuple[list[KernelKey], list[ChangeKey]]:
    """The kernels and the changes of precision that a network can need at batch 1."""
    kernels = {
        KernelKey(Signature.of(node, 1), precision)
        for node in spec.nodes
        for precision in ("fp32", "w8a8")
        if target.kernel(node.op, precision) is not None
    }
    shapes = {(1, *tensor.shape[1:]) for tensor in spec.tensors}
    changes = {ChangeKey(shape, change) for shape in shapes for change in Change}
    return sorted(kernels, key=repr), sorted(changes, key=repr)


def _wholes(name: str, traced: TracedModel, target: Target) -> list[WholeNetwork]:
    """Configurations that are run whole: fp32, all-int8 and mixed ones."""
    spec = traced.spec
    space = SearchSpace(precisions=(Precision.parse("fp32"), Precision.parse("w8a8")))
    allowed = space.allowed(spec, target).precisions
    configs = [all_float(spec), all_int8(spec, target)]
    configs += random_mixed(spec, target, allowed, n=NETWORKS[name].mixed, seed=_SEED)
    floats = float_onnx(traced, 1)
    return [
        WholeNetwork(
            name=name, spec=spec, config=config, build=partial(_deployed, floats, traced, target, config)
        )
        for config in configs
    ]


def _deployed(
    floats: onnx.ModelProto, traced: TracedModel, target: Target, config: FrozenDict[str, str]
) -> onnx.ModelProto:
    values = cast("CalibratedModel", ArbitraryValues(traced.spec, target.scheme))
    placement = place(traced.spec, target, config)
    return write_qdq(floats, traced.spec, target.scheme, placement, config, values)


if __name__ == "__main__":
    main()
