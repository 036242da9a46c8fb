"""What z says of actions and of motion: linear probes from z to the action chunk and to how agent and object move.

R^2 on held-out pairs of ridge regressions that are fitted on training pairs.

Shape legend: P pairs, N patch tokens, C channels, F features, D dimensions of a target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.data.lerobot import STATE
from foreact.data.movement import object_positions
from foreact.evaluation.latent_pairs import TRUE, PairTokens
from foreact.evaluation.latent_values import EpisodeTable
from foreact.evaluation.ridge import Ridge
from foreact.recordings.pairs import gather_actions

_COMPONENTS = 32  # of a frame's tokens, for the probe that sees no z


def targets(pairs: PairTokens) -> dict[str, np.ndarray]:
    """What is probed for, (P, D) each: the action chunk, and how far the agent's state and the object move."""
    data, drawn = pairs.cache.dataset, pairs.pairs
    episodes = [int(e) for e in np.unique(drawn.episode)]
    found = {}
    if all(data.has_actions(e) for e in episodes):
        chunks = gather_actions({e: data.actions(e) for e in episodes}, drawn, int(drawn.horizon.max()))
        found["actions"] = chunks.reshape(len(chunks), -1).astype(np.float64)
    if STATE in data.features:
        found["agent"] = _moved({e: data.column(STATE, e) for e in episodes}, pairs)
    objects = {e: object_positions(data, e) for e in episodes}
    if all(rows is not None for rows in objects.values()):
        found["object"] = _moved({e: rows for e, rows in objects.items() if rows is not None}, pairs)
    return found


def _moved(rows: Mapping[int, np.ndarray], pairs: PairTokens) -> np.ndarray:
    triples = zip(pairs.pairs.episode, pairs.pairs.start, pairs.pairs.horizon, strict=True)
    return np.stack([rows[int(e)][t + h] - rows[int(e)][t] for e, t, h in triples]).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Components:
    """The first principal components of the tokens of training and held-out pairs, (P, F) each, fitted on the former."""

    training: Tensor
    held_out: Tensor

    @classmethod
    def of_frame(cls, training: PairTokens, held_out: PairTokens) -> Components:
        """Of the current frame."""
        return cls._fit(training.base(0.0), held_out.base(0.0))

    @classmethod
    def of_change(cls, training: PairTokens, held_out: PairTokens) -> Components:
        """Of the difference of both frames."""
        return cls._fit(*(pairs.base(1.0) - pairs.base(0.0) for pairs in (training, held_out)))

    @classmethod
    def _fit(cls, training: Tensor, held_out: Tensor) -> Components:
        mean = training.flatten(1).mean(dim=0)
        centred = training.flatten(1) - mean
        axes = torch.linalg.svd(centred, full_matrices=False).Vh[:_COMPONENTS].T
        return cls(training=centred @ axes, held_out=(held_out.flatten(1) - mean) @ axes)


def probe(
    z_training: Tensor,
    training: PairTokens,
    z: Mapping[str, Tensor],
    held_out: PairTokens,
    table: EpisodeTable,
    *,
    beside: Components | None = None,
) -> None:
    """R^2 of linear probes that are fitted on z of training pairs and read z of held-out pairs, or what replaces it.

    With `beside`, also of probes that see the current frame beside z: what z adds to what the frame tells.
    """
    wanted, known = targets(held_out), {"": (flat(z_training), {c: flat(latent) for c, latent in z.items()})}
    if beside is not None:
        frame, held = flat(beside.training), flat(beside.held_out)
        plain, read = known[""]
        known["beside_"] = np.hstack([plain, frame]), {c: np.hstack([latent, held]) for c, latent in read.items()}
    for name, truth in targets(training).items():
        for prefix, (fitted, read) in known.items():
            ridge = Ridge(fitted, truth)
            for control, features in read.items():
                error, spread = ridge.errors(features, wanted[name])
                table.add(f"r2_{name}_{prefix}{control}", spread - error, held_out.episodes, reference=spread)


def probe_frames(training: PairTokens, held_out: PairTokens) -> list[EpisodeTable]:
    """The same probes without any z: from the current frame alone, and from the change of the tokens itself."""
    seen = {
        "current_frame": Components.of_frame(training, held_out),
        "token_change": Components.of_change(training, held_out),
    }
    tables = [EpisodeTable(model=name) for name in seen]
    for table, found in zip(tables, seen.values(), strict=True):
        probe(found.training, training, {TRUE: found.held_out}, held_out, table)
    return tables


def flat(z: Tensor) -> np.ndarray:
    """(P, ...) -> (P, F)."""
    return z.flatten(1).double().numpy()
