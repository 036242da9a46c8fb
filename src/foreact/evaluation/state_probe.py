"""The state probe: a small network, trained on true tokens of training episodes, that reads poses from tokens.

Applied to imagined tokens it tells where the imagined object is, in units a person knows. Its own error on true held-out
tokens is the floor of every such figure and is reported beside them (model `true_tokens`).

    u = residual 3 x 3 convolutions over the token grid
    per target: where to look = softmax over tokens; read = linear([expected place | attended features])

The expected place (soft-argmax) reads positions to fractions of a token, the attended features all else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.evaluation.poses import PoseTarget, pose_errors
from foreact.recordings.token_cache import TokenCache

Poses = Mapping[str, np.ndarray]
"""Metric name -> (..., D) positions or angles, as `PoseTarget.read` gives them."""

_LARGEST_GRID = 16
_MEMORY = 2 << 30  # bytes of training tokens that are held at once
_BLOCK = 64


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How the probe is trained: AdamW on a one-cycle schedule.

    Attributes:
        frames: training frames, drawn at random.
        steps: optimiser steps.
        batch_size: frames per step.
        learning_rate: the highest.
        weight_decay: of AdamW.
        width: channels inside.
        depth: convolutions.
        seed: of frames, weights and batches.
    """

    frames: int = 8000
    steps: int = 1200
    batch_size: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 0.5
    width: int = 64
    depth: int = 2
    seed: int = 0


class StateProbe(nn.Module):
    """Reads poses from tokens. Made by `fit_probe`."""

    mean: Tensor
    scale: Tensor

    def __init__(
        self, targets: Sequence[PoseTarget], grid: tuple[int, int], truth: Poses, tokens: Tensor, config: ProbeConfig
    ) -> None:
        """Fresh weights, with the statistics of training poses and of training tokens (F, N, C), pooled."""
        super().__init__()
        self.targets, self.grid = tuple(targets), grid
        self.pooled = (min(grid[0], _LARGEST_GRID), min(grid[1], _LARGEST_GRID))
        self.register_buffer("mean", tokens.float().mean(dim=0))
        self.register_buffer("scale", (tokens.float() - self.mean).std(dim=(0, 1)).clamp_min(1e-6))
        self.codes = [PoseCode(target, truth[target.metric]) for target in targets]
        self.project = nn.Linear(tokens.shape[2], config.width)
        self.mix = nn.ModuleList(nn.Conv2d(config.width, config.width, 3, padding=1) for _ in range(config.depth))
        self.look = nn.Linear(config.width, len(targets))
        self.features = nn.Linear(config.width, config.width)
        self.out = nn.ModuleList(nn.Linear(2 + config.width, code.dims) for code in self.codes)
        rows, columns = (torch.linspace(-1, 1, n) for n in self.pooled)
        self.register_buffer("places", torch.cartesian_prod(rows, columns))

    def forward(self, tokens_BNC: Tensor) -> list[Tensor]:
        """Pooled tokens -> per target its code (B, dims)."""
        u_BNC = self.project((tokens_BNC.float() - self.mean) / self.scale)
        u_BCHW = u_BNC.transpose(1, 2).unflatten(2, self.pooled)
        for convolution in self.mix:
            u_BCHW = u_BCHW + convolution(F.gelu(u_BCHW))
        u_BNC = F.gelu(u_BCHW).flatten(2).transpose(1, 2)
        attention_BNK = self.look(u_BNC).softmax(dim=1)
        places = self.get_buffer("places").expand(len(u_BNC), -1, -1)
        read_BKD = attention_BNK.transpose(1, 2) @ torch.cat([places, self.features(u_BNC)], dim=2)
        return [out(read_BKD[:, k]) for k, out in enumerate(self.out)]

    @torch.no_grad()
    def read(self, tokens: Tensor) -> dict[str, np.ndarray]:
        """Tokens (..., N, C) -> per metric the poses (..., D) in the targets' units."""
        flat = tokens.reshape(-1, *tokens.shape[-2:])
        parts = [self(pool(block, self.grid)) for block in flat.split(_BLOCK)]
        codes = [torch.cat(code).double().cpu().numpy() for code in zip(*parts, strict=True)]
        poses = {c.target.metric: c.decode(code) for c, code in zip(self.codes, codes, strict=True)}
        return {name: pose.reshape(*tokens.shape[:-2], -1) for name, pose in poses.items()}

    def errors(self, tokens: Tensor, truth: Poses) -> dict[str, np.ndarray]:
        """Tokens (..., N, C) and true poses broadcastable to (..., D) -> per metric the errors (...)."""
        read = self.read(tokens)
        return {t.metric: pose_errors(read[t.metric], truth[t.metric], t.period) for t in self.targets}

    def guess_errors(self, truth: Poses) -> dict[str, np.ndarray]:
        """Errors (...) of always answering with the mean training pose: what a blind probe would make."""
        return {c.target.metric: pose_errors(c.guess, truth[c.target.metric], c.target.period) for c in self.codes}


