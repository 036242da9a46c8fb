"""Parts of convolutional networks."""

from __future__ import annotations

from torch import nn


def group_norm(channels: int) -> nn.GroupNorm:
    """Eight groups as in RLA-WM's released code, fewer where they would have under eight channels: single channels in a
    group would lose their brightness.
    """
    return nn.GroupNorm(max(1, min(8, channels // 8)), channels)
