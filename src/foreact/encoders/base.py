"""What encoders share."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from foreact.core.errors import ForeactError

BUNDLED = Path(__file__).parent / "weights"


def resize(frames: Tensor, size: int) -> Tensor:
    """Frames uint8 (B, height, width, 3) -> float (B, 3, size, size) in [0, 1], squashed with antialiasing if needed.

    Raises:
        ValueError: not uint8 (B, height, width, 3).
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames must be uint8 (B, height, width, 3), not {frames.dtype} {tuple(frames.shape)}")
    images = frames.permute(0, 3, 1, 2).float() / 255
    if images.shape[2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def check_size(image_size: int, patch: int, name: str) -> int:
    """`image_size` itself, where a whole number of patches fits.

    Raises:
        ForeactError: it does not.
    """
    if image_size < patch or image_size % patch:
        nearest = max(patch, round(image_size / patch) * patch)
        raise ForeactError(
            f"image size {image_size} is not a multiple of {name}'s patch of {patch} px: use for instance {nearest}"
        )
    return image_size
