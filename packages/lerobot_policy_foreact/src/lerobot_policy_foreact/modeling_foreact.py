"""A policy of foreact behind LeRobot's interface: what comes in and goes out here is normalised by LeRobot's processors."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from typing import Any

import numpy as np
import torch
from foreact.core.contracts import Policy
from foreact.core.registry import card, config_class
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor

from lerobot_policy_foreact.configuration_foreact import NOT_TRAINED, ForeactConfig


class ForeactPolicy(PreTrainedPolicy):
    """See `PreTrainedPolicy`.

    Args:
        config: with the model's own config in it.
        options: what LeRobot's factory also says, and no policy of foreact needs.
    """

    config_class = ForeactConfig
    name = "foreact"
    config: ForeactConfig

    def __init__(self, config: ForeactConfig, **options: Any) -> None:
        super().__init__(config)
        kind, where = config.model["kind"], "the exported config"
        self.model = config_class(kind, where=where).from_dict(config.model["config"], where=where).build().eval()
        self.reset()

    @cached_property
    def _policy(self) -> Policy:
        """Made when the weights are loaded and where they belong."""
        make = card(self.config.model["kind"]).policy
        assert make is not None
        return make(self.model)

    def reset(self) -> None:
        """Begin an episode."""
        self._left: deque[Tensor] = deque()
        if "_policy" in self.__dict__:
            self._policy.reset()

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Any], **options: Any) -> Tensor:
        """The next normalised actions (B, H, A).

        Args:
            batch: pictures (B, 3, height, width) in [0, 1], the normalised state (B, P), words.
            options: what other policies of LeRobot take.

        Raises:
            ForeactError: a camera or the state is missing or of another size.
        """
        seen: dict[str, Any] = {name: _frames(batch[name]) for name in self.config.image_features if name in batch}
        if OBS_STATE in batch:
            seen[OBS_STATE] = batch[OBS_STATE].cpu().numpy()
        if "task" in batch:
            seen["task"] = batch["task"]
        return torch.from_numpy(np.asarray(self._policy.act(seen))).to(self.config.device)

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **options: Any) -> Tensor:
        """The next normalised action (B, A); asks the model once per executed part of a chunk."""
        if not self._left:
            chunk = self.predict_action_chunk(batch, **options)
            self._left.extend(chunk[:, : self.config.n_action_steps].unbind(dim=1))
        return self._left.popleft()

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any] | None]:
        """Not trained here."""
        raise NotImplementedError(f"{NOT_TRAINED} ({ACTION} is predicted only)")

    def get_optim_params(self) -> Any:
        """All parameters."""
        return self.parameters()


def _frames(pictures: Tensor) -> np.ndarray:
    """(B, 3, height, width) in [0, 1] -> uint8 (B, height, width, 3): what the camera gave."""
    return (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
