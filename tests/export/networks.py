"""Small networks, one for each thing that a writer of quantized files has to get right, and their tables."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from onnx import ModelProto
from torch import Tensor, nn

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.placement import place
from hawqsearch.core.precision import Precision
from hawqsearch.core.space import Allowed, SearchSpace
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError
from hawqsearch.export.onnx_qdq import write_qdq
from hawqsearch.graph.onnx_float import float_onnx
from hawqsearch.graph.trace import TracedModel, trace
from hawqsearch.hardware.targets import check_machine, find_target
from hawqsearch.quant.calibrated import CalibratedModel, calibrate

BATCH = 8


class Residual(nn.Module):
    """A residual addition with batch normalization, and a pooled head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(self.second(F.relu(self.first(x))) + x)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Mobile(nn.Module):
    """Expansion, depthwise and projection with ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Conv2d(3, 12, 1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, stride=2, groups=12)
        self.project = nn.Conv2d(12, 6, 1)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.depthwise(F.relu6(self.widen(4 * x))))
        return self.head(self.project(x).mean((2, 3)))


class Shortcut(nn.Module):
    """ResNet's parameter-free shortcut: every other pixel, padded with channels of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.first = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = self.second(F.relu(self.first(x)))
        x = F.relu(y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))
        return F.adaptive_avg_pool2d(self.last(x), 1).flatten(1)


class Branches(nn.Module):
    """An input with two readers, their concatenation, a max pool; the output is a convolution's."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 1)
        self.right = nn.Conv2d(3, 6, 3, padding=1)
        self.middle = nn.Conv2d(10, 6, 3, padding=1)
        self.last = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([F.relu(self.left(x)), F.relu(self.right(x))], 1)
        return self.last(F.relu(self.middle(F.max_pool2d(x, 2))))


class Standalone(nn.Module):
    """A ReLU that no layer can absorb, because its input has another reader, read by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.left = nn.Conv2d(6, 6, 1)
        self.right = nn.Conv2d(6, 6, 3, padding=1)
        self.raw = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.relu(x)
        return self.left(y) + self.right(y) + self.raw(x)


class Mlp(nn.Module):
    """Linear layers only, one without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 16)
        self.second = nn.Linear(16, 10, bias=False)
        self.third = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.third(F.relu(self.second(F.relu(self.first(x)))))


class Tokens(nn.Module):
    """Linear layers on three dimensions, with and without a bias, and a residual between them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 8, bias=False)
        self.up = nn.Linear(8, 16)
        self.down = nn.Linear(16, 8)
        self.head = nn.Linear(40, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head((x + self.down(F.relu(self.up(x)))).flatten(1))


class Tied(nn.Module):
    """One convolution called twice: two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 1)
        self.conv = nn.Conv2d(12, 12, 3, padding=1)
        self.head = nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(F.relu(self.stem(x))))
        return self.head(F.relu(self.conv(x)))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (3, 8, 8)),
    "mobile": (Mobile, (3, 8, 8)),
    "shortcut": (Shortcut, (3, 8, 8)),
    "branches": (Branches, (3, 8, 8)),
    "standalone": (Standalone, (3, 8, 8)),
    "mlp": (Mlp, (12,)),
    "tokens": (Tokens, (5, 6)),
    "tied": (Tied, (3, 8, 8)),
}


def inputs(name: str, n: int = BATCH) -> Tensor:
    return torch.randn(n, *NETWORKS[name][1], generator=torch.Generator().manual_seed(3))


@functools.cache
def traced(name: str) -> TracedModel:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = NETWORKS[name][0]()
        model(inputs(name))  # running statistics that are not the initial ones
    return trace(model.eval(), inputs(name, 2))


@functools.cache
def target() -> Target:
    """The target that this machine is."""
    for name in ("x86-vnni", "x86-avx2"):
        try:
            check_machine(find_target(name))
        except DeviceError:
            continue
        return find_target(name)
    raise DeviceError("this processor has neither VNNI nor AVX2: nothing here could run int8 kernels")


@functools.cache
def calibrated(name: str) -> CalibratedModel:
    return calibrate(traced(name), inputs(name, 32), target().scheme, seed=0)


@functools.cache
def float_model(name: str) -> ModelProto:
    return float_onnx(traced(name), BATCH)


@functools.cache
def allowed(name: str) -> Allowed:
    texts = ("fp32", "w8a8", "w6a8", "w5a8", "w4a8", "w3a8", "w2a8")
    space = SearchSpace(precisions=tuple(map(Precision.parse, texts)))
    return space.allowed(traced(name).spec, target())


def random_config(name: str, seed: int) -> FrozenDict[str, str]:
    """A configuration whose share of float nodes is itself drawn; joins draw too."""
    source = random.Random(seed)
    share = source.random()
    choices = allowed(name).precisions
    config = {}
    for node in traced(name).spec.nodes:
        integer = [str(p) for p in choices[node.name] if not p.is_float]
        is_float = not integer or source.random() < share
        config[node.name] = "fp32" if is_float else source.choice(integer)
    for group in traced(name).spec.ties:
        config |= dict.fromkeys(group, config[group[0]])
    return FrozenDict(config)


def exported(name: str, config: FrozenDict[str, str], *, functions: bool = True) -> ModelProto:
    spec: ModelSpec = traced(name).spec
    placement = place(spec, target(), config)
    return write_qdq(
        float_model(name), spec, target().scheme, placement, config, calibrated(name), functions=functions
    )
