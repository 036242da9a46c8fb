"""Causal pixel-video diffusion in the manner of Vid2World (arXiv:2505.14357), trained from scratch.

Vid2World turns a video model that was trained on millions of clips (DynamiCrafter) into a world model. Here are its mechanisms
(`causal_video`) without its prior: the U-Net starts from random weights and sees pixels, so its pictures are not the ones that the
paper's numbers stand for. `pretrained_video` starts from the weights of a video model instead.

Shape legend: as in `causal_video`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from foreact.core.cards import DataSpec, ModelCard, ModelTraining, TrainingPlan
from foreact.core.errors import ForeactError
from foreact.core.presets import Preset
from foreact.core.pretrained import PretrainedModel
from foreact.core.recipe import TrainConfig
from foreact.core.trainable import TrainableModel
from foreact.nn.diffusion import LEVELS
from foreact.nn.past import Past
from foreact.nn.positions import TimeEmbedding
from foreact.nn.video_unet import VideoUNet
from foreact.world_models.causal_video import CausalVideoModel, VideoModelConfig, cost


@dataclass(frozen=True, kw_only=True)
class VideoDiffusionConfig(VideoModelConfig):
    """Sizes of the U-Net; the defaults are about DynamiCrafter's.

    Attributes:
        patch: side of the squares of pixels that are one place of the finest level.
        widths: channels of the levels, finest first; each next one has half the rows and columns.
        stages: residual stages per level and direction.
    """

    kind: ClassVar[str] = "video_diffusion"

    patch: int = 8
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    stages: int = 2

    def build(self) -> VideoDiffusion:
        """A world model with fresh weights."""
        return VideoDiffusion(self)


class VideoDiffusion(CausalVideoModel):
    """From scratch: a U-Net over pictures whose squares of `patch` pixels are its places.

    Raises:
        ForeactError: the pictures do not divide into the U-Net's levels.
    """

    config: VideoDiffusionConfig
    latent_range = (-1.0, 1.0)

    def __init__(self, config: VideoDiffusionConfig) -> None:
        embedding = 4 * config.widths[0]
        super().__init__(config, embedding)
        coarsest = config.patch * 2 ** (len(config.widths) - 1)
        if config.tokens.image_size % coarsest:
            raise ForeactError(
                f"pictures of {config.tokens.image_size} px do not divide into squares of {coarsest}: use an image size that does"
            )
        channels = 3 * config.patch**2
        self.embed_level = TimeEmbedding(embedding)
        self.network = VideoUNet(
            2 * channels, channels, widths=config.widths, stages=config.stages, embedding=embedding
        )

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Squares of `patch` pixels."""
        side = self.config.tokens.image_size // self.config.patch
        return 3 * self.config.patch**2, side, side

    def to_latents(self, images: Tensor) -> Tensor:
        """See `CausalVideoModel.to_latents`."""
        return F.pixel_unshuffle(images, self.config.patch)

    def to_images(self, latents: Tensor) -> Tensor:
        """See `CausalVideoModel.to_images`."""
        return F.pixel_shuffle(latents, self.config.patch)

    def velocity(
        self, x_BTchw: Tensor, level_BT: Tensor, action_BTD: Tensor, first_Bchw: Tensor, past: Past | None = None
    ) -> Tensor:
        """See `CausalVideoModel.velocity`."""
        level_BTD = self.embed_level(level_BT.flatten().to(self.powers.dtype) / LEVELS).unflatten(0, level_BT.shape)
        beside = first_Bchw[:, None].expand_as(x_BTchw)
        return self.network(torch.cat([x_BTchw, beside], dim=2), level_BTD + action_BTD, past)


_STRIDE, _STEPS, _STAGES = {"tiny": 5, "small": 5}, {"tiny": 8, "small": 16}, {"tiny": 1, "small": 1}
_WIDTHS = {"tiny": (48, 96), "small": (64, 128, 192)}


@dataclass(frozen=True, kw_only=True)
class VideoTraining(ModelTraining):
    """Options of the video diffusion model alone.

    Attributes:
        pretrained: diffusers folder or Hub id of Stable Video Diffusion to start from; from scratch if not given.
    """

    pretrained: str | None = None

    def frames(self, preset: Preset) -> tuple[str, int]:
        """Pixels."""
        return self.pixels(preset)

    def recipe(self, preset: Preset) -> TrainConfig:
        """As the other world models, by AdamW: Muon's larger steps are for the matrices of transformers."""
        return replace(preset.train, optimizer="adamw", learning_rate=min(preset.train.learning_rate, 3e-3))

    def configure(self, preset: Preset, data: DataSpec) -> VideoDiffusionConfig:
        """See `ModelTraining.configure`."""
        return VideoDiffusionConfig(
            tokens=data.tokens,
            action_dim=data.action_dim,
            horizon=preset.horizon,
            stride=preset.of(_STRIDE, 1),
            widths=preset.of(_WIDTHS, (320, 640, 1280, 1280)),
            stages=preset.of(_STAGES, 2),
            steps=preset.of(_STEPS, 50),
        )

    def plan(self, preset: Preset, parts: Mapping[str, PretrainedModel]) -> TrainingPlan:
        """See `ModelTraining.plan`."""
        plan, source = super().plan(preset, parts), self.pretrained
        if source is None:
            return plan

        def start(data: DataSpec) -> TrainableModel:
            from foreact.world_models.pretrained_video import PretrainedVideo

            return PretrainedVideo.start_from(source, self.configure(preset, data))

        return replace(plan, build=start, frozen={"vae": "pretrained"})


CARD = ModelCard(
    kind="video_diffusion",
    role="world_model",
    label="video diffusion (Vid2World-style)",
    config=VideoDiffusionConfig,
    training=VideoTraining,
    cost=cost,
    published_flops=1.1e15,
    colour="#a21caf",
)
