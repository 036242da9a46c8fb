"""ResNet-18 (He et al. 2016) with group norm in the place of batch norm, of any width."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 32
"""Pixels of the picture per row of the map."""
_STAGES = ((1, 1), (2, 2), (4, 2), (8, 2))  # channels in units of the width, and stride


class ResNet18(nn.Module):
    """Pictures -> a map of features; no pre-trained weights.

    Args:
        width: channels of the first stage; 64 in the original.

    Attributes:
        channels: of the map, 8 times the width.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.channels = 8 * width
        self.stem = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.norm = _norm(width)
        blocks, channels = [], width
        for factor, stride in _STAGES:
            blocks += [_Block(channels, factor * width, stride), _Block(factor * width, factor * width, 1)]
            channels = factor * width
        self.stages = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images_B3HW: Tensor) -> Tensor:
        """Float (B, 3, height, width) -> (B, channels, height / 32, width / 32), rounded up."""
        x = images_B3HW.contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(F.relu(self.norm(self.stem(x))), 3, stride=2, padding=1)
        return self.stages(x)


class _Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = _norm(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = _norm(out)
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            self.skip = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), _norm(out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.skip(x))


def _norm(channels: int) -> nn.GroupNorm:
    """Groups of 16 channels, as in RLA-WM's released policies."""
    return nn.GroupNorm(max(1, channels // 16), channels)
