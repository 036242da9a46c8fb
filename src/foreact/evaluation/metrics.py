"""Metrics of imagined futures, one number per prediction; what each is called and which way is better.

Tokens are (..., N, C): N patch tokens with C channels. Images are float (B, height, width, 3) in [0, 1].
Identical inputs give: token L1 0, cosine 1, PSNR `MAX_PSNR` (finite, so that means stay finite), SSIM 1, LPIPS 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from foreact.nn.similarity import structural_similarity

MAX_PSNR = 100.0
"""Decibels at which PSNR is cut off; 8-bit rounding alone is 59 dB away from the truth."""

LPIPS_WEIGHTS = "vgg16-397923af.pth"

ImageMetric = Callable[[Tensor, Tensor], Tensor]
"""Two batches of images -> (B,)."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a metric is shown.

    Attributes:
        label: its name for a reader.
        better: where good values lie; `one` for ratios that should be 1.
        about: what it is, in one sentence.
        unit: of the number; empty for ratios and shares.
        digits: decimals worth printing.
    """

    label: str
    better: Literal["lower", "higher", "one"]
    about: str = ""
    unit: str = ""
    digits: int = 3

    @property
    def direction(self) -> str:
        """Which way is better, in words."""
        return {"lower": "lower is better", "higher": "higher is better", "one": "1 is best"}[self.better]


_TOKENS = "units of the encoder's tokens"
METRICS = {
    "success_rate": Metric(
        label="success rate", better="higher", digits=2, about="The share of episodes in which the task was solved."
    ),
    "token_l1": Metric(
        label="token L1", better="lower", digits=4, unit=_TOKENS,
        about="The mean absolute difference between the imagined tokens and those of the filmed frame.",
    ),
    "token_l1_skill": Metric(
        label="skill (token L1 against persistence)", better="higher",
        about="The part of persistence's token L1 that a model takes away: 0 is as good as a copy of the first frame, 1 is perfect, "
        "below 0 is worse than the copy.",
    ),
    "token_cosine": Metric(
        label="token cosine", better="higher", digits=4,
        about="The cosine of the angle between each imagined token and the filmed one, averaged: 1 is the same direction.",
    ),
    "token_l1_best_of_k": Metric(
        label="token L1, best of K", better="lower", digits=4, unit=_TOKENS,
        about="Token L1 of the best of K imagined futures. The choice knows the truth, so it can only fall with K.",
    ),
    "token_l1_of_mean": Metric(
        label="token L1 of the mean of K", better="lower", digits=4, unit=_TOKENS,
        about="Token L1 of the average of K imagined futures: a blurred answer, which L1 rewards.",
    ),
    "token_energy_score": Metric(
        label="energy score (tokens)", better="lower", digits=4, unit=_TOKENS,
        about="The mean distance of K imagined futures from the truth, minus half their mean distance from each other. It is best "
        "for futures that are as likely as they should be; for one answer it is the plain distance.",
    ),
    "token_energy_score_local": Metric(
        label="energy score of each token", better="lower", digits=4, unit=_TOKENS,
        about="The energy score of each token by itself, averaged: it sees whether futures differ where the truth is uncertain.",
    ),
    "sharpness": Metric(
        label="sharpness (motion energy / true)", better="one",
        about="The squared change of the imagined tokens since the first frame, over that of the filmed ones: below 1 motion is "
        "blurred away, above 1 it is invented.",
    ),
    "sharpness_moving": Metric(
        label="sharpness where something moves", better="one",
        about="The same, over the tokens that change in the imagined or in the filmed frame.",
    ),
    "energy_score": Metric(label="energy score", better="lower", about="As the energy score of tokens, in patches of pixels."),
    "energy_score_local": Metric(
        label="energy score of each token", better="lower", about="The energy score of each patch by itself, averaged."
    ),
    "driven_error": Metric(
        label="driven object: squared error / persistence's", better="lower", digits=2,
        about="The squared error of the object that the actions move, over that of a copy of the first frame: 1 is as good as the copy.",
    ),
    "random_sharpness": Metric(
        label="random object: energy / true", better="one",
        about="How much of the object that jumps at random is drawn at all: near 0 it is blurred away.",
    ),
    "random_hit": Metric(
        label="random object: futures that show it in a possible place", better="higher",
        about="The share of imagined futures that show the random object whole in one of the places that it can jump to.",
    ),
    "psnr": Metric(
        label="PSNR (dB)", better="higher", digits=2, unit="decibels",
        about="Peak signal-to-noise ratio of the drawn pictures: the squared error of pixels on a logarithmic scale.",
    ),
    "ssim": Metric(
        label="SSIM", better="higher", digits=4,
        about="Structural similarity of the drawn and the filmed picture: 1 is the same picture.",
    ),
    "lpips": Metric(
        label="LPIPS (VGG)", better="lower", digits=4,
        about="Distance of the drawn and the filmed picture in features of a network for photographs: 0 is the same picture.",
    ),
}  # fmt: skip
_UNITS = {
    "_px": ("(px)", "pixels, of the picture that the notes of the report name"),
    "_deg": ("(degrees)", "degrees"),
    "_mm": ("(mm)", "millimetres"),
    "": ("", "the recordings' own units"),
}
_POSE = re.compile(r"(?P<name>.*)_error(?P<unit>_px|_deg|_mm|)(?P<best>_best_of_k|)")
_BEST = " Of K imagined futures the best is taken, with knowledge of the truth."


def describe(metric: str) -> Metric:
    """How `metric` is shown; state probe errors are recognised by their ending, an unknown name is its own label."""
    if metric in METRICS:
        return METRICS[metric]
    found = _POSE.fullmatch(metric)
    if not found:
        return Metric(label=metric.replace("_", " "), better="lower")
    name, (short, unit) = found["name"].replace("_", " "), _UNITS[found["unit"]]
    what = f"how far the {name} is {'turned from' if found['unit'] == '_deg' else 'from'} where it really was"
    return Metric(
        label=f"{name} error {short}".rstrip() + ", best of K" * bool(found["best"]),
        better="lower",
        digits=2,
        unit=unit,
        about=f"By a small network that reads poses from tokens: {what}.{_BEST * bool(found['best'])}",
    )


def token_l1(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference: two (..., N, C) -> (...)."""
    return (predicted - target).abs().mean(dim=(-2, -1))


