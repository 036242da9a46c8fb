"""Random crops and colours of image batches, the same for the same generator."""

from __future__ import annotations

import math

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
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False).to(images_B3HW.device)
    return F.grid_sample(images_B3HW, grid, mode="bilinear", padding_mode="border", align_corners=False)


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
