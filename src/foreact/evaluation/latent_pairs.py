"""Held-out pairs as tokens of any encoder, learners of latent actions, and what z is replaced with.

All learners are compared in one space, the layer-normalised patch tokens of the frozen encoder: pictures that AdaWorld
draws are encoded, and LaWM predicts in that space already.

Shape legend: P pairs, N patch tokens, C channels, Q latent tokens, Z latent channels, S side of the frames in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from foreact.core.contracts import Encoder, LatentActionModel
from foreact.core.recipe import PairSampling
from foreact.core.token_spec import TokenSpec
from foreact.encoders.class_token import PREFIX
from foreact.encoders.loading import load_encoder
from foreact.encoders.pixels import draw_pixels
from foreact.recordings.pairs import Pairs, PairSampler
from foreact.recordings.token_cache import TokenCache, encode_frames

_BATCH = 64
TRUE = "true"
CONTROLS = {
    TRUE: "its own z",
    "shuffled": "z of another episode's pair",
    "other": "z of a pair of the same episode, at another time",
    "shifted": "z of the same pair, seen by a camera that was moved",
    "still": "z of the current frame and its copy",
    "zero": "z = 0",
    "mean": "mean z of the training pairs",
}
"""What is decoded or probed in z's place."""

_CAMERA_SHIFT = 1 / 24  # of the picture's side: a quarter of a patch at 96 px

