"""Named sizes: `tiny` (a CPU, minutes), `small` (one GPU or a patient CPU, an hour or two), `paper` (the papers').

What all models of a system share stands here; what only one kind of model has stands in its own file, by the preset's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from foreact.core.errors import ForeactError
from foreact.core.recipe import PairSampling, TrainConfig

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Sizes and training of one complete system.

    Attributes:
        name: of the preset.
        encoder: name, Hub id or folder of the frozen encoder.
        image_size: side of the square frames it sees, in pixels.
        dim: width D of all transformers.
        heads: attention heads.
        latent_depth: blocks in each of a latent-action learner's encoder and decoder.
        condition_depth: blocks of RLA-WM's condition network; world models without a latent have these and `latent_depth`.
        latent_tokens: Q.
        latent_channels: Z.
        horizon: H, the longest action chunk.
        residual_output: whether token predictions are corrections of s_t (the paper predicts s_{t+h} itself).
        position_scale: amplitude of the position codes; standardised tokens need larger ones.
        spread_actions: whether the world models' action embedding is added to every token (not in the paper).
        standardise: whether tokens and changes are put in units of their spread (not in the paper).
        pairs: law of frame pairs of the world models.
        latent_pairs: law of frame pairs of latent-action learners.
        train: how world models are trained.
        train_latent: how latent-action learners are trained.
    """

    name: str
    encoder: str
    image_size: int
    dim: int
    heads: int
    latent_depth: int
    condition_depth: int
    latent_tokens: int
    latent_channels: int
    horizon: int = 15
    residual_output: bool
    position_scale: float
    spread_actions: bool
    standardise: bool
    pairs: PairSampling
    latent_pairs: PairSampling
    train: TrainConfig
    train_latent: TrainConfig

    def of(self, choices: Mapping[str, T], default: T) -> T:
        """What a model's file has chosen for this preset."""
        return choices.get(self.name, default)


def tiny() -> Preset:
    """For a CPU: every stage is trained in a minute or two on two cores."""
    train = TrainConfig(
        steps=800,
        batch_size=32,
        optimizer="muon",
        learning_rate=5e-3,
        warmup=30,
        schedule="cosine",
        ema=0.98,
        save_every=200,
    )
    return Preset(
        name="tiny",
        encoder="tiny",
        image_size=128,
        dim=192,
        heads=6,
        latent_depth=2,
        condition_depth=2,
        latent_tokens=8,
        latent_channels=16,
        residual_output=True,
        position_scale=4.0,
        spread_actions=True,
        standardise=True,
        pairs=PairSampling(law="beta"),
        latent_pairs=PairSampling(law="beta"),
        train=train,
        train_latent=train,
    )


def small() -> Preset:
    """For one GPU, or a CPU with patience."""
    train = TrainConfig(
        steps=6000, batch_size=64, optimizer="muon", learning_rate=3e-3, warmup=100, schedule="cosine", ema=0.995
    )
    return replace(
        tiny(),
        name="small",
        dim=256,
        heads=8,
        latent_depth=3,
        condition_depth=3,
        latent_tokens=16,
        train=train,
        train_latent=train,
    )


def paper() -> Preset:
    """RLA-WM's sizes (section A.2): DINOv3-L/16 at 512 px, 12 + 12 and 8 + 8 layers of width 1024, 100k steps."""
    shared = {"steps": 100_000, "learning_rate": 1e-4, "warmup": 1000, "ema": 0.9999, "save_every": 2500}
    return Preset(
        name="paper",
        encoder="facebook/dinov3-vitl16-pretrain-lvd1689m",
        image_size=512,
        dim=1024,
        heads=16,
        latent_depth=12,
        condition_depth=8,
        latent_tokens=32,
        latent_channels=64,
        residual_output=False,
        position_scale=1.0,
        spread_actions=False,
        standardise=False,
        pairs=PairSampling(),
        latent_pairs=PairSampling(max_horizon=100),
        train=TrainConfig(batch_size=64, **shared),  # type: ignore[arg-type]
        train_latent=TrainConfig(batch_size=128, **shared),  # type: ignore[arg-type]
    )


PRESETS = {"tiny": tiny, "small": small, "paper": paper}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ForeactError: no such preset.
    """
    if name not in PRESETS:
        raise ForeactError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]()
