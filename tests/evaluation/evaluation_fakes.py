"""Models that need no training, for tests of the evaluation."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from foreact.core.token_spec import TokenSpec

GRID, SIZE, HORIZON = 4, 32, 7
PATCH = SIZE // GRID
CHANNELS = 3 * PATCH * PATCH // 16
SPEC = TokenSpec(grid=(GRID, GRID), channels=CHANNELS, fingerprint="patches", encoder="patches", image_size=SIZE)


class PatchEncoder:
    """Tokens are the 4 x 4 means of each patch of the frame; `PatchDecoder` draws them again."""

    spec, image_size = SPEC, SIZE

    def encode(self, frames: Tensor) -> Tensor:
        """uint8 (B, height, width, 3) -> (B, N, C)."""
        images = nn.functional.interpolate(frames.permute(0, 3, 1, 2).float() / 255, size=(SIZE, SIZE), mode="area")
        cells = nn.functional.avg_pool2d(images, 4)
        patches = cells.unflatten(3, (GRID, -1)).unflatten(2, (GRID, -1))  # B 3 rows p columns q
        return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


class PatchDecoder:
    """Inverse of `PatchEncoder`, up to the averaging."""

    config = SimpleNamespace(tokens=SPEC, image_size=(SIZE, SIZE))

    def decode(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, height, width, 3)."""
        side = PATCH // 4
        patches = tokens.unflatten(2, (3, side, side)).unflatten(1, (GRID, GRID))
        images = patches.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
        return nn.functional.interpolate(images, scale_factor=4, mode="nearest").permute(0, 2, 3, 1).clamp(0, 1)


class FakeWorldModel(nn.Module):
    """Adds what the actions say and, if stochastic, noise; counts its calls."""

    def __init__(self, *, stochastic: bool = False, gain: float = 1e-4, noise: float = 0.05, horizon: int = HORIZON):
        super().__init__()
        self.stochastic, self.gain, self.noise = stochastic, gain, noise
        self.config = SimpleNamespace(kind="fake", tokens=SPEC, action_dim=2, horizon=horizon)
        self.calls: list[tuple[int, ...]] = []

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """Noise of the tokens' shape, or none."""
        shape = (SPEC.count, SPEC.channels) if self.stochastic else (0,)
        return torch.randn(batch, *shape, generator=generator)

    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """Tokens moved by the mean valid action."""
        valid = torch.arange(actions.shape[1])[None] < lengths[:, None]
        assert not actions[~valid].any(), "padding must be zero"
        self.calls.append(tuple(lengths.tolist()))
        moved = tokens + self.gain * actions.sum(dim=(1, 2))[:, None, None] / lengths[:, None, None]
        if self.stochastic:
            moved = moved + self.noise * noise
        return moved


class PerfectRLA:
    """z is the residual itself."""

    config = SimpleNamespace(tokens=SPEC)

    def infer(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """s_{t+h} - s_t."""
        return tokens_th - tokens_t

    def decode(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """s_t + z."""
        return tokens_t + z
