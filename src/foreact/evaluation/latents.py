"""What a latent action holds, measured on held-out pairs for any learner and for what z is replaced with.

All learners are compared in one space, the layer-normalised patch tokens of the frozen encoder: pictures that AdaWorld
draws are encoded, and LaWM predicts in that space already. Values are per episode, so that training seeds and episodes can
be resampled (`intervals.Bootstrap.over_seeds`); `metric/reference` is the denominator of a ratio.

Shape legend: P pairs, N patch tokens, C channels, Q latent tokens, Z latent channels, S side of the frames in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from foreact.core.contracts import Encoder, LatentActionModel
from foreact.core.token_spec import TokenSpec
from foreact.encoders.class_token import PREFIX
from foreact.encoders.loading import load_encoder
from foreact.encoders.pixels import draw_pixels
from foreact.evaluation.claims import ALPHAS, HeldOut, NoiseToLatent, decode, infer
from foreact.evaluation.intervals import episode_means
from foreact.evaluation.metrics import token_l1
from foreact.evaluation.results import EpisodeValues
from foreact.recordings.pairs import Pairs
from foreact.recordings.token_cache import TokenCache, encode_frames

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
    """

    model: LatentActionModel
    own: Encoder
    base: Encoder

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
        return normalised(tokens)

    def decode(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """Predicted s_{t+h} in its own tokens."""
        return decode(self.model, tokens_t, z)


def normalised(tokens: Tensor) -> Tensor:
    """Tokens with mean 0 and variance 1 over their channels, without parameters."""
    return F.layer_norm(tokens.float(), tokens.shape[-1:])


class Scene:
    """Held-out pairs, seen by any encoder at any share of the way from t to t + h; tokens are kept once encoded.

    Args:
        held_out: the pairs.
    """

    def __init__(self, held_out: HeldOut) -> None:
        self.pairs = held_out.pairs
        self.cache: TokenCache = held_out.cache
        self.episodes = held_out.pairs.episode
        self._kept: dict[tuple[str, float, str], Tensor] = {}

    def base(self, share: float) -> Tensor:
        """Layer-normalised tokens (P, N, C) of the cache's encoder."""
        return normalised(self.tokens(self.cache.encoder, share))

    def tokens(self, encoder: Encoder, share: float, *, view: str = TRUE) -> Tensor:
        """Tokens (P, N, C) of the frames at t + share * h; `view` is `shifted` or `other` for those controls."""
        key = (encoder.spec.fingerprint, share, view)
        if key not in self._kept:
            self._kept[key] = torch.from_numpy(encode_frames(encoder, self._frames(share, view)))
        return self._kept[key].float()

    def _frames(self, share: float, view: str) -> np.ndarray:
        pairs = self._elsewhere() if view == "other" else self.pairs
        times = pairs.start + np.rint(share * pairs.horizon).astype(np.int64)
        frames = self.cache.gather_frames(pairs.episode, times)
        return move_camera(frames) if view == "shifted" else frames

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


def latents(learner: Learner, scene: Scene, mean_z: Tensor, *, start: float = 0.0, end: float = 1.0) -> Latents:
    """z of the scene's pairs, and what takes its place in each control; `mean_z` (Q, Z) is of training pairs."""

    def seen(view: str) -> Tensor:
        now, then = (scene.tokens(learner.own, share, view=view) for share in (start, end))
        return infer(learner.model, now, then)

    now = scene.tokens(learner.own, start)
    z = seen(TRUE)
    return {
        TRUE: z,
        "shuffled": z[other_episode(scene.episodes)],
        "other": seen("other"),
        "shifted": seen("shifted"),
        "still": infer(learner.model, now, now),
        "zero": torch.zeros_like(z),
        "mean": mean_z.expand_as(z),
    }


def other_episode(episodes: np.ndarray) -> np.ndarray:
    """For each pair the index of a pair of another episode, as far as no episode has more than half of the pairs; (P,)."""
    order = np.argsort(episodes, kind="stable")
    largest = int(np.bincount(np.unique(episodes, return_inverse=True)[1]).max())
    partner = np.empty(len(episodes), dtype=np.int64)
    partner[order] = np.roll(order, -(largest if largest < len(order) else 1))
    return partner


@dataclass
class Tally:
    """The values per episode of one learner.

    Attributes:
        model: the learner's name.
        values: what was added.
    """

    model: str
    values: list[EpisodeValues] = field(default_factory=list)

    def add(
        self,
        metric: str,
        values: np.ndarray,
        episodes: np.ndarray,
        *,
        reference: np.ndarray | None = None,
        subset: str = "held_out",
        chunk: int = 1,
    ) -> None:
        """Add (P,) values of pairs, and the (P,) denominators of a ratio, as means of episodes."""
        for name, found in ((metric, values), (f"{metric}/reference", reference)):
            if found is not None:
                self.values.append(
                    EpisodeValues(
                        model=self.model,
                        metric=name,
                        chunk=chunk,
                        subset=subset,
                        episodes=tuple(int(e) for e in np.unique(episodes)),
                        values=tuple(float(v) for v in episode_means(found, episodes)),
                    )
                )


def reconstruct(learner: Learner, scene: Scene, z: Mapping[str, Tensor], tally: Tally, subset: str) -> None:
    """Skill of the decoded s_{t+h} against the copy of the current frame (Figs. A1 and A3): 1 - L1 / L1 of the copy."""
    now, truth = scene.tokens(learner.own, 0.0), scene.base(1.0)
    still = token_l1(scene.base(0.0), truth).numpy()
    for control, latent in z.items():
        error = token_l1(learner.to_base(learner.decode(now, latent)), truth).numpy()
        tally.add(f"skill_{control}", still - error, scene.episodes, reference=still, subset=subset)


def between(learner: Learner, scene: Scene, z: Mapping[str, Tensor], way: NoiseToLatent, tally: Tally) -> None:
    """Skill of what is decoded a of the way from noise to z against the true frame at t + ah (Fig. A2).

    Rivals: the tokens of both ends interpolated, the nearer end, and the way to another episode's z.
    """
    now, start, end = scene.tokens(learner.own, 0.0), scene.base(0.0), scene.base(1.0)
    for alpha in ALPHAS:
        truth = scene.base(alpha)
        still = token_l1(start, truth).numpy()
        drawn = {c: learner.to_base(learner.decode(now, way(z[c], alpha, seed=0))) for c in (TRUE, "shuffled", "still")}
        drawn |= {"line": (1 - alpha) * start + alpha * end, "nearer": start if alpha <= 0.5 else end}
        for name, tokens in drawn.items():
            error = token_l1(tokens, truth).numpy()
            tally.add(f"between_{alpha:g}_{name}", still - error, scene.episodes, reference=still)
