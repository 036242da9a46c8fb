"""LaWAM as a policy: pictures and an instruction in, a chunk of actions out.

    policy = foreact.load("runs/push/lawam")
    policy.reset(seeds=[0])
    chunk = policy.act({"observation.images.top": frame, "task": "push the block to the left"})

Shape legend: B observations, H actions of a chunk, A action dimension, N patch tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.contracts import Observation
from foreact.core.errors import ForeactError
from foreact.latent_actions.lawm_networks import layer_normalise
from foreact.policies.acting import NetworkPolicy, check_observation
from foreact.policies.lawam import LaWAM
from foreact.policies.spec import PolicySpec
from foreact.recordings.windows import TASK


class LaWAMPolicy(NetworkPolicy):
    """Acts as the first of the robots that it has learnt from, or as another one after `act_as`.

    Args:
        model: of `foreact train lawam`.
    """

    model: LaWAM
    memoryless = False

    def __init__(self, model: LaWAM) -> None:
        super().__init__(model)
        self.act_as(model.config.bodies[0].robot, model.config.fps)
        self.reset()

    def act_as(self, robot: str, fps: float) -> None:
        """Act as the robot of that name and rate, if it has learnt from one; else as before."""
        self.config = self.model.config.acting_as(robot, fps)
        self.execute, self._spec = self.config.execute, PolicySpec.of(self.config, "this policy")

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """See `Policy`; the noise that actions are made of follows from a row's seed."""
        self._noise = [torch.Generator().manual_seed(seed) for seed in seeds or [0]]

    @torch.no_grad()
    def act(self, observation: Observation, *, subgoal: Any = None) -> np.ndarray:
        """The next actions in the units of the recordings: (B, H, A), or (H, A) for one observation.

        Args:
            observation: pictures, and the instruction in `task`.
            subgoal: layer-normalised tokens (B, N, C), or (N, C), in the place of the imagined ones: to ask what they are for.

        Raises:
            ForeactError: a camera or the instruction is missing, of another size than in the recordings, empty or too long.
        """
        alone = check_observation(self._spec, observation)
        frames = {c.name: self._tensor(observation[c.name], alone) for c in self.config.cameras}
        pictures, words = list(frames.values()), self._words(observation, alone)
        chunk = self._chunk(len(words))
        noise = self._draw(len(words), chunk.inside.shape[1])
        tokens = None if subgoal is None else self._tensor(subgoal, alone).float()
        actions = self.model(pictures, words, self._encode(pictures[0]), noise, chunk, tokens)
        actions = actions[..., : len(self.config.action)].float().cpu().numpy()
        return actions[0] if alone else actions

    @torch.no_grad()
    def imagine(self, observation: Observation) -> Tensor:
        """u_t and u^_T, layer-normalised (2, B, N, C)."""
        alone = check_observation(self._spec, observation)
        pictures = [self._tensor(observation[c.name], alone) for c in self.config.cameras]
        u_t = layer_normalise(self._encode(pictures[0]))
        return torch.stack(
            [u_t, self.model.imagine(self.model.backbone(pictures, self._words(observation, alone)), u_t)]
        )

    def _chunk(self, rows: int) -> Any:
        body = self.config.bodies[0]
        fps, embodiment = (torch.tensor([v] * rows, device=self._device) for v in (body.fps, body.embodiment))
        return self.model.chunk(fps, embodiment, self.config.chunk)

    def _draw(self, rows: int, actions: int) -> Tensor:
        """Noise (B, H, A), of which row i follows from seed i alone."""
        for number in range(len(self._noise), rows):
            self._noise.append(torch.Generator().manual_seed(number))
        shape = (actions, self.config.expert.action_dim)
        return torch.stack([torch.randn(shape, generator=g) for g in self._noise[:rows]]).to(self._device)

    def _words(self, observation: Observation, alone: bool) -> list[str]:
        if TASK not in observation:
            raise ForeactError(
                f"the observation lacks {TASK}: this policy follows an instruction, such as 'push the block'"
            )
        words = observation[TASK]
        words = [words] if isinstance(words, str) else list(words)
        rows = 1 if alone else len(observation[self.config.cameras[0].name])
        words = words * rows if len(words) == 1 else words
        if len(words) != rows or not all(isinstance(word, str) for word in words):
            raise ForeactError(f"{TASK} has {len(words)} instructions for {rows} observations: give one to each")
        return self.model.backbone.checked(words)
