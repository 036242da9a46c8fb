"""What LeRobot must know of a policy of foreact before its weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import NormalizationMode


@PreTrainedConfig.register_subclass("foreact")
@dataclass
class ForeactConfig(PreTrainedConfig):
    """A policy that `foreact export` made.

    Attributes:
        model: kind and config of foreact's model, as its own folders have them.
        chunk_size: actions that are predicted.
        n_action_steps: how many of them are executed before the policy looks again.
        normalization_mapping: actions and states are mapped to [-1, 1] by their limits; pictures stay what they are.
    """

    model: dict[str, Any] = field(default_factory=dict)
    chunk_size: int = 1
    n_action_steps: int = 1
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: {
            "VISUAL": NormalizationMode.IDENTITY,
            "STATE": NormalizationMode.MIN_MAX,
            "ACTION": NormalizationMode.MIN_MAX,
        }
    )

    def __post_init__(self) -> None:
        """See `PreTrainedConfig`.

        Raises:
            ValueError: more actions are to be executed than are predicted.
        """
        super().__post_init__()
        if not 1 <= self.n_action_steps <= self.chunk_size:
            raise ValueError(f"n_action_steps must lie between 1 and {self.chunk_size}, the actions of a chunk")

    def validate_features(self) -> None:
        """There is nothing to add: the exported folder says all."""

    @property
    def observation_delta_indices(self) -> None:
        """The present observation alone."""

    @property
    def action_delta_indices(self) -> list[int]:
        """The next actions."""
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        """No rewards."""

    def get_optimizer_preset(self) -> Any:
        """Not trained here."""
        raise NotImplementedError(NOT_TRAINED)

    def get_scheduler_preset(self) -> None:
        """Not trained here."""


NOT_TRAINED = "policies of foreact are trained by foreact train, and exported again"