def token_cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """Cosine similarity of each token with its target, averaged over tokens: two (..., N, C) -> (...)."""
    return F.cosine_similarity(predicted, target, dim=-1).mean(dim=-1)


def energy_score(samples: Tensor, target: Tensor) -> Tensor:
    """Energy score of K samples, a strictly proper score (Gneiting and Raftery 2007), lower is better.

        ES = mean_k d(x_k, y) - 1/2 mean_{k != j} d(x_k, x_j),    d(x, y) = |x - y|_2 / sqrt(N C)

    The second mean leaves out k = j, so that the expectation does not depend on K; for a single sample it is the error. Over
    so many dimensions any spread of the right size is rewarded, wherever it lies; `local_energy_score` sees where.

    Args:
        samples: (K, ..., N, C).
        target: (..., N, C).

    Returns:
        (...).
    """
    return _energy(samples, target, lambda difference: difference.square().mean(dim=(-2, -1)).sqrt())


def local_energy_score(samples: Tensor, target: Tensor) -> Tensor:
    """The energy score of each token by itself, d(x, y) = |x - y|_2 / sqrt(C), averaged over tokens: it sees whether samples
    spread where the truth is uncertain, but not how tokens hang together. Arguments and result as of `energy_score`.
    """
    return _energy(samples, target, lambda difference: difference.square().mean(dim=-1).sqrt()).mean(dim=-1)


def motion_energy(predicted: Tensor, target: Tensor, start: Tensor, threshold: float = 0.0) -> tuple[Tensor, Tensor]:
    """Numerator and denominator of the sharpness, |s^ - s_0|^2 and |s - s_0|^2, to be summed before dividing.

    A blurred mean of possible futures moves less than the truth (below 1), hallucinated motion more (above 1).

    Args:
        predicted: s^, (..., N, C).
        target: s, broadcastable to (..., N, C).
        start: s_0, broadcastable to (..., N, C).
        threshold: count only tokens that move in the truth or in the prediction by more than this (RMS over channels).

    Returns:
        Two (...) tensors.
    """
    dream, truth = (predicted - start).square().mean(dim=-1), (target - start).square().mean(dim=-1)
    dream, truth = torch.broadcast_tensors(dream, truth)
    counted = torch.maximum(dream, truth) > threshold**2
    return (dream * counted).sum(dim=-1), (truth * counted).sum(dim=-1)


def psnr(images: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels, at most `MAX_PSNR`: two (B, height, width, 3) -> (B,)."""
    error = (images - target).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(error.clamp_min(10 ** (-MAX_PSNR / 10)))


def ssim(images: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (11 x 11 Gaussian, sigma 1.5, range 1, mirrored borders): two (B, height, width, 3) -> (B,)."""
    return structural_similarity(_channels_first(images), _channels_first(target))


def load_lpips(device: torch.device) -> tuple[ImageMetric | None, str | None]:
    """LPIPS with the VGG-16 trunk, if it can be had without a download.

    Returns:
        The metric and None, or None and the reason why it is not there with what to do about it.
    """
    if not (Path(torch.hub.get_dir()) / "checkpoints" / LPIPS_WEIGHTS).is_file():
        fetch = "python -c \"import torchvision; torchvision.models.vgg16(weights='IMAGENET1K_V1')\""
        return None, f"the ImageNet weights of VGG-16 ({LPIPS_WEIGHTS}) are not in torch's hub cache; fetch: {fetch}"
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        network = LearnedPerceptualImagePatchSimilarity(net_type="vgg", normalize=True).to(device).eval()
    except Exception as error:  # a torchvision built for another torch raises RuntimeError on import
        return None, f"torchvision does not load here ({type(error).__name__}); pip install 'foreact[lpips]'"

    def lpips(images: Tensor, target: Tensor) -> Tensor:
        pairs = zip(_channels_first(images).split(1), _channels_first(target).split(1), strict=True)
        return torch.stack([network(image, truth).detach() for image, truth in pairs])

    return lpips, None


def _energy(samples: Tensor, target: Tensor, length: Callable[[Tensor], Tensor]) -> Tensor:
    count = len(samples)
    error = length(samples - target).mean(dim=0)
    if count == 1:
        return error
    pairs = [length(samples[k] - samples[j]) for k in range(count) for j in range(k + 1, count)]
    return error - torch.stack(pairs).mean(dim=0) / 2


def _channels_first(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).float().clamp(0, 1)
