"""Small networks in which every rule of a placement shows."""

from __future__ import annotations

import torch
from torch import nn

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.target import Kernel, Scheme, Target
from hawqsearch.graph.trace import TracedModel, trace


class Residual(nn.Module):
    """A tensor with two readers (`left`, `right`), their sum, a depthwise layer, a max pool, a view."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.left = nn.Conv2d(4, 4, 3, padding=1)
        self.right = nn.Conv2d(4, 4, 1, bias=False)
        self.depthwise = nn.Conv2d(4, 4, 3, stride=2, groups=4)
        self.head = nn.Linear(4 * 3 * 3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, 14, 14) -> (n, 5)."""
        stem = self.norm(self.stem(x)).relu()
        joined = (self.left(stem) + self.right(stem)).relu()
        pooled = nn.functional.max_pool2d(self.depthwise(joined), 2)
        logits: torch.Tensor = self.head(pooled.flatten(1))
        return logits


def images(n: int = 12) -> torch.Tensor:
    return torch.randn(n, 3, 14, 14, generator=torch.Generator().manual_seed(1))


def traced() -> TracedModel:
    """`Residual` with fixed weights, and with running statistics that are not the initial ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Residual()
        model(images())
    return trace(model.eval(), images(2))


def target(*, requantizes: bool) -> Target:
    """A target with every precision, whose int8 convolutions and joins requantize their output, or not."""
    eight = Kernel(timed_as="w8a8", requantizes=requantizes)
    narrow = {f"w{bits}a8": eight for bits in (2, 3, 4, 5, 6, 8)}
    floats = {f"w{bits}a16": Kernel(timed_as="w8a16") for bits in (2, 3, 4, 8)} | {
        "fp32": Kernel(timed_as="fp32")
    }
    layer = FrozenDict[str, Kernel](narrow | floats)
    join = FrozenDict[str, Kernel]({"w8a8": eight, "fp32": Kernel(timed_as="fp32")})
    linear = FrozenDict[str, Kernel]({name: Kernel(timed_as="w8a8") for name in narrow} | floats)
    joins = dict.fromkeys(("add", "concat", "avg_pool", "max_pool"), join)
    return Target(
        name="any",
        summary="every precision",
        runtime=None,
        scheme=Scheme(),
        kernels=FrozenDict({"conv": layer, "linear": linear} | joins),
    )
