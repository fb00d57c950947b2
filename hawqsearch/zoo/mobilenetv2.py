"""MobileNetV2 for 224x224 images: Sandler et al. 2018, table 2, width 1.

Untrained: it is here for its shapes, so that latencies of it can be told, never an accuracy.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["MobileNetV2", "model"]

_STAGES = (
    # expansion, channels, blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def model() -> torch.nn.Module:
    """(n, 3, 224, 224) -> logits (n, 1000): 301 M multiply-accumulates."""
    return MobileNetV2()


class InvertedResidual(torch.nn.Module):
    """Widen (1x1), depthwise 3x3, narrow (1x1, no activation); a shortcut where shapes allow."""

    def __init__(self, channels: int, out: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = channels * expansion
        layers = [] if expansion == 1 else [_convolution(channels, hidden, 1)]
        layers += [
            _convolution(hidden, hidden, 3, stride=stride, groups=hidden),
            torch.nn.Conv2d(hidden, out, 1, bias=False),
            torch.nn.BatchNorm2d(out),
        ]
        self.conv = torch.nn.Sequential(*layers)
        self.adds = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, out, h / stride, w / stride)."""
        hidden: torch.Tensor = self.conv(x)
        return x + hidden if self.adds else hidden


class MobileNetV2(torch.nn.Module):
    """A stem, 17 inverted residuals, a 1x1 convolution to 1280 channels, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = [_convolution(3, 32, 3, stride=2)]
        channels = 32
        for expansion, out, blocks, stride in _STAGES:
            for position in range(blocks):
                layers.append(InvertedResidual(channels, out, expansion, stride if position == 0 else 1))
                channels = out
        layers.append(_convolution(channels, 1280, 1))
        self.features = torch.nn.Sequential(*layers)
        self.classifier = torch.nn.Linear(1280, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, 224, 224) -> logits (n, 1000)."""
        features = self.features(x)
        logits: torch.Tensor = self.classifier(F.adaptive_avg_pool2d(features, 1).flatten(1))
        return logits


def _convolution(
    channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        torch.nn.BatchNorm2d(out),
        torch.nn.ReLU6(),
    )
