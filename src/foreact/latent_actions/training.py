"""What the trainings of latent-action learners share: all are as wide and as deep as RLA; how they code z is their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foreact.core.cards import DataSpec, ModelTraining
from foreact.core.presets import Preset
from foreact.core.recipe import PairSampling, TrainConfig


@dataclass(frozen=True, kw_only=True)
class LatentActionTraining(ModelTraining):
    """Pairs and recipe of latent-action learners."""

    def recipe(self, preset: Preset) -> TrainConfig:
        """That of latent-action learners."""
        return preset.train_latent

    def law(self, preset: Preset) -> PairSampling:
        """That of latent-action learners."""
        return preset.latent_pairs

    def sizes(self, preset: Preset, data: DataSpec) -> dict[str, Any]:
        """What all configs take."""
        return {"tokens": data.tokens, "dim": preset.dim, "heads": preset.heads}

    def output(self, preset: Preset) -> dict[str, Any]:
        """What the configs take whose decoder is RLA's."""
        return {"residual_output": preset.residual_output, "standardise": preset.standardise}
