"""Does a reward rank what succeeded above what failed? And what is its scale?

Every recorded episode is taken for a rollout of the demonstration that begins most like it, itself apart, and rewarded chunk by
chunk with its own true tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.imagination.demonstrations import Demonstrations
from foreact.imagination.rewards.base import Reward, Step, checked
from foreact.recordings.recording import IMAGES, TOKENS


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What was found.

    Attributes:
        low, mean, high: of the reward of a chunk.
        auc: probability that a success has a higher mean reward than a failure; None where the recordings have not both.
        successes, failures: episodes.
    """

    low: float
    mean: float
    high: float
    auc: float | None
    successes: int
    failures: int

    @property
    def told(self) -> str:
        """In one sentence."""
        scale = f"a chunk's reward is {self.mean:.3g} on recordings, from {self.low:.3g} to {self.high:.3g}"
        if self.auc is None:
            return f"{scale}; without recorded successes and failures nobody can say whether it ranks them rightly"
        return f"{scale}; it ranks a success above a failure with probability {self.auc:.2f} ({self.successes} and {self.failures} episodes)"


def rank(reward: Reward, demonstrations: Demonstrations, *, most: int = 100) -> Ranking:
    """Reward up to `most` recorded episodes.

    Raises:
        ForeactError: a reward that is no number.
    """
    recordings = demonstrations.recordings
    episodes = [(k, e) for k, source in enumerate(recordings.sources) for e in source.split.train]
    chosen = [episodes[i] for i in np.random.default_rng(0).permutation(len(episodes))[:most]]
    first = demonstrations.tokens(np.arange(len(demonstrations)), np.zeros(len(demonstrations), dtype=np.int64))
    rewards, told = [], []
    for k, episode in chosen:
        source = recordings.sources[k]
        frames = np.arange(0, int(source.lengths[episode]), demonstrations.chunk)
        if len(frames) < 2:
            continue
        tokens = torch.from_numpy(source.read(IMAGES + TOKENS, np.full(len(frames), episode), frames)).float()
        which = _alike(tokens[0], first, demonstrations.names, (k, episode))
        rewards.append(checked(reward, _step(tokens[1:], frames[1:], which, demonstrations)))
        done = source.successes(episode)
        told.append(None if done is None else bool(done.any()))
    each = np.concatenate(rewards)
    means = np.array([r.mean() for r in rewards])
    good, bad = (means[[k for k, t in enumerate(told) if t is kind]] for kind in (True, False))
    auc = float(((good[:, None] > bad) + 0.5 * (good[:, None] == bad)).mean()) if len(good) and len(bad) else None
    spread = {"low": float(each.min()), "mean": float(each.mean()), "high": float(each.max())}
    return Ranking(**spread, auc=auc, successes=len(good), failures=len(bad))


def _alike(tokens: Tensor, first: Tensor, names: np.ndarray, own: tuple[int, int]) -> int:
    """The demonstration whose first frame is most like these tokens, not the episode itself unless there is no other."""
    distance = (first - tokens).abs().mean(dim=(1, 2)).numpy()
    distance[(names == own).all(axis=1)] = np.inf
    return int(distance.argmin())


def _step(tokens: Tensor, frames: np.ndarray, which: int, demonstrations: Demonstrations) -> Step:
    rows, size = np.full(len(frames), which), demonstrations.recordings.action_dim
    none = np.zeros((len(frames), demonstrations.chunk, size))
    return Step(tokens, none, rows, np.minimum(frames, demonstrations.last[which]), demonstrations)
