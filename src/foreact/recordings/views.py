"""Random crops and colours of image batches, the same for the same generator.

Shape legend: B images or clips, H and W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def random_crops(images_B3HW: Tensor, size: int, zoom: tuple[float, float], generator: torch.Generator) -> Tensor:
    """One crop (B, 3, size, size) per square image, at a random place and mirrored at random.

    Half of the crops are cut out pixel by pixel, which keeps edges crisp; the others are zoomed by a log-uniform factor
    of the range `zoom`, as far as the image is large enough.
    """
    count, side = len(images_B3HW), images_B3HW.shape[2]
    low, high = math.log(zoom[0]), math.log(zoom[1])
    factor = torch.exp(low + (high - low) * torch.rand(count, generator=generator))
    native = torch.rand(count, generator=generator) < 0.5
    factor = torch.where(native, torch.ones(()), factor)
    extent = (size / factor).clamp_max(float(side))  # pixels of the image that the crop covers
    corner = torch.rand(count, 2, generator=generator) * (side - extent)[:, None]
    corner = torch.where(native[:, None], corner.round(), corner)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    scale, centre = extent / side, (corner + extent[:, None] / 2) * 2 / side - 1
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale * mirror, scale
    theta[:, :, 2] = centre
    return _cut(images_B3HW, theta, size)


def random_colours(images_B3HW: Tensor, generator: torch.Generator) -> Tensor:
    """Images in [-1, 1] with random brightness, contrast and saturation, and for one in four its channels permuted."""
    count = len(images_B3HW)
    draws = torch.rand(4, count, 1, 1, 1, generator=generator).to(images_B3HW.device)
    brightness, contrast, saturation = 0.4 * (draws[0] - 0.5), 0.7 + 0.6 * draws[1], 0.5 + 0.9 * draws[2]
    grey = images_B3HW.mean(1, keepdim=True)
    images = grey + saturation * (images_B3HW - grey)
    order = torch.rand(count, 3, generator=generator).argsort(1).to(images.device)[:, :, None, None]
    permuted = images.gather(1, order.expand_as(images))
    images = torch.where(draws[3] < 0.25, permuted, images)
    return (images * contrast + brightness).clamp(-1, 1)


@dataclass(frozen=True, kw_only=True)
class ViewRanges:
    """From what a clip's view is drawn; the defaults are LaWM's.

    Attributes:
        area: share of the picture that is kept.
        ratio: its width over its height, times the picture's own.
        brightness, contrast, saturation: largest change of these factors, which are 1 in the original.
        hue: largest turn of the colours, in whole turns.
    """

    area: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (1.0, 1.3)
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.25
    hue: float = 0.04


@dataclass(frozen=True, kw_only=True)
class ClipViews:
    """One view per clip: what is cut out, and how colours change; the same for every frame of the clip.

    Attributes:
        theta: affine maps of places, (B, 2, 3).
        colour: affine maps of (red, green, blue) in [0, 1], (B, 3, 4).
    """

    theta: Tensor
    colour: Tensor

    @classmethod
    def draw(cls, count: int, ranges: ViewRanges, generator: torch.Generator) -> ClipViews:
        """Views of `count` clips."""

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, generator=generator)

        area, ratio = uniform(*ranges.area), torch.exp(uniform(*(math.log(r) for r in ranges.ratio)))
        width, height = (area * ratio).sqrt().clamp_max(1.0), (area / ratio).sqrt().clamp_max(1.0)
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0], theta[:, 1, 1] = width, height
        theta[:, 0, 2], theta[:, 1, 2] = uniform(-1, 1) * (1 - width), uniform(-1, 1) * (1 - height)
        brightness, contrast, saturation = (
            uniform(1 - r, 1 + r) for r in (ranges.brightness, ranges.contrast, ranges.saturation)
        )
        turn = 2 * math.pi * uniform(-ranges.hue, ranges.hue)
        return cls(theta=theta, colour=_colour_maps(brightness, contrast, saturation, turn))

    def __getitem__(self, rows: slice) -> ClipViews:
        return ClipViews(theta=self.theta[rows], colour=self.colour[rows])

    def __call__(self, frames_BHW3: Tensor) -> Tensor:
        """One frame of each clip, square uint8 (B, H, H, 3), as its view shows it; same shape."""
        images = _cut(frames_BHW3.permute(0, 3, 1, 2).float() / 255, self.theta, frames_BHW3.shape[1])
        images = torch.einsum("bij,bjhw->bihw", self.colour[:, :, :3], images) + self.colour[:, :, 3, None, None]
        return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def _colour_maps(brightness: Tensor, contrast: Tensor, saturation: Tensor, turn: Tensor) -> Tensor:
    """Colours are turned about the grey axis by `turn` radians and drawn towards it, then scaled, then spread about 1/2.

    All (B,) -> (B, 3, 4).
    """
    grey = torch.full((3, 3), 1 / 3)
    across = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    turned = torch.cos(turn)[:, None, None] * (torch.eye(3) - grey) + torch.sin(turn)[:, None, None] * across
    factor = (brightness * contrast)[:, None, None]
    linear = factor * (grey + saturation[:, None, None] * turned)
    shift = (0.5 - 0.5 * contrast)[:, None, None].expand(-1, 3, 1)
    return torch.cat([linear, shift], dim=2)


def _cut(images_B3HW: Tensor, theta_B23: Tensor, size: int) -> Tensor:
    """What affine maps of places cut out of images, (B, 3, size, size)."""
    grid = F.affine_grid(theta_B23, [len(images_B3HW), 3, size, size], align_corners=False).to(images_B3HW.device)
    return F.grid_sample(images_B3HW, grid, mode="bilinear", padding_mode="border", align_corners=False)
