"""One latent action in other places, as a picture (LaWAM, Fig. 10): where the decoded future differs from the frame it starts at.

Shape legend: P pairs, N patch tokens, C channels, S side of the frames in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.evaluation.figures import save_png
from foreact.evaluation.latent_pairs import Learner, PairTokens

_ROWS = 4


def draw_transfer(
    learner: Learner, source: PairTokens, z: Tensor, goals: Mapping[str, tuple[PairTokens, np.ndarray]], path: Path
) -> None:
    """A PNG with a row per source pair, those that change most: its two frames, then each goal's frame with the predicted change.

    Args:
        learner: decodes z.
        source: pairs that z (P, Q, Z) was inferred from.
        z: latent actions.
        goals: words -> the scene that z is decoded in, and which of its pairs (P,) belongs to each source.
        path: of the picture.
    """
    from matplotlib.figure import Figure

    shown = _liveliest(source)
    columns = [("from", _frames(source, shown, 0.0), None), ("to", _frames(source, shown, 1.0), None)]
    for words, (goal, partner) in goals.items():
        there = partner[shown]
        first = goal.tokens(learner.own, 0.0)[there]
        change = learner.to_base(learner.decode(first, z[shown])) - goal.base(0.0)[there]
        grid = goal.cache.spec.grid
        columns.append((words, _frames(goal, there, 0.0), change.norm(dim=2).unflatten(1, grid).numpy()))
    figure = Figure(figsize=(1.5 * len(columns), 1.5 * len(shown) + 0.3), layout="constrained", dpi=100)
    axes: Any = figure.subplots(len(shown), len(columns), squeeze=False)
    for k, (words, frames, heat) in enumerate(columns):
        axes[0, k].set_title(words, fontsize=8)
        for row, frame in enumerate(frames):
            axes[row, k].imshow(frame)
            axes[row, k].set_axis_off()
            if heat is not None:
                extent = (-0.5, frame.shape[1] - 0.5, frame.shape[0] - 0.5, -0.5)
                axes[row, k].imshow(heat[row], cmap="inferno", alpha=0.55, extent=extent, interpolation="bilinear")
    save_png(figure, path)


def _liveliest(pairs: PairTokens) -> np.ndarray:
    """The pairs in which tokens change most, of different episodes as far as there are any."""
    change = (pairs.base(1.0) - pairs.base(0.0)).norm(dim=2).mean(dim=1)
    order = torch.argsort(change, descending=True).numpy()
    _, first = np.unique(pairs.episodes[order], return_index=True)
    return order[np.sort(first)[:_ROWS]]


def _frames(pairs: PairTokens, rows: np.ndarray, share: float) -> np.ndarray:
    """Frames (P, S, S, 3) uint8 of some of the pairs."""
    return pairs.cache.gather_frames(pairs.episodes[rows], pairs.times(share)[rows])
