"""Self-supervised objectives for the bundled encoder: self-distillation (DINO, iBOT) and masked reconstruction.

- Self-distillation: a teacher, the moving average of the student, sees whole views; the student sees masked views and
  small crops, and matches the teacher's prototype scores of the picture (DINO, arXiv:2104.14294) and of masked patches
  (iBOT, arXiv:2111.07832). Scores are balanced by Sinkhorn-Knopp (SwAV, arXiv:2006.09882; DINOv2, arXiv:2304.07193).
- Masked reconstruction: pixels of masked *and* visible patches out of the tokens (SimMIM, arXiv:2111.09886), so that
  tokens keep what is where; masking ratios start at zero, as the encoder is used on whole pictures.

The weights in the config choose the mixture; the objective that is switched off costs nothing.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.core.batch import FrameBatch
from foreact.core.cards import DataSpec, ModelCard, ModelTraining
from foreact.core.config import ModelConfig
from foreact.core.presets import Preset
from foreact.core.recipe import TrainConfig
from foreact.core.trainable import TrainableModel
from foreact.encoders.tiny import PATCH, TinyEncoder, TinyEncoderConfig, whitened_cosines
from foreact.nn.attention import Block, initialise
from foreact.recordings.views import random_colours, random_crops

CONTRAST_FLOOR = 0.25  # of pixels in [-1, 1]: below it, differences within a patch pass for noise


@dataclass(frozen=True, kw_only=True)
class SelfDistillationConfig(ModelConfig):
    """The objective.

    Attributes:
        encoder: the model that is trained.
        distillation: weight of DINO and iBOT; zero switches teacher, heads and local crops off.
        reconstruction: weight of the masked reconstruction; zero switches the pixel decoder off.
        view_sizes: sides of whole views; one is drawn per step.
        local_size, local_crops: side and number of the small crops.
        prototypes: scores per token.
        student_temperature, teacher_temperature: of the scores' softmax.
        momentum: of the teacher at the start; it rises to 1 by a cosine.
        mask_ratio: largest share of masked patches; each view draws its own, uniformly from zero.
    """

    kind: ClassVar[str] = "encoder"

    encoder: TinyEncoderConfig = field(default_factory=TinyEncoderConfig)
    distillation: float = 1.0
    reconstruction: float = 1.0
    view_sizes: tuple[int, ...] = (96, 96, 128, 128, 160)
    local_size: int = 64
    local_crops: int = 1
    prototypes: int = 512
    student_temperature: float = 0.1
    teacher_temperature: float = 0.06
    momentum: float = 0.992
    mask_ratio: float = 0.6

    def build(self) -> SelfDistillation:
        """Student, teacher and heads with fresh weights."""
        return SelfDistillation(self)


class SelfDistillation(TrainableModel):
    """Trains `encoder`, which is what is exported; call `after_step` after each optimiser step."""

    config: SelfDistillationConfig
    learns_from = "recorded_frames"

    def __init__(self, config: SelfDistillationConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.encoder.dim
        self.encoder = config.encoder.build()
        self.mask_token = nn.Parameter(0.02 * torch.randn(dim))
        if config.reconstruction:
            self.pixels = PixelDecoder(dim, config.encoder.heads)
        if config.distillation:
            self.head = Head(dim, config.prototypes)
            self.teacher = copy.deepcopy(self.encoder).requires_grad_(False)
            self.teacher_head = copy.deepcopy(self.head).requires_grad_(False)

    @property
    def exported(self) -> TinyEncoder:
        """The encoder alone."""
        return self.encoder

    def loss(self, batch: FrameBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars of frames as they were recorded, of which `loss` is minimised."""
        config, frames_u8 = self.config, batch.frames
        sizes = config.view_sizes
        size = sizes[int(torch.randint(len(sizes), (), generator=generator))]
        frames = frames_u8.permute(0, 3, 1, 2).float() / 127.5 - 1
        views = [self._view(frames, size, generator) for _ in range(2 if config.distillation else 1)]
        images = torch.cat(views)
        mask = random_masks(len(images), (size // PATCH) ** 2, config.mask_ratio, generator).to(images.device)
        hidden = hide(images, mask)
        tokens = self.encoder(hidden, mask, self.mask_token)
        total, scalars = torch.zeros((), device=images.device), {}
        if config.reconstruction:
            scalars["reconstruction"] = reconstruction_loss(self.pixels(tokens), patchify(images), mask)
            total = total + config.reconstruction * scalars["reconstruction"]
        if config.distillation:
            scalars |= self._distil(images, tokens, mask, frames, generator)
            total = total + config.distillation * (scalars["dino"] + scalars["ibot"])
        return {"loss": total, **{k: v.detach() for k, v in scalars.items()}}

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """Move the teacher towards the student, after `step` of `steps` steps."""
        if not self.config.distillation:
            return
        momentum = 1 - (1 - self.config.momentum) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for mean, live in ((self.teacher, self.encoder), (self.teacher_head, self.head)):
            torch._foreach_lerp_(list(mean.parameters()), list(live.parameters()), 1 - momentum)

    def _view(self, frames: Tensor, size: int, generator: torch.Generator) -> Tensor:
        return random_colours(random_crops(frames, size, (0.8, 1.3), generator), generator)

    def _distil(
        self, images: Tensor, tokens: Tensor, mask: Tensor, frames: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        config = self.config
        with torch.no_grad():
            features = self.teacher(images)
            wanted_picture = sinkhorn(self.teacher_head(features.mean(1)), config.teacher_temperature)
            wanted_patches = sinkhorn(self.teacher_head(features[mask]), config.teacher_temperature)
        first, second = wanted_picture.chunk(2)
        crossed = torch.cat([second, first])
        dino = self._match(self.head(tokens.mean(1)), crossed)
        for _ in range(config.local_crops):
            crops = random_colours(random_crops(frames, config.local_size, (0.8, 2.0), generator), generator)
            scores = self.head(self.encoder(crops).mean(1))
            dino = dino + 0.5 * (self._match(scores, first) + self._match(scores, second))
        ibot = self._match(self.head(tokens[mask]), wanted_patches)
        return {"dino": dino / (1 + config.local_crops), "ibot": ibot}

    def _match(self, scores: Tensor, wanted: Tensor) -> Tensor:
        return -(wanted * F.log_softmax(scores.float() / self.config.student_temperature, dim=-1)).sum(-1).mean()


class Head(nn.Module):
    """Features (..., C) -> scores of prototypes (..., K): an MLP, normalisation, cosine to unit-norm prototypes."""

    def __init__(self, dim: int, prototypes: int, *, hidden: int = 384, bottleneck: int = 64) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, bottleneck))
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))
        initialise(self)

    def forward(self, features: Tensor) -> Tensor:
        """(..., C) -> (..., K)."""
        return F.linear(F.normalize(self.mlp(features), dim=-1), F.normalize(self.prototypes, dim=-1))


