"""A small classifier of success, trained on the recordings' own labels (`next.success`): reward is the probability of success.

Shape legend: B frames, N patch tokens, C channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.core.errors import ForeactError
from foreact.imagination.demonstrations import Demonstrations
from foreact.imagination.rewards.base import Step
from foreact.recordings.recording import IMAGES, TOKENS
from foreact.recordings.recordings import Recordings

_STEPS, _BATCH, _CODES, _HIDDEN = 200, 64, 8, 64


class Success:
    """Probability of success, in [0, 1].

    Args:
        demonstrations: whose recordings tell success, failures included.

    Raises:
        ForeactError: recordings without labels, or with one kind of them alone.
    """

    def __init__(self, demonstrations: Demonstrations) -> None:
        frames = labelled_frames(demonstrations.recordings)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            self.network = _train(demonstrations.recordings, *frames)

    @torch.no_grad()
    def __call__(self, step: Step) -> np.ndarray:
        """(n,), 1 at best."""
        return self.network(step.tokens).sigmoid().numpy()


class _Classifier(nn.Module):
    """Few numbers of every token, and an MLP that sees where they are."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, count: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.codes = nn.Linear(len(mean), _CODES)
        self.body = nn.Sequential(nn.Linear(count * _CODES, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> logits (B,)."""
        return self.body(self.codes((tokens.float() - self.mean) / self.std).flatten(1))[:, 0]


def labelled_frames(recordings: Recordings) -> tuple[np.ndarray, np.ndarray]:
    """(source, episode, frame) of all training frames (B, 3), and whether the task is done there, (B,).

    The label of a frame is that of the action before it.

    Raises:
        ForeactError: see `Success`.
    """
    rows, labels = [], []
    for k, source in enumerate(recordings.sources):
        for episode in source.split.train:
            done = source.successes(episode)
            if done is None:
                raise ForeactError(
                    f"{source.dataset.root} has no column next.success, which a classifier of success learns from: record it, or "
                    "take another reward"
                )
            rows.append(np.stack([np.full(len(done), k), np.full(len(done), episode), np.arange(len(done))], axis=1))
            labels.append(np.concatenate([[False], done[:-1]]))
    told = np.concatenate(labels)
    if told.all() or not told.any():
        raise ForeactError(
            f"next.success of {', '.join(recordings.names)} is {'always' if told.any() else 'never'} true in the training episodes: "
            "a classifier of success needs both"
        )
    return np.concatenate(rows), told


def _train(recordings: Recordings, rows: np.ndarray, labels: np.ndarray) -> _Classifier:
    """As many frames of either kind in each batch."""
    rng = np.random.default_rng(0)

    def read(chosen: np.ndarray) -> Tensor:
        return torch.from_numpy(recordings.read(IMAGES + TOKENS, *rows[chosen].T)).float()

    seen = read(rng.permutation(len(rows))[:512])
    network = _Classifier(seen.mean(dim=(0, 1)), seen.std(dim=(0, 1)).clamp_min(1e-6), seen.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.1)
    kinds = [np.flatnonzero(labels == kind) for kind in (False, True)]
    for _ in range(_STEPS):
        chosen = np.concatenate([rng.choice(kind, _BATCH // 2) for kind in kinds])
        truth = torch.from_numpy(labels[chosen]).float()
        loss = F.binary_cross_entropy_with_logits(network(read(chosen)), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval().requires_grad_(False)
