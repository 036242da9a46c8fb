"""What a model looks at before training, for tests of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class FakeTrainingData:
    """A `core.trainable.TrainingData` of given tensors."""

    tokens_t: Tensor
    tokens_th: Tensor
    action_mean: Tensor = field(default_factory=lambda: torch.zeros(1))
    action_std: Tensor = field(default_factory=lambda: torch.ones(1))
    all_states: Mapping[int, Tensor] = field(default_factory=dict)

    def pairs(self) -> tuple[Tensor, Tensor]:
        return self.tokens_t, self.tokens_th

    def action_statistics(self) -> tuple[Tensor, Tensor]:
        return self.action_mean, self.action_std

    def states(self) -> Mapping[int, Tensor]:
        return self.all_states