class PixelDecoder(nn.Module):
    """Tokens (B, N, C) -> pixels of their patches (B, N, 3 * 16 * 16): one block, one linear layer."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.block = Block(dim, heads)
        self.out = nn.Linear(dim, 3 * PATCH * PATCH)
        initialise(self)
        waves = whitened_cosines(dim).flatten(1)
        with torch.no_grad():  # start as the inverse of what the encoder's patch embedding starts as
            self.out.weight.copy_((0.3 * waves / waves.square().sum(1, keepdim=True)).T.to(self.out.weight.device))

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, 768)."""
        return self.out(self.block(tokens_BNC))


def patchify(images_B3HW: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, N, 3 * 16 * 16), patches in row-major order."""
    return F.unfold(images_B3HW, PATCH, stride=PATCH).transpose(1, 2)


def hide(images_B3HW: Tensor, mask_BN: Tensor) -> Tensor:
    """Grey out the masked patches, whose border pixels would reach their neighbours' tokens through the stem."""
    rows = images_B3HW.shape[2] // PATCH
    coarse = mask_BN.view(len(images_B3HW), 1, rows, -1)
    return images_B3HW.masked_fill(coarse.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3), 0.0)


def random_masks(count: int, patches: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Boolean masks (count, patches), each with its own share of masked patches in [0, ratio]."""
    shares = ratio * torch.rand(count, 1, generator=generator)
    ranks = torch.rand(count, patches, generator=generator).argsort(1).argsort(1)
    return ranks < (shares * patches).round()


def reconstruction_loss(predicted_BNP: Tensor, target_BNP: Tensor, mask_BN: Tensor, *, visible: float = 1.0) -> Tensor:
    """Squared error per patch relative to the patch's own variance, so that small objects count; see `visible` as a weight."""
    variance = target_BNP.var(dim=-1) + CONTRAST_FLOOR**2
    error = (predicted_BNP.float() - target_BNP).square().mean(-1) / variance
    weight = mask_BN + visible * ~mask_BN
    return (error * weight).sum() / weight.sum()


def sinkhorn(scores: Tensor, temperature: float, *, rounds: int = 3) -> Tensor:
    """Scores (M, K) -> soft assignments (M, K) whose rows sum to 1 and whose columns are used equally."""
    logits = scores.float() / temperature
    q = torch.exp(logits - logits.max())
    for _ in range(rounds):
        q = q / q.sum(0, keepdim=True).clamp_min(1e-12)
        q = q / q.sum(1, keepdim=True).clamp_min(1e-12)
    return q


_RECIPES = {
    "tiny": TrainConfig(steps=500, batch_size=32, learning_rate=1e-3, schedule="cosine"),
    "small": TrainConfig(steps=10_000, batch_size=64, learning_rate=1e-3, schedule="cosine"),
}
_RECIPE = TrainConfig(steps=100_000, batch_size=256, learning_rate=5e-4, warmup=5000, schedule="cosine")


@dataclass(frozen=True, kw_only=True)
class EncoderTraining(ModelTraining):
    """The encoder has no options of its own."""

    def recipe(self, preset: Preset) -> TrainConfig:
        """Its own."""
        return preset.of(_RECIPES, _RECIPE)

    def configure(self, preset: Preset, data: DataSpec) -> SelfDistillationConfig:
        """One size for all presets: that of the bundled encoder."""
        return SelfDistillationConfig()


CARD = ModelCard(
    kind="encoder", role="encoder", label="encoder", config=SelfDistillationConfig, training=EncoderTraining
)
