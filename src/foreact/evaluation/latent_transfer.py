"""z carried to another start, scene or body: D(u'_0, z) (LaWAM, Fig. 5). Does the agent there move as the one that z is of?

Measured twice: by a heat map, the similarity of every patch to the patch in which the agent starts, and by a linear probe that
reads the agent's place. The direction in which its centre or place moves is compared with the direction in which the source's
agent moved in its picture. The heat map is one of what differs from the scene's usual picture: of the tokens as they are, which
have most in common everywhere, it did not tell directions even of true frames.

Shape legend: P pairs, N patch tokens, C channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from foreact.data.lerobot import LeRobotDataset
from foreact.evaluation.latent_pairs import TRUE, Latents, Learner, PairTokens
from foreact.evaluation.latent_probes import flat
from foreact.evaluation.latent_values import EpisodeTable
from foreact.evaluation.poses import PoseTarget, find_poses
from foreact.evaluation.ridge import Ridge

_LEAST_MOVE = 1 / 16  # of the picture's side that a source's agent moves


def agent_pose(dataset: LeRobotDataset) -> PoseTarget | None:
    """Where the agent is in the picture, if the dataset tells."""
    return next((p for p in find_poses(dataset) if p.name == "agent" and p.side is not None), None)


def agent_places(pairs: PairTokens, share: float) -> np.ndarray | None:
    """Places (P, 2) of the agent at t + share * h, as shares of the picture (x to the right, y down); None if unknown."""
    target = agent_pose(pairs.cache.dataset)
    if target is None or target.side is None:
        return None
    rows = {int(e): target.poses(pairs.cache.dataset, int(e)) for e in np.unique(pairs.episodes)}
    return np.stack([rows[int(e)][t] for e, t in zip(pairs.episodes, pairs.times(share), strict=True)]) / target.side


class AgentReader:
    """Reads the direction in which the agent moves from true or imagined tokens of one pairs.

    Args:
        tokens: true ones (F, N, C): what the scene usually looks like, and what the linear probe is fitted on.
        places: where the agent is in these frames, (F, 2), as shares of the picture (x to the right, y down).
        grid: rows and columns of the patches.
    """

    def __init__(self, tokens: Tensor, places: np.ndarray, grid: tuple[int, int]) -> None:
        self.grid, self.usual = grid, tokens.mean(dim=0)
        self._ridge = Ridge(flat(tokens - self.usual), places)

    @classmethod
    def fit(cls, pairs: PairTokens) -> AgentReader | None:
        """A reader fitted on both frames of a scene's pairs; None where the dataset does not tell the agent's place."""
        ends = [(pairs.base(share), agent_places(pairs, share)) for share in (0.0, 1.0)]
        places = [p for _, p in ends if p is not None]
        if len(places) < len(ends):
            return None
        return cls(torch.cat([t for t, _ in ends]), np.concatenate(places), pairs.cache.spec.grid)

    def agreements(self, first: Tensor, last: Tensor, places: np.ndarray, motion: np.ndarray) -> dict[str, np.ndarray]:
        """Cosine between `motion` and the agent's motion from `first` to `last`, read in both ways; 0 where it rests.

        Args:
            first: tokens (P, N, C).
            last: tokens (P, N, C).
            places: (P, 2), where the agent is in `first`.
            motion: (P, 2).
        """
        start, end = first - self.usual, last - self.usual
        rows, columns = self.grid
        column, row = np.clip((places * [columns, rows]).astype(int), 0, [columns - 1, rows - 1]).T
        anchor = start[torch.arange(len(start)), torch.from_numpy(row * columns + column)][:, None]
        heat = centre(end, anchor, self.grid) - centre(start, anchor, self.grid)
        read = self._ridge.predict(flat(end)) - self._ridge.predict(flat(start))
        return {"heat": _cosine(heat.numpy(), motion), "read": _cosine(read, motion)}


def _cosine(shift: np.ndarray, motion: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(shift, axis=1)
    cosine = (shift * motion).sum(axis=1) / np.maximum(length * np.linalg.norm(motion, axis=1), 1e-12)
    return np.where(length > 1e-6, cosine, 0.0)


def transfer(
    learner: Learner,
    source: PairTokens,
    z: Latents,
    goal: PairTokens,
    partner: np.ndarray,
    reader: AgentReader | None,
    table: EpisodeTable,
    subset: str,
) -> None:
    """Agreement of directions, from -1 to 1, when z of each source pair is decoded at the start of the goal's pair `partner`.

    The copy of the goal's frame moves nothing and scores 0. Where either dataset does not tell the agent's place in the picture,
    nothing is added. `reader` is one of the goal's pairs, fitted on other pairs.
    """
    motion, starts = agent_motion(source), agent_places(goal, 0.0)
    if motion is None or starts is None or reader is None:
        return
    tokens, first = goal.tokens(learner.own, 0.0)[partner], goal.base(0.0)[partner]
    for control, latent in z.items():
        predicted = learner.to_base(learner.decode(tokens, latent))
        for way, agreement in reader.agreements(first, predicted, starts[partner], motion).items():
            _add_moved(table, f"transfer_{way}_{control}", agreement, motion, source, subset)


def transfer_of_truth(pairs: PairTokens, reader: AgentReader | None, table: EpisodeTable, subset: str) -> None:
    """What is read from the true frames that follow: how well directions can be told at all."""
    motion, starts = agent_motion(pairs), agent_places(pairs, 0.0)
    if motion is None or starts is None or reader is None:
        return
    for way, agreement in reader.agreements(pairs.base(0.0), pairs.base(1.0), starts, motion).items():
        _add_moved(table, f"directions_{way}_{TRUE}", agreement, motion, pairs, subset)


def agent_motion(pairs: PairTokens) -> np.ndarray | None:
    """How the agent moves from t to t + h, (P, 2) as shares of the picture; None if unknown."""
    before, after = agent_places(pairs, 0.0), agent_places(pairs, 1.0)
    return None if before is None or after is None else after - before


def _add_moved(
    table: EpisodeTable, metric: str, values: np.ndarray, motion: np.ndarray, pairs: PairTokens, subset: str
) -> None:
    """Add the values of pairs in which the agent moves."""
    moved = np.linalg.norm(motion, axis=1) >= _LEAST_MOVE
    if moved.any():
        table.add(metric, values[moved], pairs.episodes[moved], subset=subset)


def centre(tokens: Tensor, anchor: Tensor, grid: tuple[int, int]) -> Tensor:
    """Centre (P, 2), x and y in patches, of the similarity of tokens (P, N, C) to an anchor (P, 1, C), cut at 0.4 as in LaWAM."""
    heat = (F.cosine_similarity(tokens, anchor, dim=2).double().clamp(0.4, 1.0) - 0.4) + 1e-9
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    places = torch.stack([columns, rows], dim=-1).flatten(0, 1)
    return heat @ places / heat.sum(dim=1, keepdim=True)
