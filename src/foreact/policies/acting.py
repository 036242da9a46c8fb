"""A trained network as a policy: arrays and words in, arrays out.

    policy = foreact.load("runs/push/wam")
    policy.reset()
    chunk = policy.act({"observation.images.top": frame, "observation.state": state})

Shape legend: B observations, H actions of a chunk, A action dimension, P state dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.contracts import Encoder, Observation
from foreact.core.errors import ForeactError
from foreact.core.token_spec import TokenSpec
from foreact.data.lerobot import STATE
from foreact.encoders.loading import load_encoder
from foreact.policies.bc import BCConfig, Camera
from foreact.policies.spec import PolicySpec
from foreact.recordings.recording import TOKENS


class NetworkPolicy:
    """Acts with the averaged weights; nothing is random. It stays on the device that its network is on.

    Args:
        model: of `foreact train bc` or `wam`, or another one whose config says which cameras and states it sees.

    Attributes:
        config: of the model.
        execute: actions of a chunk that are executed before the policy looks again.
        memoryless: what it answers follows from the observation alone.
    """

    memoryless = True

    def __init__(self, model: Any) -> None:
        self.model, self.config, self.execute = model.eval(), model.config, model.config.execute
        tokens = model.config.encoded
        self._encoder: Encoder | None = None
        if tokens is not None:
            self._encoder = load_encoder(tokens.encoder, image_size=tokens.image_size)
            tokens.require(self._encoder.spec, model=model.config.kind, source="this encoder")
            if isinstance(self._encoder, torch.nn.Module):
                self._encoder.to(self._device)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """See `Policy`; it remembers nothing."""

    @torch.no_grad()
    def act(self, observation: Observation) -> np.ndarray:
        """The next H actions in the units of the recordings: (B, H, A), or (H, A) for one observation.

        Raises:
            ForeactError: a camera or the state is missing or of another size than in the recordings.
        """
        alone = check_observation(self.config, observation, self.config.extras.tokens)
        actions = self.model(*self.see(observation)).float().cpu().numpy()
        return actions[0] if alone else actions

    @torch.no_grad()
    def see(self, observation: Observation) -> tuple[dict[str, Tensor], Tensor | None]:
        """What the network is given: camera -> pictures uint8 (B, height, width, 3) or tokens (B, N, C), and the state (B, P).

        Raises:
            ForeactError: as `act`.
        """
        alone = check_observation(self.config, observation, self.config.extras.tokens)
        pictures = {c.name: self._picture(c.name, observation, alone) for c in self.config.cameras}
        state = self._tensor(observation[STATE], alone).float() if self.config.state else None
        return pictures, state

    def _picture(self, camera: str, observation: Observation, alone: bool) -> Tensor:
        """Frames, their tokens as caches have them, or what is drawn from these, with B."""
        if self._encoder is None:
            return self._tensor(observation[camera], alone)
        if camera + TOKENS in observation:
            tokens = self._tensor(observation[camera + TOKENS], alone)
        else:
            tokens = self._encode(self._tensor(observation[camera], alone))
        return self.model.sight.draw(tokens.half())

    def _encode(self, frames: Tensor) -> Tensor:
        """Tokens (B, N, C) as caches have them."""
        assert self._encoder is not None
        return self._encoder.encode(frames).half()

    def _tensor(self, array: Any, alone: bool) -> Tensor:
        rows = torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
        return rows[None] if alone else rows


def check_observation(config: BCConfig | PolicySpec, observation: Observation, tokens: TokenSpec | None = None) -> bool:
    """Whether it is one observation, without B.

    Args:
        config: what the policy sees.
        observation: to be looked at.
        tokens: that may be given in the place of pictures; None where they may not.

    Raises:
        ForeactError: it is not what the policy was trained on; names what is wrong.
    """
    names = {c.name: c.name + TOKENS * (tokens is not None and c.name + TOKENS in observation) for c in config.cameras}
    wanted = [*names.values(), *([STATE] if config.state else [])]
    missing = [name for name in wanted if name not in observation]
    if missing:
        raise ForeactError(
            f"the observation lacks {missing[0]}: this policy sees {', '.join(wanted)}, the observation has "
            f"{', '.join(observation) or 'none of them'}"
        )
    first = wanted[0]
    alone = np.ndim(observation[first]) == (2 if first.endswith(TOKENS) else 3)
    for camera in config.cameras:
        seen = np.asarray(observation[names[camera.name]])
        if tokens is not None and names[camera.name] != camera.name:
            _check_tokens(camera, seen, (tokens.count, tokens.channels), alone)
        else:
            _check_frames(camera, seen, alone)
    if config.state:
        _check_state(config.state, np.asarray(observation[STATE]), alone)
    if not alone and len({len(observation[name]) for name in wanted}) > 1:
        counts = ", ".join(f"{name} {len(observation[name])}" for name in wanted)
        raise ForeactError(f"the parts of the observations differ in number: {counts}")
    return alone


def _check_state(names: tuple[str, ...], state: np.ndarray, alone: bool) -> None:
    if state.ndim != 2 - alone or state.shape[-1] != len(names) or state.dtype.kind not in "biuf":
        raise ForeactError(
            f"{STATE} has the shape {state.shape}, this policy takes {len(names)} numbers: {', '.join(names)}"
        )
    if not np.isfinite(state).all():
        raise ForeactError(f"{STATE} is not finite: {state.tolist()}")


def _check_frames(camera: Camera, frames: np.ndarray, alone: bool) -> None:
    wanted = (camera.height, camera.width, 3)
    if frames.dtype != np.uint8 or frames.ndim != 4 - alone or frames.shape[-3:] != wanted:
        raise ForeactError(
            f"{camera.name} gives {frames.dtype} {frames.shape}, this policy was trained on uint8 {wanted}: "
            "resize the pictures as the recordings were, or use that camera"
        )


def _check_tokens(camera: Camera, tokens: np.ndarray, wanted: tuple[int, int], alone: bool) -> None:
    if tokens.ndim != 3 - alone or tokens.shape[-2:] != wanted:
        raise ForeactError(f"{camera.name}{TOKENS} has the shape {tokens.shape}, this policy looks at tokens {wanted}")
