"""A dream whose best plan is known: a picture of one colour, which actions change by their sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from foreact.core.config import ModelConfig
from foreact.core.token_spec import TokenSpec
from foreact.dreams.dream import Dream

TOKENS = TokenSpec(grid=(2, 2), channels=3, fingerprint="toy@0", encoder="toy", image_size=4)
CAMERA = "observation.images.top"


class Colours:
    """Tokens are the levels of red, green and blue."""

    spec, image_size = TOKENS, 4

    def encode(self, frames):
        return frames[:, :2, :2].reshape(len(frames), 4, 3).float()


@dataclass(frozen=True, kw_only=True)
class ToyConfig(ModelConfig):
    kind: ClassVar[str] = "toy"
    tokens: TokenSpec = TOKENS
    action_dim: int = 2
    horizon: int = 3

    def build(self):
        return Toy()


class Toy:
    """Red and green grow by the sum of the actions; with `slip`, red also by noise times the first action's size."""

    def __init__(self, slip: float = 0.0) -> None:
        self.config, self.slip, self.stochastic, self.calls = ToyConfig(), slip, slip > 0, []

    def draw_noise(self, batch, generator):
        return torch.randn(batch, 1 if self.stochastic else 0, generator=generator)

    def predict(self, tokens, actions, lengths, noise):
        self.calls.append(len(tokens))
        mask = torch.arange(actions.shape[1])[None] < lengths[:, None]
        moved = (actions * mask[..., None]).sum(dim=1)
        if self.stochastic:
            moved = moved + self.slip * noise * moved[:, :1].abs() * torch.tensor([1.0, 0.0])
        return tokens + torch.nn.functional.pad(moved, (0, 1))[:, None]


def toy_dream(slip: float = 0.0) -> Dream:
    return Dream(Toy(slip), Colours())


def picture(*colours: tuple[int, int, int]) -> np.ndarray:
    """uint8 (B, 4, 4, 3)."""
    return np.broadcast_to(np.array(colours, np.uint8)[:, None, None], (len(colours), 4, 4, 3)).copy()
