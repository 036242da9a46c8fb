"""Numbers of one window: every metric of one model after every chunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.core.contracts import ImageDecoder
from foreact.evaluation import metrics
from foreact.evaluation.state_probe import StateProbe

Scores = dict[str, np.ndarray]
"""Metric -> (S,) means over samples, or (2, S) numerators and denominators of what is a ratio of sums."""

RATIOS = ("sharpness", "sharpness_moving")


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What really happened in a window of S chunks.

    Attributes:
        tokens: at step 0 and at the end of each chunk, (S + 1, N, C).
        images: the same as pictures, (S + 1, height, width, 3) in [0, 1]; None without an image decoder.
        poses: metric -> (S + 1, D).
    """

    tokens: Tensor
    images: Tensor | None
    poses: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The instruments that all predictions are held against.

    Attributes:
        decoder: draws tokens; None leaves out the metrics of pictures.
        probe: reads poses; None leaves out theirs.
        lpips: None where its weights cannot be had.
        motion_threshold: from which a token counts as moving, for the sharpness (RMS over channels).
    """

    decoder: ImageDecoder | None
    probe: StateProbe | None
    lpips: metrics.ImageMetric | None
    motion_threshold: float

    def score(self, samples: Tensor, truth: Truth, pictures: Tensor | None = None) -> tuple[Scores, Tensor | None]:
        """Judge the K samples of one model.

        Args:
            samples: (K, S, N, C).
            truth: of the same window.
            pictures: the samples of a model that imagines pictures, (K, S, height, width, 3); drawn from its tokens if None.

        Returns:
            The scores, and the samples as pictures (K, S, height, width, 3) where there is a decoder.
        """
        images = self.draw(samples) if pictures is None else pictures
        return {
            **score_tokens(samples, truth.tokens, self.motion_threshold),
            **self.score_images(images, truth),
            **self.score_poses(samples, truth),
        }, images

    def draw(self, tokens: Tensor) -> Tensor | None:
        """Tokens (..., N, C) -> pictures (..., height, width, 3)."""
        if self.decoder is None:
            return None
        images = self.decoder.decode(tokens.flatten(0, -3)).float()
        return images.unflatten(0, tokens.shape[:-2])

    def score_images(self, images: Tensor | None, truth: Truth) -> Scores:
        """PSNR, SSIM and, where it can be had, LPIPS of (K, S, height, width, 3), averaged over samples."""
        if images is None or truth.images is None:
            return {}
        target = truth.images[1:].expand_as(images).flatten(0, 1)
        measures = {"psnr": metrics.psnr, "ssim": metrics.ssim} | ({"lpips": self.lpips} if self.lpips else {})
        values = {name: measure(images.flatten(0, 1), target) for name, measure in measures.items()}
        return {name: _numpy(value.unflatten(0, images.shape[:2]).mean(dim=0)) for name, value in values.items()}

    def score_poses(self, samples: Tensor, truth: Truth) -> Scores:
        """Errors of the poses read from (K, S, N, C): averaged over samples, and of the best one."""
        if self.probe is None:
            return {}
        errors = self.probe.errors(samples, {name: poses[1:] for name, poses in truth.poses.items()})
        scores = {name: error.mean(axis=0) for name, error in errors.items()}
        if len(samples) > 1:
            scores |= {f"{name}_best_of_k": error.min(axis=0) for name, error in errors.items()}
        return scores


def score_tokens(samples: Tensor, truth: Tensor, motion_threshold: float) -> Scores:
    """Metrics of tokens (K, S, N, C) against the truth (S + 1, N, C), whose first entry is the start."""
    start, target = truth[0], truth[1:]
    error = metrics.token_l1(samples, target)
    scores = {
        "token_l1": error.mean(dim=0),
        "token_cosine": metrics.token_cosine(samples, target).mean(dim=0),
        "token_energy_score": metrics.energy_score(samples, target),
        "token_energy_score_local": metrics.local_energy_score(samples, target),
    }
    if len(samples) > 1:
        scores["token_l1_best_of_k"] = error.min(dim=0).values
        scores["token_l1_of_mean"] = metrics.token_l1(samples.mean(dim=0), target)
    for name, threshold in zip(RATIOS, (0.0, motion_threshold), strict=True):
        dream, true = metrics.motion_energy(samples, target, start, threshold)
        scores[name] = torch.stack([dream.mean(dim=0), true.mean(dim=0)])
    return {name: _numpy(value) for name, value in scores.items()}


def _numpy(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
