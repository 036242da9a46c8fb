"""What all world models do alike: standardise actions, and feed predictions back, chunk after chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from foreact.contracts import Batch, WorldModel
from foreact.nn.actions import ActionNormaliser
from foreact.pretrained import PretrainedModel


class PretrainedWorldModel(PretrainedModel, ABC):
    """A `contracts.WorldModel` on disk. Shapes: B batch, N patch tokens, C channels, H horizon, A action dimension."""

    config: Any  # a ModelConfig with `tokens`, `action_dim` and `horizon`
    stochastic: bool
    clip_stride: int | None = None
    """Actions between the frames of the clips that the loss needs; None where pairs are enough."""

    def __init__(self, action_dim: int) -> None:
        super().__init__()
        self.normalise = ActionNormaliser(action_dim)

    @property
    def networks(self) -> list[nn.Module]:
        """The modules that `predict` calls, each of which a compiler may turn into one graph; the model itself where its
        `forward` is all of a prediction but the noise."""
        return [child for child in self.children() if next(child.parameters(), None) is not None]

    def chunk(self, actions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised actions (B, H, A) and their mask (B, H), of actions in the data's units.

        Raises:
            ValueError: they are not padded to (H, A).
        """
        wanted = (self.config.horizon, self.config.action_dim)
        if actions.shape[1:] != wanted:
            raise ValueError(
                f"actions are {tuple(actions.shape[1:])}, this model takes (H, A) = {wanted}: pad chunks to the horizon"
            )
        return self.normalise(actions, lengths)

    @abstractmethod
    def fit(self, tokens_t: Tensor, tokens_th: Tensor) -> None:
        """Set the statistics that the model asks for, from pairs of the training split, both (P, N, C)."""

    @abstractmethod
    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """See `contracts.WorldModel.predict`."""

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """See `contracts.WorldModel.loss`."""

    def rollout(
        self, tokens: Tensor, chunks: Sequence[tuple[Tensor, Tensor]], generator: torch.Generator
    ) -> list[Tensor]:
        """See `contracts.WorldModel.rollout`."""
        return roll_out(self, tokens, chunks, generator)


def roll_out(
    model: WorldModel, tokens: Tensor, chunks: Sequence[tuple[Tensor, Tensor]], generator: torch.Generator
) -> list[Tensor]:
    """Predict chunk after chunk; predictions are fed back without encoding them again. See `contracts.WorldModel.rollout`."""
    futures = []
    for actions, lengths in chunks:
        tokens = model.predict(tokens, actions, lengths, generator)
        futures.append(tokens)
    return futures
