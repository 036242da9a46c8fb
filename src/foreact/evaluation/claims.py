"""`foreact claims`: the paper's three claims about RLA on held-out pairs with controls, as figures (RLA-WM, section 3, Figs. A1 - A3).

1. Predictive sufficiency: f_dec(s_t, z) reconstructs s_{t+h}, down to a small |z|; controls: another episode's z, the mean z.
2. Temporal topology: what is decoded between noise and z resembles the frames in between; rivals: interpolated tokens and the
   nearer end.
3. Generalisation: reconstruction in a scene that the autoencoder never saw.

What is measured is in `latent_reconstruction`; here it becomes rows and pictures, in tokens as the encoder gives them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from foreact.core.contracts import ImageDecoder
from foreact.core.registry import card
from foreact.evaluation.latent_pairs import CONTROLS, TRUE, Learner, PairTokens, fitted_latents, latents
from foreact.evaluation.latent_reconstruction import ALPHAS, NoiseToLatent, add_errors, between, reconstruct
from foreact.evaluation.latent_values import EpisodeTable
from foreact.evaluation.metrics import token_l1

_SHOWN = 4  # pairs in a picture
_METRICS = {"l1": "token_l1", "skill": "token_l1_skill", "cosine": "token_cosine"}


def sufficiency(
    learners: Mapping[str, Learner],
    training: PairTokens,
    held_out: PairTokens,
    decoder: ImageDecoder | None,
    *,
    title: str = "Reconstruction against |z|",
) -> dict[str, Any]:
    """Claim 1 (and, on pairs of an unseen scene, claim 3): a figure with rows of learners and controls."""
    start, truth = held_out.base(0.0), held_out.base(1.0)
    rows, pictures = [], [("s_t", start), ("s_{t+h}", truth)]
    means = {name: fitted_latents(learner, training).mean(dim=0) for name, learner in learners.items()}
    order = sorted(means, key=lambda name: means[name].numel())
    for name in order:
        learner, size, table = learners[name], means[name].numel(), EpisodeTable(model=name)
        controls = (TRUE, "shuffled", "mean") if name == order[-1] else (TRUE,)
        decoded = reconstruct(learner, held_out, latents(learner, held_out, means[name], controls=controls), table)
        for control in controls:
            rows += _rows(table, control, {"model": name, "size": size, "z": CONTROLS[control]})
        pictures.append((f"{name}, |z| = {size}", decoded[TRUE]))
    copy = EpisodeTable(model="persistence")
    add_errors(copy, "copy", start, start, truth, held_out.episodes)
    rows += _rows(copy, "copy", {"model": "persistence", "size": 0, "z": ""})
    return {
        "title": title,
        "caption": f"{len(held_out.episodes)} held-out pairs, h uniform in 1..15; 95 % intervals over episodes.",
        "png": _picture(pictures, held_out, decoder),
        "rows": rows,
    }


def topology(
    learner: Learner, training: PairTokens, held_out: PairTokens, decoder: ImageDecoder | None, *, seed: int
) -> dict[str, Any]:
    """Claim 2: what is decoded between noise and z against the true frames in between; mu and sigma from `training`."""
    way = NoiseToLatent.fit(fitted_latents(learner, training))
    z = latents(learner, held_out, way.mean, controls=(TRUE,))
    start, label = held_out.base(0.0), card(learner.model.config.kind).label  # type: ignore[attr-defined]
    names = {TRUE: f"{label}, noise to z", "line": "tokens interpolated", "nearer": "nearer end"}
    rows, pictures = [], [("s_t", start)]
    for alpha in ALPHAS:
        truth, table = held_out.base(alpha), EpisodeTable(model=label)
        drawn = between(learner, held_out, z, way, alpha, seed=seed)
        for name, tokens in drawn.items():
            add_errors(table, name, tokens, start, truth, held_out.episodes)
            rows += _rows(table, name, {"model": names[name], "a": alpha})
        pictures += [(f"true, a = {alpha}", truth), (label, drawn[TRUE]), ("tokens", drawn["line"])]
    return {
        "title": "Temporal topology: from noise to z through the frames in between",
        "caption": f"{len(held_out.episodes)} held-out pairs, h = {int(held_out.pairs.horizon[0])}, against s_(t+ah). "
        "Skill is against copying s_t. Interpolated tokens know both ends; noise to z knows s_t and z alone.",
        "png": _picture(pictures, held_out, decoder),
        "rows": rows,
    }


def _rows(table: EpisodeTable, name: str, keys: dict[str, Any]) -> list[dict[str, Any]]:
    """What `add_errors` added, under the names of the metrics."""
    found = [(metric, table.row(f"{short}_{name}")) for short, metric in _METRICS.items()]
    return [{**row.to_dict(), **keys, "metric": metric} for metric, row in found if row is not None]


@torch.no_grad()
def _picture(columns: list[tuple[str, Tensor]], pairs: PairTokens, decoder: ImageDecoder | None) -> str | None:
    """Drawn tokens as a PNG in base64: a row per pair, a column per entry; the pairs with the greatest change."""
    from matplotlib.figure import Figure

    if decoder is None:
        return None
    change = token_l1(pairs.base(0.0), pairs.base(1.0))
    chosen = change.argsort(descending=True)[: 4 * _SHOWN : 4]
    figure = Figure(figsize=(1.3 * len(columns), 1.4 * len(chosen)))
    axes: Any = figure.subplots(len(chosen), len(columns), squeeze=False)
    for column, (title, tokens) in enumerate(columns):
        for row, image in enumerate(decoder.decode(tokens[chosen]).cpu().numpy()):
            axes[row, column].imshow(image)
            axes[row, column].axis("off")
        axes[0, column].set_title(title, fontsize=7)
    figure.tight_layout(pad=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