class PoseCode:
    """Poses as standardised numbers; angles as cosine and sine, so that they have no seam."""

    def __init__(self, target: PoseTarget, poses: np.ndarray) -> None:
        self.target = target
        self.mean = np.zeros(2) if target.period else poses.mean(axis=0)
        self.scale = 1.0 if target.period else max(float((poses - self.mean).std()), 1e-9)
        self.dims = 2 if target.period else poses.shape[1]
        self.guess = self.decode(self.encode(poses).mean(axis=0))

    def encode(self, poses: np.ndarray) -> np.ndarray:
        """(..., D) -> (..., dims)."""
        if self.target.period:
            phase = poses[..., 0] * 2 * np.pi / self.target.period
            return np.stack([np.cos(phase), np.sin(phase)], axis=-1)
        return (poses - self.mean) / self.scale

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(..., dims) -> (..., D)."""
        if self.target.period:
            return (np.arctan2(codes[..., 1], codes[..., 0]) * self.target.period / (2 * np.pi))[..., None]
        return codes * self.scale + self.mean


def fit_probe(
    cache: TokenCache,
    episodes: Sequence[int],
    targets: Sequence[PoseTarget],
    *,
    config: ProbeConfig | None = None,
    device: torch.device | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> StateProbe:
    """Train a probe on true tokens.

    Args:
        cache: tokens of the dataset.
        episodes: training episodes.
        targets: what to read, at least one.
        config: the defaults if None.
        device: where it trains and stays; the CPU if None.
        on_progress: called with (steps done, steps).
    """
    config, device = config or ProbeConfig(), device or torch.device("cpu")
    tokens, truth = _training_frames(cache, episodes, targets, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        probe = StateProbe(targets, cache.spec.grid, truth, tokens, config).to(device)
    wanted = [torch.from_numpy(code.encode(truth[code.target.metric])).float().to(device) for code in probe.codes]
    optimiser = torch.optim.AdamW(probe.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, config.steps, pct_start=0.1)
    rng = np.random.default_rng((config.seed, 1))
    for step in range(config.steps):
        batch = torch.from_numpy(rng.integers(len(tokens), size=config.batch_size))
        codes = probe(tokens[batch].to(device))
        losses = [F.smooth_l1_loss(code, w[batch.to(device)], beta=0.1) for code, w in zip(codes, wanted, strict=True)]
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        optimiser.step()
        schedule.step()
        if on_progress:
            on_progress(step + 1, config.steps)
    return probe.eval()


def pool(tokens_BNC: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average neighbouring tokens of grids larger than 16 x 16, which the probe does not need: (B, N, C) -> (B, N', C)."""
    size = (min(grid[0], _LARGEST_GRID), min(grid[1], _LARGEST_GRID))
    if size == grid:
        return tokens_BNC
    grid_BCHW = tokens_BNC.float().transpose(1, 2).unflatten(2, grid)
    return F.adaptive_avg_pool2d(grid_BCHW, size).flatten(2).transpose(1, 2)


def _training_frames(
    cache: TokenCache, episodes: Sequence[int], targets: Sequence[PoseTarget], config: ProbeConfig
) -> tuple[Tensor, dict[str, np.ndarray]]:
    """Pooled tokens (F, N', C) float16 of random frames, and their poses."""
    lengths = {e: cache.dataset.episode(e).length for e in episodes}
    places = np.array([(e, t) for e, length in lengths.items() for t in range(length)])
    size = math.prod(min(n, _LARGEST_GRID) for n in cache.spec.grid) * cache.spec.channels * 2
    count = min(config.frames, len(places), max(_MEMORY // size, 1))
    chosen = np.sort(np.random.default_rng((config.seed, 0)).permutation(len(places))[:count])
    places = places[chosen]
    blocks = [
        pool(torch.from_numpy(np.asarray(cache.gather(*block.T))), cache.spec.grid).half()
        for block in np.array_split(places, math.ceil(count / _BLOCK))
    ]
    truth = {}
    for target in targets:
        poses = {e: target.poses(cache.dataset, e) for e in lengths}
        truth[target.metric] = np.stack([poses[e][t] for e, t in places]).astype(np.float64)
    return torch.cat(blocks), truth
