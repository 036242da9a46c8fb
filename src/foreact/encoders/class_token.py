"""An encoder's summary of the whole picture in front of its patch tokens, for models that ask for it (DINO-CLS).

Shape legend: B batch, N patch tokens, C channels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from foreact.core.contracts import Encoder
from foreact.core.token_spec import TokenSpec

PREFIX = "cls:"


@runtime_checkable
class HasClassToken(Protocol):
    """An encoder that makes a summary of its own."""

    def encode_with_class(self, frames: Tensor) -> Tensor:
        """uint8 (B, height, width, 3) -> [class token | patches], float (B, 1 + N, C)."""
        ...


class ClassTokenEncoder(nn.Module):
    """[summary | patches] as a row of 1 + N tokens.

    The summary is the encoder's class token, or the mean of its patches where it has none. The bundled encoder has none:
    its self-distillation compares pictures by that mean, so it is what a class token is elsewhere.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.image_size = encoder.image_size

    @property
    def spec(self) -> TokenSpec:
        """A grid of one row; the name by which `load_encoder` gives this encoder again."""
        inner = self.encoder.spec
        return replace(
            inner,
            grid=(1, 1 + inner.count),
            fingerprint=f"cls/{inner.fingerprint}",
            encoder=f"{PREFIX}{inner.encoder}",
        )

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Frames uint8 (B, height, width, 3) -> [summary | patches] (B, 1 + N, C)."""
        if isinstance(self.encoder, HasClassToken):
            return self.encoder.encode_with_class(frames)
        return with_mean(self.encoder.encode(frames))


def with_mean(patches_BNC: Tensor) -> Tensor:
    """[mean | patches] (B, 1 + N, C)."""
    return torch.cat([patches_BNC.mean(dim=1, keepdim=True), patches_BNC], dim=1)
