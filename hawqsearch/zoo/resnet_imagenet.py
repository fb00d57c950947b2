"""ResNet-18 and ResNet-50 for 224x224 images: He et al. 2016, table 1; the stride of a bottleneck is in its
3x3 convolution, as everyone has it since 2017.

Untrained: they are here for their shapes, so that latencies of them can be told, never an accuracy.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["ResNet", "resnet18", "resnet50"]

_CLASSES = 1000


def resnet18() -> torch.nn.Module:
    """(n, 3, 224, 224) -> logits (n, 1000): 1.81 G multiply-accumulates."""
    return ResNet(BasicBlock, (2, 2, 2, 2))


def resnet50() -> torch.nn.Module:
    """(n, 3, 224, 224) -> logits (n, 1000): 4.09 G multiply-accumulates."""
    return ResNet(Bottleneck, (3, 4, 6, 3))


class BasicBlock(torch.nn.Module):
    """Two 3x3 convolutions beside the shortcut."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        self.conv2 = torch.nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, width, h / stride, w / stride)."""
        hidden = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.downsample(x))


class Bottleneck(torch.nn.Module):
    """1x1, 3x3 and 1x1 convolution beside the shortcut; four times as wide at the end."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * self.expansion
        self.conv1 = torch.nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        self.conv2 = torch.nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(width)
        self.conv3 = torch.nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = torch.nn.BatchNorm2d(out)
        self.downsample = _shortcut(channels, out, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, 4 width, h / stride, w / stride)."""
        hidden = F.relu(self.bn1(self.conv1(x)))
        hidden = F.relu(self.bn2(self.conv2(hidden)))
        return F.relu(self.bn3(self.conv3(hidden)) + self.downsample(x))


class ResNet(torch.nn.Module):
    """A stem, four stages of `block`, and a linear head."""

    def __init__(self, block: type[BasicBlock | Bottleneck], depths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(64)
        self.maxpool = torch.nn.MaxPool2d(3, stride=2, padding=1)
        channels, stages = 64, []
        for index, depth in enumerate(depths):
            width, stride = 64 * 2**index, 1 if index == 0 else 2
            blocks = []
            for position in range(depth):
                blocks.append(block(channels, width, stride if position == 0 else 1))
                channels = width * block.expansion
            stages.append(torch.nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = torch.nn.Linear(channels, _CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, 224, 224) -> logits (n, 1000)."""
        features = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        logits: torch.Tensor = self.fc(F.adaptive_avg_pool2d(features, 1).flatten(1))
        return logits


def _shortcut(channels: int, out: int, stride: int) -> torch.nn.Module:
    if channels == out and stride == 1:
        return torch.nn.Identity()
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, out, 1, stride=stride, bias=False), torch.nn.BatchNorm2d(out)
    )
