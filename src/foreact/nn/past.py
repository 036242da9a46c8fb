"""What layers that look back in time saw of earlier frames, so that a new frame costs one frame and not the whole clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Past:
    """Inputs of layers, time in their second dimension; earlier frames are not changed by later ones, so they are kept.

    Attributes:
        keeps: whether what layers see now is added to what they have seen.
    """

    def __init__(self) -> None:
        self.keeps = True
        self._seen: dict[nn.Module, Tensor] = {}

    def with_new(self, layer: nn.Module, x_BT: Tensor) -> Tensor:
        """The layer's inputs of all frames so far, (B, frames, ...), the last of which are `x_BT` (B, T, ...)."""
        whole = torch.cat([self._seen[layer], x_BT], dim=1) if layer in self._seen else x_BT
        if self.keeps:
            self._seen[layer] = whole
        return whole
