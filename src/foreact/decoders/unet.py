"""Tokens -> pixels: the decoder-only 'UNet' of RLA-WM (section A.2): conv, then x2 stages of deconv and residual blocks.

Loss: L1 + 0.2 (1 - SSIM). The paper adds 0.2 LPIPS, which needs weights of a VGG-16 and is left out here.

Shape legend: B batch, N patch tokens, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.nn.attention import zero
from foreact.nn.convolution import group_norm
from foreact.nn.similarity import structural_similarity
from foreact.nn.tokens import TokenScale
from foreact.pretrained import ModelConfig, PretrainedModel, TokenSpec


@dataclass(frozen=True, kw_only=True)
class ImageDecoderConfig(ModelConfig):
    """Sizes of the image decoder; the defaults are the paper's.

    Attributes:
        tokens: the tokens it draws.
        channels: output channels of the stages; each doubles the resolution (four for patches of 16 pixels).
        blocks: residual blocks per stage.
        stem_channels: channels before the first stage; the tokens' C if None.
        ssim_weight: weight of 1 - SSIM.
        standardise: fit statistics of tokens before training (not in the paper).
    """

    kind: ClassVar[str] = "image_decoder"

    tokens: TokenSpec
    channels: tuple[int, ...] = (512, 256, 128, 64)
    blocks: int = 2
    stem_channels: int | None = None
    ssim_weight: float = 0.2
    standardise: bool = False

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        scale = 2 ** len(self.channels)
        return self.tokens.grid[0] * scale, self.tokens.grid[1] * scale

    def build(self) -> UNetDecoder:
        """An image decoder with fresh weights."""
        return UNetDecoder(self)


class UNetDecoder(PretrainedModel):
    """Draws tokens as pictures."""

    config: ImageDecoderConfig

    def __init__(self, config: ImageDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = TokenScale(config.tokens.channels)
        stem = config.stem_channels or config.tokens.channels
        layers: list[nn.Module] = [
            nn.Conv2d(config.tokens.channels, stem, 3, padding=1),
            group_norm(stem),
            nn.GELU(),
            *[ResidualBlock(stem) for _ in range(config.blocks)],
        ]
        for inputs, outputs in zip((stem, *config.channels), config.channels, strict=False):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)]
            layers += [ResidualBlock(outputs) for _ in range(config.blocks)]
        self.body = nn.Sequential(*layers)
        self.out = nn.Conv2d(config.channels[-1], 3, 3, padding=1)
        zero(self.out)

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """(B, N, C) -> unclamped pictures (B, 3, height, width)."""
        B, _, C = tokens_BNC.shape
        grid_BCHW = self.scale.normalise(tokens_BNC).transpose(1, 2).reshape(B, C, *self.config.tokens.grid)
        return 0.5 + self.out(self.body(grid_BCHW.contiguous(memory_format=torch.channels_last))).float()

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> pictures (B, height, width, 3) in [0, 1]."""
        return self(tokens).clamp(0, 1).permute(0, 2, 3, 1)

    def loss(self, tokens: Tensor, frames: Tensor) -> dict[str, Tensor]:
        """Loss of drawing `tokens` (B, N, C) against uint8 `frames` (B, height, width, 3)."""
        target = frames.permute(0, 3, 1, 2).float() / 255
        drawn = self(tokens)
        l1 = F.l1_loss(drawn, target)
        ssim = structural_similarity(drawn, target).mean()
        return {"loss": l1 + self.config.ssim_weight * (1 - ssim), "l1": l1.detach(), "ssim": ssim.detach()}


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            group_norm(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            group_norm(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return x_BCHW + self.body(x_BCHW)
