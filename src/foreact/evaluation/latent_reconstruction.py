"""Figures A1 to A3 of RLA-WM, measured: what z reconstructs, in known and in unseen scenes, and the way from noise to z.

    A1, A3  f_dec(s_t, z) against s_{t+h}
    A2      f_dec(s_t, ((1 - a) eps + a z') sigma + mu), z' = (z - mu) / sigma, against s_{t+ah}

Skill is 1 - L1 / L1 of the copy of the current frame.

Shape legend: P pairs, N patch tokens, C channels, Q latent tokens, Z latent channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.evaluation.latent_pairs import TRUE, Learner, PairTokens
from foreact.evaluation.latent_values import EpisodeTable
from foreact.evaluation.metrics import token_cosine, token_l1

ALPHAS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, kw_only=True)
class NoiseToLatent:
    """The straight way from noise to z, ((1 - a) eps + a z') sigma + mu with z' = (z - mu) / sigma; mu, sigma (Q, Z)."""

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, z: Tensor) -> NoiseToLatent:
        """From z of training pairs, (P, Q, Z)."""
        return cls(mean=z.mean(dim=0), std=z.std(dim=0).clamp_min(1e-4))

    def __call__(self, z: Tensor, alpha: float, *, seed: int) -> Tensor:
        """The point a of the way to each z (P, Q, Z); the same noise for every a."""
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed))
        return ((1 - alpha) * noise + alpha * (z - self.mean) / self.std) * self.std + self.mean


def reconstruct(
    learner: Learner, pairs: PairTokens, z: Mapping[str, Tensor], table: EpisodeTable, subset: str = "held_out"
) -> dict[str, Tensor]:
    """Skill, L1 and cosine of the decoded s_{t+h} (A1 and A3); gives the decoded tokens (P, N, C)."""
    now, truth = pairs.tokens(learner.own, 0.0), pairs.base(1.0)
    decoded = {control: learner.to_base(learner.decode(now, latent)) for control, latent in z.items()}
    for control, tokens in decoded.items():
        add_errors(table, control, tokens, pairs.base(0.0), truth, pairs.episodes, subset=subset)
    return decoded


def between(
    learner: Learner, pairs: PairTokens, z: Mapping[str, Tensor], way: NoiseToLatent, alpha: float, *, seed: int = 0
) -> dict[str, Tensor]:
    """What is decoded a of the way from noise to each z (A2), and its rivals: the tokens of both ends interpolated (`line`) and
    the nearer end; all (P, N, C).
    """
    now, start, end = pairs.tokens(learner.own, 0.0), pairs.base(0.0), pairs.base(1.0)
    drawn = {c: learner.to_base(learner.decode(now, way(latent, alpha, seed=seed))) for c, latent in z.items()}
    return drawn | {"line": (1 - alpha) * start + alpha * end, "nearer": start if alpha <= 0.5 else end}


def topology(
    learner: Learner, pairs: PairTokens, z: Mapping[str, Tensor], way: NoiseToLatent, table: EpisodeTable
) -> None:
    """Skill of what `between` draws against the true frames in between."""
    chosen = {control: z[control] for control in (TRUE, "shuffled", "still")}
    for alpha in ALPHAS:
        start, truth = pairs.base(0.0), pairs.base(alpha)
        still = token_l1(start, truth).numpy()
        for name, tokens in between(learner, pairs, chosen, way, alpha).items():
            error = token_l1(tokens, truth).numpy()
            table.add(f"between_{alpha:g}_{name}", still - error, pairs.episodes, reference=still)


def add_errors(
    table: EpisodeTable,
    name: str,
    tokens: Tensor,
    start: Tensor,
    truth: Tensor,
    episodes: np.ndarray,
    *,
    subset: str = "held_out",
) -> None:
    """Add skill, L1 and cosine of predicted tokens (P, N, C) as `skill_name`, `l1_name` and `cosine_name`."""
    error, still = token_l1(tokens, truth).numpy(), token_l1(start, truth).numpy()
    table.add(f"skill_{name}", still - error, episodes, reference=still, subset=subset)
    table.add(f"l1_{name}", error, episodes, subset=subset)
    table.add(f"cosine_{name}", token_cosine(tokens, truth).numpy(), episodes, subset=subset)
