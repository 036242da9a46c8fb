"""The paper's three claims about RLA, measured on held-out pairs with controls (RLA-WM, section 3, Figs. A1 - A3).

1. Predictive sufficiency: f_dec(s_t, z) reconstructs s_{t+h}, down to a small |z|; controls: another pair's z, z = 0.
2. Temporal topology: f_dec(s_t, ((1 - a) eps + a z') sigma + mu), z' = (z - mu) / sigma, resembles s_{t+ah}; rivals:
   interpolated tokens and the nearer end.
3. Generalisation: reconstruction in a scene that the autoencoder never saw.

Every number is a mean over episodes with a bootstrap interval; skill is 1 - L1 / L1 of persistence.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.contracts import ImageDecoder, LatentActionModel
from foreact.core.recipe import PairSampling
from foreact.evaluation.intervals import Bootstrap, Interval
from foreact.evaluation.metrics import token_cosine, token_l1
from foreact.latent_actions.rla import RLA
from foreact.recordings.pairs import Pairs, PairSampler
from foreact.recordings.token_cache import TokenCache

_BATCH = 64
ALPHAS = (0.25, 0.5, 0.75)
_SHOWN = 4  # pairs in a picture


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Held-out pairs as tokens: s_t and s_{t+h} (P, N, C), and the pairs themselves."""

    cache: TokenCache
    pairs: Pairs
    tokens_t: Tensor
    tokens_th: Tensor

    @classmethod
    def draw(
        cls, cache: TokenCache, episodes: tuple[int, ...], *, count: int, horizon: int | None, seed: int
    ) -> HeldOut:
        """Draw pairs from episodes that no model was trained on.

        Args:
            cache: their tokens.
            episodes: those episodes.
            count: pairs P.
            horizon: the one h of all pairs (a pair too near the end is left out), or None for uniform 1..15.
            seed: of the draw.
        """
        lengths = {e: cache.dataset.episode(e).length for e in episodes}
        sampling = PairSampling(max_horizon=horizon or 15, moving=0.0)
        pairs = PairSampler(lengths, sampling, seed=seed).sample(0, count)
        if horizon:
            fits = np.array([t + horizon < lengths[int(e)] for e, t in zip(pairs.episode, pairs.start, strict=True)])
            fixed = np.full(int(fits.sum()), horizon)
            pairs = Pairs(episode=pairs.episode[fits], start=pairs.start[fits], horizon=fixed)
        return cls(
            cache=cache,
            pairs=pairs,
            tokens_t=_tokens(cache, pairs, np.zeros(len(pairs.start))),
            tokens_th=_tokens(cache, pairs, np.ones(len(pairs.start))),
        )


def sufficiency(
    models: dict[str, RLA],
    held_out: HeldOut,
    decoder: ImageDecoder | None,
    *,
    title: str = "Reconstruction against |z|",
) -> dict[str, Any]:
    """Claim 1 (and, on pairs of an unseen scene, claim 3): a figure with a table over models and controls."""
    rows, pictures = [], [("s_t", held_out.tokens_t), ("s_{t+h}", held_out.tokens_th)]
    for name, model in sorted(models.items(), key=lambda item: _size(item[1])):
        z = infer(model, held_out.tokens_t, held_out.tokens_th)
        decoded = decode(model, held_out.tokens_t, z)
        rows.append([name, str(_size(model)), *_scores(held_out, decoded)])
        pictures.append((f"{name}, |z| = {_size(model)}", decoded))
    largest = max(models.values(), key=_size)
    z = infer(largest, held_out.tokens_t, held_out.tokens_th)
    controls = {"another pair's z": z.roll(1, dims=0), "z = mean": z.mean(dim=0, keepdim=True).expand_as(z)}
    for name, control in controls.items():
        rows.append([name, str(_size(largest)), *_scores(held_out, decode(largest, held_out.tokens_t, control))])
    rows.append(["persistence", "0", *_scores(held_out, held_out.tokens_t)])
    return {
        "title": title,
        "caption": f"{len(held_out.pairs.start)} held-out pairs, h uniform in 1..15; 95 % intervals over episodes.",
        "png": _picture(pictures, held_out, decoder),
        "table": {"header": ["z of", "|z|", "token L1", "skill", "cosine"], "rows": rows},
    }


