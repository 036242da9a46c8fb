"""Imagine futures with a trained world model: pixels and actions in, tokens and pixels out.

model = load("runs/push_t/rla-wm")
future = model.imagine(frame, actions, seed=0)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.core import registry
from foreact.core.contracts import Encoder, ImageDecoder
from foreact.core.errors import ForeactError
from foreact.core.pretrained import find_beside, find_local, load_model, read_kind
from foreact.core.registry import card
from foreact.dreams.dream import Dream, DreamState
from foreact.encoders.loading import load_encoder
from foreact.encoders.pixels import PixelDecoder, are_pixels


@dataclass(frozen=True, kw_only=True)
class Future:
    """An imagined future, chunk by chunk.

    Attributes:
        tokens: after each chunk, float32 (chunks, N, C).
        frames: the same as pictures, uint8 (chunks, height, width, 3); None without an image decoder.
        steps: actions taken up to the end of each chunk, (chunks,).
    """

    tokens: np.ndarray
    frames: np.ndarray | None
    steps: np.ndarray


class Imagination(Dream):
    """A dream of one picture at a time, for those who want a future and no states."""

    encoder: Encoder

    def __init__(self, world_model: Any, encoder: Encoder, decoder: ImageDecoder | None) -> None:
        """Put the parts together.

        Raises:
            ForeactError: the encoder or the decoder does not fit the world model's tokens.
        """
        super().__init__(world_model, encoder, decoder)

    @torch.no_grad()
    def imagine(self, frame: np.ndarray, actions: np.ndarray, *, seed: int = 0, chunk: int = 10) -> Future:
        """Imagine what the camera will see while `actions` are taken.

        Args:
            frame: the current picture, uint8 (height, width, 3) of any size.
            actions: (steps, A) in the units of the recordings; the first one is taken now.
            seed: of the sampling noise; another seed, another future.
            chunk: actions per prediction, at most the model's horizon.

        Raises:
            ForeactError: a frame or actions of the wrong shape, actions that are not finite, a chunk out of range.
        """
        actions = np.asarray(actions, dtype=np.float32)
        if actions.ndim != 2 or actions.shape[1] != self.action_dim or not len(actions):
            raise ForeactError(f"actions must be (steps, {self.action_dim}) for this model, not {actions.shape}")
        if not 1 <= chunk <= self.horizon:
            raise ForeactError(f"a chunk of this model has 1 to {self.horizon} actions, not {chunk}")
        if np.asarray(frame).ndim != 3:
            raise ForeactError(f"a frame is uint8 (height, width, 3), not {frame.dtype} {frame.shape}")
        state, states = self.start(frame[None], [seed]), []
        for first in range(0, len(actions), chunk):
            state = self.step(state, actions[None, first : first + chunk])
            states.append(state)
        return self._future(states)

    def _future(self, states: list[DreamState]) -> Future:
        frames = None if self.decoder is None else np.concatenate([self.draw(state) for state in states])
        return Future(
            tokens=torch.cat([state.tokens for state in states]).cpu().numpy(),
            frames=frames,
            steps=np.array([int(state.steps[0]) for state in states]),
        )


def load(source: str | Path, *, image_decoder: str | Path | None = None, device: str = "cpu") -> Any:
    """Load a saved model from a run folder or the Hub.

    Args:
        source: a run's folder; a folder of runs, such as `foreact fit` makes, of which RLA-WM or the first other world model is
            taken; the name of a system that ships, `pusht`; or a Hub id.
        image_decoder: draws the imagined tokens; by default the one that lies beside a world model's folder. A model that
            imagines pixels needs none.
        device: where the model and its parts are put.

    Returns:
        An `Imagination` for a world model, with its encoder and image decoder; a `Policy` for a policy; any other model as it is.

    Raises:
        ForeactError: nothing readable there, or parts that do not fit together.
    """
    source = world_model_in(source)
    model: Any = load_model(source).to(device)
    found = card(model.config.kind)
    if found.policy is not None:
        return found.policy(model)
    if found.role != "world_model":
        return model
    tokens = model.config.tokens
    encoder: Any = load_encoder(tokens.encoder, image_size=tokens.image_size)
    encoder = encoder.to(device) if isinstance(encoder, torch.nn.Module) else encoder
    if are_pixels(tokens):
        return Imagination(model, encoder, PixelDecoder(tokens))
    beside = find_beside(Path(source), "image_decoder") if Path(source).is_dir() else []
    chosen = image_decoder or (beside[0] if len(beside) == 1 else None)
    decoder: Any = None if chosen is None else load_model(chosen).to(device)
    return Imagination(model, encoder, decoder)


def world_model_in(source: str | Path) -> str | Path:
    """The world model in a folder of runs, the first in the order in which they are known; anything else as it is."""
    folder = find_local(source)
    if folder is None or read_kind(folder) is not None:
        return folder or source
    runs = {read_kind(run): run for run in sorted(folder.iterdir()) if run.is_dir()}
    return next((runs[kind] for kind in registry.kinds("world_model") if kind in runs), folder)
