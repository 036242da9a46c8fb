"""Open-loop rollouts of latent actions: u^_{k+1} = D(u^_k, z_k) from u^_0 = u_0 with z_k of the true pair (LaWAM, Fig. 10).

Shape legend: P pairs, N patch tokens, C channels, K steps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from foreact.evaluation.latent_pairs import TRUE, Learner, PairTokens, latents
from foreact.evaluation.latent_values import EpisodeTable

_MOTION_SHARE = 24 / 256  # of the tokens count as the region that moves, as in LaWAM's figure


def roll_out(
    learner: Learner, pairs: PairTokens, steps: int, mean_z: Tensor, usual: Tensor, table: EpisodeTable
) -> None:
    """Cosine of u^_k with u_k, of u^_k with u_0 and of u_k with u_0: `cosine` over all patches, `motion_cosine` over those that
    move most and of what differs from the usual picture, since most of a token is the same in every frame.

    Args:
        learner: decodes z.
        pairs: pairs whose horizon is the whole trajectory, of `steps` equal strides.
        steps: K.
        mean_z: (Q, Z) of training pairs.
        usual: tokens (N, C) of the scene's mean picture.
        table: gets the values, with k as the chunk.
    """
    first = pairs.base(0.0)

    def add(name: str, tokens: Tensor, others: Tensor, moving: Tensor, step: int) -> None:
        cosine = F.cosine_similarity(tokens, others, dim=2).mean(dim=1)
        there = (F.cosine_similarity(tokens - usual, others - usual, dim=2) * moving).sum(dim=1) / moving.sum(dim=1)
        for metric, values in (("cosine", cosine), ("motion_cosine", there)):
            table.add(f"{metric}_{name}", values.numpy(), pairs.episodes, chunk=step)

    rolled: dict[str, Tensor] = {}
    for k in range(steps):
        z = latents(learner, pairs, mean_z, start=k / steps, end=(k + 1) / steps)
        truth = pairs.base((k + 1) / steps)
        moving = most_changed(first, truth)
        for control, latent in z.items():
            tokens = rolled.get(control, pairs.tokens(learner.own, 0.0))
            rolled[control] = learner.decode(tokens, latent)
            predicted = learner.to_base(rolled[control])
            add(f"truth_{control}", predicted, truth, moving, k + 1)
            if control == TRUE:
                add("start", predicted, first, moving, k + 1)
        add("copy", first, truth, moving, k + 1)


def most_changed(first: Tensor, last: Tensor) -> Tensor:
    """Which patches change most, boolean (P, N): about a tenth of them, at least one."""
    count = max(1, round(_MOTION_SHARE * first.shape[1]))
    change = (last - first).norm(dim=2)
    return torch.zeros_like(change, dtype=torch.bool).scatter(1, change.topk(count, dim=1).indices, True)