def topology(
    model: RLA, training: HeldOut, held_out: HeldOut, decoder: ImageDecoder | None, *, seed: int
) -> dict[str, Any]:
    """Claim 2: decoded interpolations from noise to z against the true frames in between; mu and sigma from `training`."""
    between = NoiseToLatent.fit(infer(model, training.tokens_t, training.tokens_th))
    z = infer(model, held_out.tokens_t, held_out.tokens_th)
    rows, pictures = [], [("s_t", held_out.tokens_t)]
    for alpha in ALPHAS:
        truth = _tokens(held_out.cache, held_out.pairs, np.full(len(held_out.pairs.start), alpha))
        blend = decode(model, held_out.tokens_t, between(z, alpha, seed=seed))
        line = (1 - alpha) * held_out.tokens_t + alpha * held_out.tokens_th
        nearer = held_out.tokens_t if alpha <= 0.5 else held_out.tokens_th
        for name, tokens in (("RLA, noise to z", blend), ("tokens interpolated", line), ("nearer end", nearer)):
            rows.append([f"{alpha:.2f}", name, *_scores(held_out, tokens, truth=truth)])
        pictures += [(f"true, a = {alpha}", truth), ("RLA", blend), ("tokens", line)]
    return {
        "title": "Temporal topology: from noise to z through the frames in between",
        "caption": f"{len(held_out.pairs.start)} held-out pairs, h = {int(held_out.pairs.horizon[0])}, against s_(t+ah). "
        "Skill is against copying s_t. Interpolated tokens know both ends; noise to z knows s_t and z alone.",
        "png": _picture(pictures, held_out, decoder),
        "table": {"header": ["a", "method", "token L1", "skill", "cosine"], "rows": rows},
    }


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


def _size(model: RLA) -> int:
    return model.config.latent_tokens * model.config.latent_channels


def _tokens(cache: TokenCache, pairs: Pairs, share: np.ndarray) -> Tensor:
    """True tokens of the frames t + share * h, rounded."""
    indices = pairs.start + np.rint(share * pairs.horizon).astype(np.int64)
    return torch.from_numpy(cache.gather(pairs.episode, indices)).float()


@torch.no_grad()
def infer(model: LatentActionModel, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
    """z (P, Q, Z) of all pairs (P, N, C), some at a time."""
    parts = zip(tokens_t.split(_BATCH), tokens_th.split(_BATCH), strict=True)
    return torch.cat([model.infer(a, b).float() for a, b in parts])


@torch.no_grad()
def decode(model: LatentActionModel, tokens_t: Tensor, z: Tensor) -> Tensor:
    """Predicted s_{t+h} (P, N, C) of all pairs, some at a time."""
    parts = zip(tokens_t.split(_BATCH), z.split(_BATCH), strict=True)
    return torch.cat([model.decode(a, b).float() for a, b in parts])


def _scores(held_out: HeldOut, predicted: Tensor, *, truth: Tensor | None = None) -> list[str]:
    """Token L1, skill against persistence and cosine, with intervals, as text."""
    truth = held_out.tokens_th if truth is None else truth
    bootstrap, groups = Bootstrap(), held_out.pairs.episode
    error, still = token_l1(predicted, truth).numpy(), token_l1(held_out.tokens_t, truth).numpy()
    cosine = token_cosine(predicted, truth).numpy()
    scores = (bootstrap.mean(error, groups), bootstrap.skill(error, still, groups), bootstrap.mean(cosine, groups))
    return [_text(score, digits) for score, digits in zip(scores, (4, 3, 4), strict=True)]


def _text(interval: Interval | None, digits: int) -> str:
    if interval is None:
        return ""
    if interval.low is None or interval.high is None:
        return f"{interval.mean:.{digits}f}"
    return f"{interval.mean:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _picture(columns: list[tuple[str, Tensor]], held_out: HeldOut, decoder: ImageDecoder | None) -> str | None:
    """Drawn tokens as a PNG in base64: a row per pair, a column per entry; the pairs with the greatest change."""
    from matplotlib.figure import Figure

    if decoder is None:
        return None
    change = token_l1(held_out.tokens_t, held_out.tokens_th)
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
