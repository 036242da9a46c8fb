"""A picture of the coin world: what was there, what came, and what each model imagined."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.contracts import WorldModel
from foreact.evaluation.figures import label, save_png
from foreact.studies.coin_scores import futures, held_out_pairs

_ROWS, _DRAWS = 3, 3


def write_futures(models: Mapping[str, WorldModel], path: Path) -> None:
    """A PNG with a row per held-out pair: its two frames, then futures of each model, one where it is deterministic."""
    from matplotlib.figure import Figure

    pairs = held_out_pairs(_ROWS)
    columns: list[tuple[str, np.ndarray]] = [("start", pairs.before), ("what came", pairs.after)]
    for name, model in models.items():
        drawn = futures(model, pairs.before, pairs.actions)[:_DRAWS]
        heading = textwrap.fill(label(name), 14 * len(drawn))
        columns += [(heading if k == 0 else "", frames) for k, frames in enumerate(drawn)]
    figure = Figure(figsize=(0.95 * len(columns), 0.95 * _ROWS + 0.5), layout="constrained", dpi=120)
    axes: Any = figure.subplots(_ROWS, len(columns), squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for k, (name, frames) in enumerate(columns):
        axes[0, k].set_title(name, fontsize=7, loc="left")
        for row, frame in enumerate(frames):
            axes[row, k].imshow(frame.clip(0, 1), interpolation="nearest")
            axes[row, k].set_axis_off()
    save_png(figure, path)
