"""Tokens -> pixels: the decoder-only 'UNet' of RLA-WM (section A.2): conv, then x2 stages of deconv and residual blocks.

    x^_{t+h} = UNet(s^_{t+h})                   (E11)
    loss = |x^ - x|_1 + 0.2 (1 - SSIM)

The paper does not give the loss; its released code adds 0.2 LPIPS, which needs weights of a VGG-16 and is left out here.

Shape legend: B batch, N patch tokens, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.core.batch import FrameBatch
from foreact.core.cards import DataSpec, ModelCard, ModelTraining
from foreact.core.config import ModelConfig
from foreact.core.presets import Preset
from foreact.core.recipe import TrainConfig
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import TrainableModel, TrainingData
from foreact.nn.attention import zero
from foreact.nn.convolution import group_norm
from foreact.nn.similarity import structural_similarity
from foreact.nn.tokens import TokenScale


@dataclass(frozen=True, kw_only=True)
class ImageDecoderConfig(ModelConfig):
    """Sizes of the image decoder; the defaults are the paper's.

    Attributes:
        tokens: the tokens it draws.
        channels: output channels of the stages; each doubles the resolution. Four draw patches of 16 pixels; where patches
            are of another size, pictures are scaled to that of the frames.
        blocks: residual blocks per stage.
        stem_channels: channels before the first stage; the tokens' C if None.
        ssim_weight: weight of 1 - SSIM.
        standardise: fit statistics of tokens before training (not in the paper).
        released_blocks: residual blocks as the released weights were trained with, and one more after the last stage.
    """

    kind: ClassVar[str] = "image_decoder"
    added: ClassVar[tuple[str, ...]] = ("released_blocks",)

    tokens: TokenSpec
    channels: tuple[int, ...] = (512, 256, 128, 64)
    blocks: int = 2
    stem_channels: int | None = None
    ssim_weight: float = 0.2
    standardise: bool = False
    released_blocks: bool = False

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the pictures: those that the encoder sees."""
        return self.tokens.image_size, self.tokens.image_size

    def build(self) -> UNetDecoder:
        """An image decoder with fresh weights."""
        return UNetDecoder(self)


class UNetDecoder(TrainableModel):
    """Draws tokens as pictures."""

    config: ImageDecoderConfig
    learns_from = "frames"

    def __init__(self, config: ImageDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = TokenScale(config.tokens.channels)
        stem = config.stem_channels or config.tokens.channels
        block = ReleasedBlock if config.released_blocks else ResidualBlock
        layers: list[nn.Module] = [
            nn.Conv2d(config.tokens.channels, stem, 3, padding=1),
            group_norm(stem),
            nn.GELU(),
            *[block(stem) for _ in range(config.blocks)],
        ]
        for inputs, outputs in zip((stem, *config.channels), config.channels, strict=False):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)]
            layers += [block(outputs) for _ in range(config.blocks)]
        if config.released_blocks:
            layers.append(block(config.channels[-1]))
        self.body = nn.Sequential(*layers)
        self.out = nn.Conv2d(config.channels[-1], 3, 3, padding=1)
        zero(self.out)

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """(B, N, C) -> unclamped pictures (B, 3, height, width)."""
        B, _, C = tokens_BNC.shape
        grid_BCHW = self.scale.normalise(tokens_BNC).transpose(1, 2).reshape(B, C, *self.config.tokens.grid)
        drawn = 0.5 + self.out(self.body(grid_BCHW.contiguous(memory_format=torch.channels_last))).float()
        if drawn.shape[2:] == self.config.image_size:
            return drawn
        return F.interpolate(drawn, size=self.config.image_size, mode="bilinear", antialias=True, align_corners=False)

    def decode(self, tokens: Tensor) -> Tensor:
        """x^ = UNet(s^) (E11): (B, N, C) -> pictures (B, height, width, 3) in [0, 1]."""
        return self(tokens).clamp(0, 1).permute(0, 2, 3, 1)

    def fit(self, data: TrainingData) -> None:
        """Set the statistics of tokens, where the config says so."""
        if self.config.standardise:
            self.scale.fit(*data.pairs())

    def loss(self, batch: FrameBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Loss of drawing the tokens against their frames."""
        if batch.tokens is None:
            raise ValueError("an image decoder learns from frames with their tokens")
        target = batch.frames.permute(0, 3, 1, 2).float() / 255
        drawn = self(batch.tokens)
        l1 = F.l1_loss(drawn, target)  # every pixel
        ssim = structural_similarity(drawn, target).mean()  # edges and contrast, as 1 - SSIM
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


class ReleasedBlock(nn.Module):
    """The released code's: each of two 3x3 convolutions comes before its group norm; the last GELU follows the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        change = self.norm2(self.conv2(F.gelu(self.norm1(self.conv1(x_BCHW)))))
        return F.gelu(x_BCHW + change)


_CHANNELS = {"tiny": (64, 32, 16, 8), "small": (96, 48, 24, 12)}
_BLOCKS = {"tiny": 1, "small": 1}
_SHORT = TrainConfig(
    steps=800, batch_size=16, learning_rate=4e-3, warmup=30, schedule="cosine", ema=0.98, precision="no", save_every=100
)
_RECIPES = {"tiny": _SHORT, "small": replace(_SHORT, steps=4000, warmup=100, ema=0.995, save_every=500)}
_RECIPE = TrainConfig(steps=60_000, batch_size=32, learning_rate=1e-4, warmup=1000, save_every=2500)


@dataclass(frozen=True, kw_only=True)
class ImageDecoderTraining(ModelTraining):
    """The image decoder has no options of its own."""

    def recipe(self, preset: Preset) -> TrainConfig:
        """By AdamW in float32: convolutions."""
        return preset.of(_RECIPES, _RECIPE)

    def reads_frames(self) -> bool:
        """To draw them."""
        return True

    def configure(self, preset: Preset, data: DataSpec) -> ImageDecoderConfig:
        """See `ModelTraining.configure`."""
        return ImageDecoderConfig(
            tokens=data.tokens,
            channels=preset.of(_CHANNELS, (512, 256, 128, 64)),
            blocks=preset.of(_BLOCKS, 2),
            standardise=preset.standardise,
        )


CARD = ModelCard(
    kind="image_decoder",
    role="image_decoder",
    label="image decoder",
    config=ImageDecoderConfig,
    training=ImageDecoderTraining,
)
