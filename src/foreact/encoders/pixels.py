"""Pixels as tokens: flattened patches in [0, 1], for models that see no features (AdaWorld, video diffusion), and their way
back to a picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foreact.core.token_spec import TokenSpec
from foreact.encoders.base import check_size, resize

PATCH = 16


class PixelEncoder:
    """An `Encoder` without weights; one token is a patch of 16 x 16 pixels in three colours.

    Raises:
        ForeactError: an image size that is not a multiple of the patch.
    """

    def __init__(self, image_size: int) -> None:
        self.image_size = check_size(image_size, PATCH, "pixels")

    @property
    def spec(self) -> TokenSpec:
        """Grid, channels and fingerprint of the tokens."""
        rows = self.image_size // PATCH
        return TokenSpec(
            grid=(rows, rows),
            channels=3 * PATCH * PATCH,
            fingerprint=f"pixels/{PATCH}/{self.image_size}",
            encoder="pixels",
            image_size=self.image_size,
        )

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Frames uint8 (B, height, width, 3) of any size -> tokens (B, N, C), in the order row, column, colour."""
        return cut_patches(resize(frames, self.image_size).permute(0, 2, 3, 1))


class PixelDecoder:
    """An `ImageDecoder` without weights, for the tokens of a `PixelEncoder`."""

    def __init__(self, tokens: TokenSpec) -> None:
        self.grid = tokens.grid

    def decode(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, height, width, 3) in [0, 1]."""
        return draw_pixels(tokens, self.grid)


def are_pixels(tokens: TokenSpec) -> bool:
    """Whether these tokens are patches of pixels, which need no trained decoder to be seen."""
    return tokens.encoder == "pixels"


def cut_patches(images: Tensor) -> Tensor:
    """Images (B, height, width, 3) -> tokens (B, N, C)."""
    B, height, width, _ = images.shape
    rows, columns = height // PATCH, width // PATCH
    patches = images.reshape(B, rows, PATCH, columns, PATCH, 3).permute(0, 1, 3, 2, 4, 5)
    return patches.reshape(B, rows * columns, -1)


def draw_pixels(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Inverse of `cut_patches`: tokens (B, N, C) -> images (B, height, width, 3) in [0, 1]."""
    rows, columns = grid
    patches = tokens.reshape(len(tokens), rows, columns, PATCH, PATCH, 3).permute(0, 1, 3, 2, 4, 5)
    return patches.reshape(len(tokens), rows * PATCH, columns * PATCH, 3).clamp(0, 1)