Latents = dict[str, Tensor]
"""Control -> z (P, Q, Z)."""


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A trained learner with the encoder of its own tokens and the one that all are compared by.

    Attributes:
        model: in evaluation mode.
        own: gives the tokens that it works on.
        base: gives the tokens that it is measured in.
        as_cached: these are not layer-normalised; see `PairTokens`.
    """

    model: LatentActionModel
    own: Encoder
    base: Encoder
    as_cached: bool = False

    @classmethod
    def load(cls, model: LatentActionModel, tokens: TokenSpec, base: Encoder) -> Learner:
        """A learner on `tokens`, to be measured by `base`."""
        same = tokens == base.spec
        return cls(
            model=model, own=base if same else load_encoder(tokens.encoder, image_size=tokens.image_size), base=base
        )

    def to_base(self, tokens: Tensor) -> Tensor:
        """Its own tokens (P, N', C') as layer-normalised tokens of the common encoder (P, N, C)."""
        name = self.own.spec.encoder
        if name.startswith(PREFIX):
            tokens = tokens[:, 1:]
        elif name == "pixels" and self.base.spec.encoder != "pixels":
            images = (draw_pixels(tokens.float(), self.own.spec.grid) * 255).round().to(torch.uint8)
            tokens = torch.from_numpy(encode_frames(self.base, images.numpy()))
        return tokens.float() if self.as_cached else normalised(tokens)

    def decode(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """Predicted s_{t+h} in its own tokens."""
        return decode(self.model, tokens_t, z)


def normalised(tokens: Tensor) -> Tensor:
    """Tokens with mean 0 and variance 1 over their channels, without parameters."""
    return F.layer_norm(tokens.float(), tokens.shape[-1:])


class PairTokens:
    """Held-out pairs, seen by any encoder at any share of the way from t to t + h; tokens are kept once encoded.

    Args:
        cache: tokens of the dataset, and its frames unless `as_cached`.
        pairs: P of them.
        as_cached: tokens are those of the cache's encoder as they are, neither encoded again nor normalised.
    """

    def __init__(self, cache: TokenCache, pairs: Pairs, *, as_cached: bool = False) -> None:
        self.cache, self.pairs, self.episodes, self.as_cached = cache, pairs, pairs.episode, as_cached
        self._kept: dict[tuple[str, float, str], Tensor] = {}

    @classmethod
    def draw(
        cls,
        cache: TokenCache,
        episodes: tuple[int, ...],
        *,
        count: int,
        horizon: int | None,
        seed: int,
        as_cached: bool = False,
    ) -> PairTokens:
        """Draw pairs from episodes.

        Args:
            cache: their tokens.
            episodes: numbers.
            count: pairs P.
            horizon: the one h of all pairs (a pair too near the end is left out), or None for uniform 1..15.
            seed: of the draw.
            as_cached: see the class.
        """
        lengths = {e: cache.dataset.episode(e).length for e in episodes}
        sampling = PairSampling(max_horizon=horizon or 15, moving=0.0)
        pairs = PairSampler(lengths, sampling, seed=seed).sample(0, count)
        if horizon:
            fits = np.array([t + horizon < lengths[int(e)] for e, t in zip(pairs.episode, pairs.start, strict=True)])
            fixed = np.full(int(fits.sum()), horizon)
            pairs = Pairs(episode=pairs.episode[fits], start=pairs.start[fits], horizon=fixed)
        return cls(cache, pairs, as_cached=as_cached)

    def base(self, share: float) -> Tensor:
        """Tokens (P, N, C) of the cache's encoder, layer-normalised unless `as_cached`."""
        tokens = self.tokens(self.cache.encoder, share)
        return tokens if self.as_cached else normalised(tokens)

    def tokens(self, encoder: Encoder, share: float, *, view: str = TRUE) -> Tensor:
        """Tokens (P, N, C) of the frames at t + share * h; `view` is `shifted` or `other` for those controls."""
        key = (encoder.spec.fingerprint, share, view)
        if key not in self._kept:
            if self.as_cached and view != "shifted":
                self._kept[key] = torch.from_numpy(self.cache.gather(*self._frame_numbers(share, view)))
            else:
                self._kept[key] = torch.from_numpy(encode_frames(encoder, self._frames(share, view)))
        return self._kept[key].float()

    def times(self, share: float) -> np.ndarray:
        """Numbers (P,) of the frames t + share * h, rounded."""
        return self._frame_numbers(share, TRUE)[1]

    def _frames(self, share: float, view: str) -> np.ndarray:
        frames = self.cache.gather_frames(*self._frame_numbers(share, view))
        return move_camera(frames) if view == "shifted" else frames

    def _frame_numbers(self, share: float, view: str) -> tuple[np.ndarray, np.ndarray]:
        pairs = self._elsewhere() if view == "other" else self.pairs
        return pairs.episode, pairs.start + np.rint(share * pairs.horizon).astype(np.int64)

    def _elsewhere(self) -> Pairs:
        """Pairs of the same episodes and horizons, half of the possible starts away."""
        lengths = np.array([self.cache.dataset.episode(int(e)).length for e in self.pairs.episode])
        starts = lengths - self.pairs.horizon
        moved = (self.pairs.start + np.maximum(starts // 2, 1)) % starts
        return Pairs(episode=self.pairs.episode, start=moved, horizon=self.pairs.horizon)


def move_camera(frames: np.ndarray) -> np.ndarray:
    """Frames (P, S, S, 3) as a camera that moved right and down a little sees them; the border is repeated."""
    by = max(1, round(_CAMERA_SHIFT * frames.shape[1]))
    return np.pad(frames, ((0, 0), (0, by), (0, by), (0, 0)), mode="edge")[:, by:, by:]


def fitted_latents(learner: Learner, training: PairTokens) -> Tensor:
    """z (P, Q, Z) of training pairs."""
    return infer(learner.model, training.tokens(learner.own, 0.0), training.tokens(learner.own, 1.0))


def latents(
    learner: Learner,
    pairs: PairTokens,
    mean_z: Tensor,
    *,
    start: float = 0.0,
    end: float = 1.0,
    controls: Collection[str] = tuple(CONTROLS),
) -> Latents:
    """z of pairs, and what takes its place in each control; `mean_z` (Q, Z) is of training pairs."""

    def seen(view: str) -> Tensor:
        now, then = (pairs.tokens(learner.own, share, view=view) for share in (start, end))
        return infer(learner.model, now, then)

    now, z = pairs.tokens(learner.own, start), seen(TRUE)
    made: dict[str, Callable[[], Tensor]] = {
        TRUE: lambda: z,
        "shuffled": lambda: z[other_episode(pairs.episodes)],
        "other": lambda: seen("other"),
        "shifted": lambda: seen("shifted"),
        "still": lambda: infer(learner.model, now, now),
        "zero": lambda: torch.zeros_like(z),
        "mean": lambda: mean_z.expand_as(z),
    }
    return {control: make() for control, make in made.items() if control in controls}


def other_episode(episodes: np.ndarray) -> np.ndarray:
    """For each pair the index of a pair of another episode, as far as no episode has more than half of the pairs; (P,)."""
    order = np.argsort(episodes, kind="stable")
    largest = int(np.bincount(np.unique(episodes, return_inverse=True)[1]).max())
    partner = np.empty(len(episodes), dtype=np.int64)
    partner[order] = np.roll(order, -(largest if largest < len(order) else 1))
    return partner


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
