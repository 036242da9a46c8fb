"""What a policy makes of its cameras, or of UNet(DINO(x_t)) (E17): tokens of width D, or pooled features.

Shape legend: B batch, N picture tokens, C channels, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foreact.core.token_spec import TokenSpec
from foreact.decoders.unet import ImageDecoderConfig
from foreact.encoders.base import resize
from foreact.nn.attention import learned_tokens
from foreact.nn.positions import PatchEmbedding
from foreact.nn.resnet import STRIDE, ResNet18


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What RLA-WM's policies do not have.

    Attributes:
        tokens: of a frozen encoder that is looked at in the place of pictures.
        decoder: of an image decoder: pictures are drawn from these tokens before the policy looks at them, in training and in
            acting, so that imagined pictures and filmed ones look alike (the released code does this for reinforcement learning).
        position_scale: amplitude of the 2-D position codes on picture tokens.
    """

    tokens: TokenSpec | None = None
    decoder: ImageDecoderConfig | None = None
    position_scale: float = 0.0


class Sight(nn.Module):
    """One network for all cameras; several are told apart by a learned code.

    Args:
        cameras: full names.
        image_size: side of the square pictures that the ResNet sees.
        width: channels of the ResNet's first stage.
        dim: D.
        extras: what is looked at in the place of pictures.
        pooled: give the mean over each picture in the place of tokens.

    Attributes:
        features: width of the pooled features of all cameras.
    """

    def __init__(
        self, cameras: tuple[str, ...], image_size: int, width: int, dim: int, extras: Extras, *, pooled: bool
    ) -> None:
        super().__init__()
        self.cameras, self.size, self.pooled, tokens = cameras, image_size, pooled, extras.tokens
        self.decoder = extras.decoder.build().requires_grad_(False) if extras.decoder else None
        rows = -(-image_size // STRIDE)
        grid, channels = ((rows, rows), 8 * width)
        self.resnet: ResNet18 | None = None
        if tokens is None or self.decoder is not None:
            self.resnet = ResNet18(width)
        else:
            grid, channels = tokens.grid, tokens.channels
        self.norm = nn.LayerNorm(channels) if self.resnet is None else nn.Identity()
        self.embed = None if pooled else PatchEmbedding(grid, channels, dim, extras.position_scale)
        self.features = channels * len(self.cameras)
        many = len(self.cameras) > 1 and not pooled
        self.codes = learned_tokens(len(self.cameras), dim) if many else None

    def forward(self, pictures: Mapping[str, Tensor]) -> Tensor:
        """Camera -> uint8 (B, height, width, 3), drawn or filmed, or tokens (B, N, C); gives (B, cameras * N, D), or pooled (B, features)."""
        maps = [self._map(pictures[name]) for name in self.cameras]
        if self.embed is None:
            return torch.cat([m.mean(dim=1) for m in maps], dim=1)
        seen = [self.embed(m) for m in maps]
        if self.codes is not None:
            seen = [x + code for x, code in zip(seen, self.codes, strict=True)]
        return torch.cat(seen, dim=1)

    @torch.no_grad()
    def draw(self, tokens: Tensor) -> Tensor:
        """Pictures uint8 (B, height, width, 3) of tokens (B, N, C), where there is an image decoder; else the tokens."""
        if self.decoder is None:
            return tokens
        return (self.decoder.decode(tokens.float()) * 255).round().to(torch.uint8)

    def _map(self, picture: Tensor) -> Tensor:
        """Features of the places of one camera's picture, (B, N, C)."""
        if self.resnet is None:
            return self.norm(picture.float())
        images = resize(picture if picture.dtype == torch.uint8 else self.draw(picture), self.size)
        return self.resnet(2 * images - 1).flatten(2).transpose(1, 2)
