"""Small networks, one for each thing that tracing has to get right; norms have statistics to fold."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hawqsearch.graph.trace import TracedModel, trace


class Residual(nn.Module):
    """Two blocks with in-place ReLUs, the second with the parameter-free shortcut (slice, pad)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.layer = nn.Sequential(Block(4, 4), Block(4, 8))
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(F.relu(self.bn1(self.conv1(x)), inplace=True))
        return self.fc(self.drop(F.adaptive_avg_pool2d(x, 1)).flatten(1))


class Block(nn.Module):
    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.wider = filters - channels
        self.conv1 = nn.Conv2d(channels, filters, 3, stride=2 if self.wider else 1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        if self.wider:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.wider // 2, self.wider // 2))
        y += x
        return F.relu(y)


class Depthwise(nn.Module):
    """Depthwise with ReLU6 in three spellings, `padding="same"`, a mean over the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Conv2d(3, 6, 1)
        self.norm = nn.BatchNorm2d(6)
        self.depth = nn.Conv2d(6, 6, 3, padding="same", groups=6, dilation=2)
        self.narrow = nn.Conv2d(6, 4, 1)
        self.head = nn.Linear(4, 3)
        self.clip = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardtanh(self.depth(self.clip(self.norm(self.widen(x)))), 0.0, 6.0)
        return self.head(self.narrow(x).clamp(0, 6).mean((2, 3)))


class Branches(nn.Module):
    """Concatenation, max pooling, and a value that a ReLU and an addition read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.left = nn.Conv2d(4, 4, 1)
        self.right = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + F.relu(x)
        x = torch.cat([F.relu(self.left(x)), F.relu(self.right(x))], 1)
        x = F.max_pool2d(x, 2)
        first, second = self.last(x).chunk(2, 1)
        return (first * torch.sigmoid(second)).flatten(1)


class Mlp(nn.Module):
    """Linear layers with norms, on two dimensions and on three."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 8)
        self.norm = nn.BatchNorm1d(8)
        self.tokens = nn.Linear(4, 6, bias=False)
        self.second = nn.Linear(6, 6)
        self.output = nn.Linear(12, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x))).reshape(x.shape[0], 2, 4)
        return self.output(F.gelu(self.second(self.tokens(x))).flatten(1))


class Tied(nn.Module):
    """One convolution called twice, two linear layers with one weight, a norm without parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, affine=False)
        self.scale = nn.Parameter(torch.randn(4, 4, 1, 1))
        self.up, self.down = nn.Linear(4, 4), nn.Linear(4, 4)
        self.down.weight = self.up.weight

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(F.relu(self.conv(x))))
        x = self.norm(F.conv2d(x, self.scale)).mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1)
        return self.down(F.relu(self.up(x)))


class TwoNorms(nn.Module):
    """One convolution under two norms: two layers after folding. The first norm, before any layer, stays."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        for norm in self.norms:
            x = norm(self.conv(x))
        return x


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (3, 8, 8)),
    "depthwise": (Depthwise, (3, 8, 8)),
    "branches": (Branches, (3, 8, 8)),
    "mlp": (Mlp, (12,)),
    "tied": (Tied, (4, 6, 6)),
    "two_norms": (TwoNorms, (4, 9, 9)),
}


def build(name: str) -> nn.Module:
    """The network with random statistics in its norms, in training mode."""
    torch.manual_seed(1)
    net = NETWORKS[name][0]()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)
    return net


def inputs(name: str, rows: int) -> Tensor:
    """`rows` examples for the network of that name."""
    return torch.randn(rows, *NETWORKS[name][1], generator=torch.Generator().manual_seed(2))


@functools.cache
def traced(name: str) -> TracedModel:
    """The network of that name, traced once for all tests."""
    return trace(build(name), inputs(name, 2))
