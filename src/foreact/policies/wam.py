"""The world action model (RLA-WM, section 4.2): behaviour cloning that also predicts what will have changed.

    a^_{t:t+h}, z^ = two linear heads on the same features                                              (E12)
    loss = action MSE + 0.05 |z^ - z|_1 + 0.05 |z^ - z|_2^2,  z = f_enc(s_t, s_{t+12}), standardised    (E13)

Half of each batch comes from labelled episodes, half from silent ones: these have no action loss, and a learned token in the
place of the robot's state. z comes from any latent-action learner; the head is not used in acting.

Shape legend: B batch, Q latent tokens, Z latent channels, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from foreact.core.cards import DataSpec, Demonstrations, ModelCard, ModelPath, Part, TrainingPlan
from foreact.core.errors import ForeactError
from foreact.core.presets import Preset
from foreact.core.pretrained import PretrainedModel
from foreact.core.trainable import DemonstrationData
from foreact.policies.acting import NetworkPolicy
from foreact.policies.bc import BC, BCConfig
from foreact.policies.bc_training import PolicyTraining
from foreact.recordings.demonstrations import LATENT
from foreact.recordings.windows import WindowBatch


@dataclass(frozen=True, kw_only=True)
class WAMConfig(BCConfig):
    """Behaviour cloning's, and:

    Attributes:
        latent: Q and Z.
        latent_weight: of L1 and of MSE of the standardised z, each.
        learner: kind of the model that z comes from.
    """

    kind: ClassVar[str] = "wam"

    latent: tuple[int, int]
    latent_weight: float = 0.05
    learner: str

    def build(self) -> WAM:
        """A policy with fresh weights."""
        return WAM(self)


class WAM(BC):
    """Behaviour cloning with a head for z.

    Attributes:
        latent_mean, latent_std: of z in the training episodes, (Q, Z).
    """

    config: WAMConfig
    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: WAMConfig) -> None:
        super().__init__(config)
        self.latent_head = nn.Linear(self.action_head.in_features, config.latent[0] * config.latent[1])
        self.register_buffer("latent_mean", torch.zeros(config.latent))
        self.register_buffer("latent_std", torch.ones(config.latent))

    def fit(self, data: DemonstrationData) -> None:
        """Set the limits of actions and states, and the statistics of z."""
        super().fit(data)
        mean, std = data.latent_statistics()
        self.latent_mean.copy_(mean)
        self.latent_std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def loss(self, batch: WindowBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Of actions where they are looked at, and of z wherever frame t + 12 lies inside the episode."""
        features = self.batch_features(batch)
        action = self.action_error(batch, features)  # action MSE
        error = self._latent_error(batch, features)
        l1, mse = error.abs().mean(), error.square().mean()
        latent = self.config.latent_weight * (l1 + mse)  # 0.05 L1 + 0.05 MSE
        logged = {"action_mse": action, "latent_mse": mse, "latent_to_action": latent / action.clamp_min(1e-8)}
        return {"loss": action + latent, **{name: value.detach() for name, value in logged.items()}}

    def _latent_error(self, batch: WindowBatch, features: Tensor) -> Tensor:
        """z^ - z, standardised, (B, Q, Z); zero where there is no z."""
        target = (batch.columns[LATENT][:, 0] - self.latent_mean) / self.latent_std
        predicted = self.latent_head(features).float().unflatten(1, self.config.latent)
        return torch.where(batch.inside[LATENT][:, :1, None], predicted - target, 0.0)


@dataclass(frozen=True, kw_only=True)
class WAMTraining(PolicyTraining):
    """A world action model learns from all episodes.

    Attributes:
        latent: run of the latent-action learner that z comes from; the one rla beside the run by default.
        latent_weight: of each of the two losses of z.
        shuffled: learn z of another episode, which says nothing about this one: a control.
    """

    config: ClassVar[type[BCConfig]] = WAMConfig

    latent: ModelPath | None = None
    latent_weight: float = 0.05
    shuffled: bool = False

    def parts(self) -> Mapping[str, Part]:
        """The learner, and the image decoder where pictures are drawn from tokens."""
        return {**super().parts(), "latent": Part(kind="rla", role="latent_action", source=self.latent)}

    def plan(self, preset: Preset, parts: Mapping[str, PretrainedModel]) -> TrainingPlan:
        """See `ModelTraining.plan`."""
        plan, learner = super().plan(preset, parts), parts["latent"]
        asked = plan.demonstrations or Demonstrations()
        return replace(plan, demonstrations=replace(asked, latent=learner, horizon=self.chunk, shuffled=self.shuffled))

    def sizes(self, preset: Preset, data: DataSpec, parts: Mapping[str, PretrainedModel]) -> dict[str, Any]:
        """See `PolicyTraining.sizes`."""
        if self.latent_weight <= 0:
            raise ForeactError(
                f"--latent-weight {self.latent_weight:g}: must be positive; without z it is foreact train bc"
            )
        learner = parts["latent"]
        return {
            **super().sizes(preset, data, parts),
            "latent": _shape_of(learner),
            "latent_weight": self.latent_weight,
            "learner": learner.config.kind,
        }


@torch.no_grad()
def _shape_of(learner: Any) -> tuple[int, int]:
    """Q and Z of what a learner infers."""
    spec = learner.config.tokens
    still = torch.zeros(1, spec.count, spec.channels)
    _, Q, Z = learner.infer(still, still).shape
    return Q, Z


CARD = ModelCard(kind="wam", role="policy", label="WAM", config=WAMConfig, training=WAMTraining, policy=NetworkPolicy)
