"""What all world models do alike: standardise actions, and say what noise a prediction takes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from foreact.core.batch import Batch, Columns
from foreact.core.contracts import LatentActionModel
from foreact.core.trainable import TrainableModel, TrainingData
from foreact.nn.actions import ActionNormaliser


class PretrainedWorldModel(TrainableModel):
    """A `contracts.WorldModel` on disk. Shapes: B batch, N patch tokens, C channels, H horizon, A action dimension."""

    config: Any  # a ModelConfig with `tokens`, `action_dim` and `horizon`
    stochastic: bool

    def __init__(self, action_dim: int) -> None:
        super().__init__()
        self.normalise = ActionNormaliser(action_dim)

    @property
    def columns(self) -> Columns:
        """Action chunks of the model's horizon."""
        return Columns(actions=self.config.horizon)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Of the noise that one prediction takes; a deterministic model takes none."""
        return (0,)

    @property
    def latent_action(self) -> LatentActionModel | None:
        """The latent-action model inside, where there is one."""
        return None

    @property
    def networks(self) -> list[nn.Module]:
        """The modules that `predict` calls, each of which a compiler may turn into one graph; the model itself where its
        `forward` is a whole prediction."""
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

    def fit(self, data: TrainingData) -> None:
        """Set the statistics of the actions."""
        self.normalise.fit(*data.action_statistics())

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """See `contracts.WorldModel.draw_noise`."""
        return torch.randn(batch, *self.noise_shape, generator=generator, device=generator.device)

    @abstractmethod
    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """See `contracts.WorldModel.predict`."""

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """See `contracts.WorldModel.loss`."""
