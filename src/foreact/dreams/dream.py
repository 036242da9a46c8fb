"""The dream: a world model with its encoder and image decoder, stepped chunk by chunk, batched.

    dream = Dream(world_model, encoder, decoder)
    state = dream.start(frames, seeds=range(B))         # uint8 (B, height, width, 3), or tokens (B, N, C)
    state = dream.step(state, actions)                  # (B, h, A) in the units of the recordings
    pictures = dream.draw(state)                        # uint8 (B, height, width, 3)

A state is a value: it can be stepped twice, with other actions, and is not changed. The noise of a row in its k-th step is a
function of (its seed, k) alone, so it is equal to the bit whoever else is in the batch, and the same seed for many candidates gives
them common random numbers. Gradients flow through `step`, to the actions; who does not want them says `torch.no_grad()`.

Shape legend: B rows, N patch tokens, C channels, h actions of a chunk, H the longest chunk, A action dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foreact.core.contracts import Encoder, ImageDecoder, WorldModel
from foreact.core.errors import ForeactError


@dataclass(frozen=True, kw_only=True)
class DreamState:
    """Where B dreams are.

    Attributes:
        tokens: now, (B, N, C), on the model's device.
        seeds: of each row's noise, (B,) integers of up to 63 bits.
        chunks: predictions made so far.
        steps: actions taken so far, (B,) int64.
    """

    tokens: Tensor
    seeds: tuple[int, ...]
    chunks: int
    steps: Tensor


class Dream:
    """A world model, and where given the encoder before it and the image decoder behind it.

    Raises:
        ForeactError: encoder or decoder do not fit the world model's tokens.
    """

    def __init__(
        self, world_model: WorldModel, encoder: Encoder | None = None, decoder: ImageDecoder | None = None
    ) -> None:
        config: Any = world_model.config
        if encoder is not None:
            config.tokens.require(encoder.spec, model=f"the {config.kind}", source="the encoder")
        drawn = getattr(getattr(decoder, "config", None), "tokens", None)
        if drawn is not None:
            drawn.require(config.tokens, model="the image decoder", source=f"the {config.kind}")
        self.world_model, self.encoder, self.decoder = world_model, encoder, decoder
        self.horizon, self.action_dim = int(config.horizon), int(config.action_dim)

    @property
    def device(self) -> torch.device:
        """Where the world model is."""
        model: Any = self.world_model
        weights = model.parameters() if hasattr(model, "parameters") else iter(())
        return next((weight.device for weight in weights), torch.device("cpu"))

    def start(self, seen: np.ndarray | Tensor, seeds: Sequence[int]) -> DreamState:
        """Begin B dreams.

        Args:
            seen: pictures, uint8 (B, height, width, 3) of any size, or tokens (B, N, C).
            seeds: one per row.

        Raises:
            ForeactError: neither pictures nor tokens of this model, another number of seeds, or a seed out of range.
        """
        tokens = self.encode(seen) if seen.ndim == 4 else _as_floats(seen)
        config: Any = self.world_model.config
        wanted = (config.tokens.count, config.tokens.channels)
        if tokens.shape[1:] != wanted or not len(tokens):
            raise ForeactError(f"tokens of this model are (B, {wanted[0]}, {wanted[1]}), not {tuple(tokens.shape)}")
        if len(seeds) != len(tokens):
            raise ForeactError(f"{len(tokens)} dreams need as many seeds, not {len(seeds)}")
        if not all(0 <= int(seed) < 2**63 for seed in seeds):
            raise ForeactError(f"seeds are whole numbers from 0 to 2^63 - 1, not {min(seeds)} to {max(seeds)}")
        return DreamState(
            tokens=tokens.to(self.device),
            seeds=tuple(int(seed) for seed in seeds),
            chunks=0,
            steps=torch.zeros(len(tokens), dtype=torch.long),
        )

    def encode(self, frames: np.ndarray | Tensor) -> Tensor:
        """Tokens (B, N, C) of pictures, uint8 (B, height, width, 3).

        Raises:
            ForeactError: no such pictures, or a dream without an encoder.
        """
        if self.encoder is None:
            raise ForeactError("this dream has no encoder: start it from tokens")
        pictures = torch.as_tensor(np.ascontiguousarray(frames) if isinstance(frames, np.ndarray) else frames)
        if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
            raise ForeactError(f"frames are uint8 (B, height, width, 3), not {pictures.dtype} {tuple(pictures.shape)}")
        with torch.no_grad():
            return self.encoder.encode(pictures.to(self.device)).float()

    def step(self, state: DreamState, actions: np.ndarray | Tensor, lengths: Tensor | None = None) -> DreamState:
        """Take a chunk of actions in every dream.

        Args:
            state: where the dreams are.
            actions: (B, h, A) in the units of the recordings, h at most the model's horizon.
            lengths: of the h actions, how many count in each row, (B,); all if None.

        Raises:
            ForeactError: actions or lengths of another shape, or actions that are not finite.
        """
        chunk, taken = self._chunk(state, _as_floats(actions), lengths)
        dtype = torch.promote_types(state.tokens.dtype, torch.float32)
        noise = self.noise(state).to(self.device, dtype)
        future = self.world_model.predict(state.tokens, chunk.to(self.device, dtype), taken.to(self.device), noise)
        return DreamState(tokens=future, seeds=state.seeds, chunks=state.chunks + 1, steps=state.steps + taken.cpu())

    def noise(self, state: DreamState) -> Tensor:
        """What the next step of each row draws, (B, ...), on the CPU whatever the device: the same future everywhere."""
        drawn: dict[int, Tensor] = {}
        for seed in dict.fromkeys(state.seeds):  # common seeds are drawn once
            drawn[seed] = self.world_model.draw_noise(1, row_generator(seed, state.chunks))
        return torch.cat([drawn[seed] for seed in state.seeds])

    def draw(self, state: DreamState) -> np.ndarray:
        """The dreams as pictures, uint8 (B, height, width, 3).

        Raises:
            ForeactError: a dream without an image decoder.
        """
        if self.decoder is None:
            raise ForeactError("this dream has no image decoder: train one, or name it")
        with torch.no_grad():
            return to_uint8(self.decoder.decode(state.tokens))

    def _chunk(self, state: DreamState, actions: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Actions padded to (B, H, A), and how many count."""
        B, wanted = len(state.seeds), f"({len(state.seeds)}, 1 to {self.horizon}, {self.action_dim})"
        if actions.ndim != 3 or (actions.shape[0], actions.shape[2]) != (B, self.action_dim):
            raise ForeactError(f"actions must be {wanted} here, not {tuple(actions.shape)}")
        if not 1 <= actions.shape[1] <= self.horizon:
            raise ForeactError(f"a chunk of this model has 1 to {self.horizon} actions, not {actions.shape[1]}")
        if not torch.isfinite(actions).all():
            raise ForeactError("the actions hold NaN or infinite values")
        taken = torch.full((B,), actions.shape[1]) if lengths is None else torch.as_tensor(lengths).long()
        if taken.shape != (B,) or not 1 <= int(taken.min()) <= int(taken.max()) <= actions.shape[1]:
            raise ForeactError(f"lengths are {B} numbers from 1 to {actions.shape[1]} here, not {taken.tolist()}")
        inside = torch.arange(actions.shape[1]) < taken[:, None]
        chunk = torch.where(inside[..., None].to(actions.device), actions, 0.0)
        return nn.functional.pad(chunk, (0, 0, 0, self.horizon - actions.shape[1])), taken


def _as_floats(numbers: np.ndarray | Tensor) -> Tensor:
    """A tensor as it is, and an array, which is float64 where nobody thought of it, in float32."""
    return torch.as_tensor(numbers, dtype=None if isinstance(numbers, Tensor) else torch.float32)


def row_generator(seed: int, chunk: int) -> torch.Generator:
    """The source of a row's noise in one step, on the CPU."""
    state = np.random.SeedSequence((seed, chunk)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))


def to_uint8(images: Tensor) -> np.ndarray:
    """Pictures in [0, 1] -> uint8, rounded."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
