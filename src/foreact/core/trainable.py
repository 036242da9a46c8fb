"""What the training loop asks of a model, whatever it learns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from foreact.core.batch import Columns
from foreact.core.pretrained import PretrainedModel


class TrainingData(Protocol):
    """What a model may look at before training, to set its statistics; read when asked for. Held-out episodes are not in it."""

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Tokens of both frames (P, N, C) of pairs that are drawn as in training; the same frames twice without pairs."""
        ...

    def action_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the actions, both (A,)."""
        ...

    def states(self) -> Mapping[int, Tensor]:
        """Embodiment -> all its states (n, P), NaN where unknown; empty where the recordings have none."""
        ...


class DemonstrationData(Protocol):
    """The same for what learns from windows of demonstrations."""

    def limits(self, name: str, embodiment: int | None = None) -> tuple[Tensor, Tensor]:
        """Smallest and largest values (D,) of a feature in the episodes whose actions are looked at, of one embodiment or all."""
        ...

    def latent_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (Q, Z) of z in all training episodes."""
        ...


class TrainableModel(PretrainedModel):
    """A model with a loss. Subclasses are registered by a card (`core.cards`)."""

    learns_from: ClassVar[Literal["pairs", "frames", "recorded_frames", "windows"]] = "pairs"
    """Pairs of frames (`core.batch.Batch`), single frames (`FrameBatch`), resized with their tokens or as recorded, or windows of
    demonstrations (`WindowBatch`)."""
    mixes_robots: ClassVar[bool] = False
    """Windows may come from robots of other actions and rates; shorter actions are padded with NaN."""

    @property
    def columns(self) -> Columns:
        """What pairs must hold beside tokens."""
        return Columns()

    @property
    def window(self) -> Mapping[str, tuple[int | float, ...]]:
        """What windows must hold: feature -> times, in frames (int) or seconds (float) from the present one."""
        return {}

    @property
    def exported(self) -> PretrainedModel:
        """What a run saves at its end."""
        return self

    def fit(self, data: Any) -> None:
        """Set statistics from the training split, `TrainingData` or `DemonstrationData`, before the first step."""

    def adopt(self, trained: PretrainedModel) -> None:
        """Take the weights and statistics of a trained model of the same kind and sizes.

        Raises:
            ForeactError: it cannot go on from there.
        """
        self.load_state_dict(trained.state_dict())

    def after_step(self, step: int, steps: int) -> None:
        """What is to be done after optimiser step `step` of `steps`."""

    @abstractmethod
    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars to log, of which `loss` is minimised.

        Args:
            batch: as `learns_from` and `columns` say.
            generator: source of everything random.
        """
