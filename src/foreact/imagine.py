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

from foreact.contracts import Encoder, ImageDecoder
from foreact.decoders.unet import UNetDecoder
from foreact.encoders.loading import load_encoder
from foreact.encoders.pixels import PixelDecoder, are_pixels
from foreact.errors import ForeactError
from foreact.pretrained import find_beside, load_model
from foreact.world_models.base import PretrainedWorldModel


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


class Imagination:
    """A world model with its encoder and, where there is one, its image decoder."""

    def __init__(self, world_model: PretrainedWorldModel, encoder: Encoder, decoder: ImageDecoder | None) -> None:
        """Put the parts together.

        Raises:
            ForeactError: the encoder or the decoder does not fit the world model's tokens.
        """
        tokens = world_model.config.tokens
        tokens.require(encoder.spec, model=f"the {world_model.config.kind}", source="the encoder")
        if isinstance(decoder, UNetDecoder):
            decoder.config.tokens.require(tokens, model="the image decoder", source=f"the {world_model.config.kind}")
        self.world_model, self.encoder, self.decoder = world_model, encoder, decoder

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
        chunks = self._chunks(np.asarray(actions, dtype=np.float32), chunk)
        tokens = self.encode(frame)
        generator = torch.Generator().manual_seed(seed)
        futures = torch.cat(self.world_model.rollout(tokens, chunks, generator))
        frames = None if self.decoder is None else to_uint8(self.decoder.decode(futures))
        steps = np.cumsum([int(lengths[0]) for _, lengths in chunks])
        return Future(tokens=futures.numpy(), frames=frames, steps=steps)

    def encode(self, frame: np.ndarray) -> torch.Tensor:
        """Tokens (1, N, C) of one uint8 picture (height, width, 3).

        Raises:
            ForeactError: not such a picture.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ForeactError(f"a frame is uint8 (height, width, 3), not {frame.dtype} {frame.shape}")
        return self.encoder.encode(torch.from_numpy(np.ascontiguousarray(frame))[None]).float()

    def _chunks(self, actions: np.ndarray, chunk: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        config = self.world_model.config
        if actions.ndim != 2 or actions.shape[1] != config.action_dim or not len(actions):
            raise ForeactError(f"actions must be (steps, {config.action_dim}) for this model, not {actions.shape}")
        if not np.isfinite(actions).all():
            raise ForeactError("the actions hold NaN or infinite values")
        if not 1 <= chunk <= config.horizon:
            raise ForeactError(f"a chunk of this model has 1 to {config.horizon} actions, not {chunk}")
        padded = []
        for first in range(0, len(actions), chunk):
            part = torch.from_numpy(actions[first : first + chunk])
            room = torch.zeros(1, config.horizon, config.action_dim)
            room[0, : len(part)] = part
            padded.append((room, torch.tensor([len(part)])))
        return padded


def load(source: str | Path, *, image_decoder: str | Path | None = None) -> Any:
    """Load a saved model from a run folder or the Hub.

    Args:
        source: folder or Hub id.
        image_decoder: draws the imagined tokens; by default the one that lies beside a world model's folder. A model that
            imagines pixels needs none.

    Returns:
        An `Imagination` for a world model, with its encoder and image decoder; any other model as it is.

    Raises:
        ForeactError: nothing readable there, or parts that do not fit together.
    """
    model = load_model(source)
    if not isinstance(model, PretrainedWorldModel):
        return model
    tokens = model.config.tokens
    encoder = load_encoder(tokens.encoder, image_size=tokens.image_size)
    if are_pixels(tokens):
        return Imagination(model, encoder, PixelDecoder(tokens))
    beside = find_beside(Path(source), "image_decoder") if Path(source).is_dir() else []
    chosen = image_decoder or (beside[0] if len(beside) == 1 else None)
    decoder = None if chosen is None else UNetDecoder.from_pretrained(chosen)
    return Imagination(model, encoder, decoder)


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """Pictures in [0, 1] -> uint8, rounded."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
