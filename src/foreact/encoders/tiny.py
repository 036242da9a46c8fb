"""The bundled encoder: a small vision transformer, one token per 16 x 16 pixels.

A patch is embedded twice: linearly, which keeps its pixels, and by strided convolutions, which look across its border.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from foreact.core.cards import ModelCard
from foreact.core.config import ModelConfig
from foreact.core.pretrained import PretrainedModel, state_hash
from foreact.core.token_spec import TokenSpec
from foreact.encoders.base import check_size, resize
from foreact.nn.attention import MLP, Attention, Block, initialise, zero
from foreact.nn.positions import sincos_2d

PATCH = 16


@dataclass(frozen=True, kw_only=True)
class TinyEncoderConfig(ModelConfig):
    """Sizes of a `TinyEncoder`.

    Attributes:
        stem: channels of the stem's first three convolutions; each of the four halves the resolution.
        dim: C, the tokens' channels.
        depth: transformer blocks.
        heads: attention heads.
        image_size: side to which frames are resized, a multiple of 16; any other can be set after loading.
    """

    kind = "tiny_encoder"
    stem: tuple[int, int, int] = (32, 64, 128)
    dim: int = 192
    depth: int = 5
    heads: int = 3
    image_size: int = 128

    def build(self) -> TinyEncoder:
        """The encoder with fresh weights."""
        return TinyEncoder(self)


class TinyEncoder(PretrainedModel):
    """Pixels -> tokens that have mean 0 and variance 1 over their channels."""

    config: TinyEncoderConfig

    def __init__(self, config: TinyEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.image_size = check_size(config.image_size, PATCH, "tiny")
        self.source = "tiny"  # by which name or folder it was loaded
        self.name = "tiny"  # by which it is loaded again: this, or its folder
        widths = (3, *config.stem, config.dim)
        layers: list[nn.Module] = []
        for narrow, wide in itertools.pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.GELU(approximate="tanh")]
        self.stem = nn.Sequential(*layers[:-1])
        self.patches = nn.Conv2d(3, config.dim, PATCH, stride=PATCH, bias=False)
        self.stem_norm = nn.LayerNorm(config.dim)
        self.blocks = nn.ModuleList(Block(config.dim, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, elementwise_affine=False)
        self._fingerprint: tuple[tuple[int, ...], str] | None = None
        self._initialise()

    @property
    def spec(self) -> TokenSpec:
        """Grid, channels and fingerprint of the tokens at the present image size."""
        rows = self.image_size // PATCH
        fingerprint = f"tiny@{self._hash()}/last-ln/{self.image_size}"
        return TokenSpec(
            grid=(rows, rows),
            channels=self.config.dim,
            fingerprint=fingerprint,
            encoder=self.name,
            image_size=self.image_size,
        )

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Frames uint8 (B, height, width, 3) of any size -> tokens (B, N, C)."""
        device = next(self.parameters()).device
        return self(resize(frames.to(device), self.image_size) * 2 - 1)

    def forward(self, images_B3HW: Tensor, mask_BN: Tensor | None = None, mask_token_C: Tensor | None = None) -> Tensor:
        """Images (B, 3, height, width) in [-1, 1] -> tokens (B, N, C); tokens under the boolean mask start as `mask_token`."""
        images_B3HW = images_B3HW.contiguous(memory_format=torch.channels_last)
        features = self.stem(images_B3HW) + self.patches(images_B3HW)
        grid = (features.shape[2], features.shape[3])
        x_BNC = self.stem_norm(features.flatten(2).transpose(1, 2))
        if mask_BN is not None and mask_token_C is not None:
            x_BNC = torch.where(mask_BN[..., None], mask_token_C.to(x_BNC.dtype), x_BNC)
        x_BNC = x_BNC + sincos_2d(grid, self.config.dim).to(x_BNC.device)  # float32, as is then all that is added to it
        for block in self.blocks:
            x_BNC = block(x_BNC)
        return self.norm(x_BNC)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Start as a whitened cosine transform of the patches: the blocks add nothing yet, and details are not drowned."""
        initialise(self)
        convolutions = [layer for layer in self.stem if isinstance(layer, nn.Conv2d)]
        for layer in convolutions:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        zero(convolutions[-1])
        self.patches.weight.copy_(whitened_cosines(self.config.dim).to(self.patches.weight.device))
        for module in self.modules():
            if isinstance(module, Attention):
                zero(module.out)
            elif isinstance(module, MLP):
                zero(cast(nn.Linear, module[-1]))

    def _hash(self) -> str:
        """Hash of the weights, computed again only after they have changed."""
        version = tuple(p._version for p in self.parameters())
        if self._fingerprint is None or self._fingerprint[0] != version:
            self._fingerprint = (version, state_hash(self))
        return self._fingerprint[1]


def whitened_cosines(count: int) -> Tensor:
    """The `count` lowest frequencies of a patch in three colours, (count, 3, 16, 16), weighed by frequency.

    Pictures have amplitudes that fall with the inverse of the frequency, so that all outputs come out about alike.
    """
    with torch.device("cpu"):  # also while a model is built on the meta device
        return _whitened_cosines(count)


def _whitened_cosines(count: int) -> Tensor:
    places = (torch.arange(PATCH) + 0.5) / PATCH
    waves = torch.cos(math.pi * torch.arange(PATCH)[:, None] * places) * math.sqrt(2 / PATCH)
    waves[0] /= math.sqrt(2)
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    frequency = torch.linspace(0, PATCH - 1, PATCH).square()
    order = (frequency[:, None] + frequency).sqrt().expand(3, PATCH, PATCH)
    chosen = order.flatten().argsort(stable=True)[:count]
    basis = torch.einsum("kc,uy,vx->kuvcyx", colours, waves, waves).flatten(0, 2)
    return basis[chosen] * (0.04 * (1 + order.flatten()[chosen])).view(-1, 1, 1, 1)


CARD = ModelCard(kind="tiny_encoder", role="encoder", label="tiny encoder", config=TinyEncoderConfig)
