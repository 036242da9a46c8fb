"""A world whose truth is known, for tests of learning: what a dream, demonstrations and a policy are like at their smallest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from foreact.core.progress import progress_bar
from foreact.core.token_spec import TokenSpec
from foreact.data.writer import LeRobotWriter
from foreact.dreams.dream import Dream
from foreact.encoders.pixels import PixelDecoder
from foreact.imagination.demonstrations import Demonstrations
from foreact.policies.bc import BCConfig, Camera
from foreact.recordings.opening import open_recordings
from tests.lively import lively

CHUNK = 4


class Shifts:
    """A world model without weights: the chunk's mean action moves all tokens; noise in proportion to `luck`."""

    def __init__(
        self, tokens: TokenSpec, *, action_dim: int = 2, horizon: int = 8, gain: float = 0.01, luck: float = 0.1
    ):
        self.config = SimpleNamespace(tokens=tokens, action_dim=action_dim, horizon=horizon, kind="shifts")
        self.stochastic, self._gain, self._luck = luck > 0, gain, luck

    def draw_noise(self, batch: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randn(batch, self.config.tokens.channels, generator=generator)

    def predict(self, tokens, actions, lengths, noise):
        mean = actions.sum(dim=1).mean(dim=1) / lengths
        return tokens + self._gain * mean[:, None, None] + self._luck * noise[:, None]


def record_squares(root: Path, episodes: int) -> Path:
    """A red square goes to the middle of the picture in some 20 frames; every third episode gives up on the way."""
    rng = np.random.default_rng(0)
    columns = {"action": ("dx", "dy"), "next.success": ("success",)}
    with LeRobotWriter(root, fps=10, cameras={"top": (32, 32)}, columns=columns, robot_type="square") as writer:
        for number in range(episodes):
            frames, actions, success = [], [], []
            place, tired = rng.uniform([2, 2], [8, 28]), rng.integers(5, 9) if number % 3 == 0 else 99
            for t in range(20 + number % 4):
                frame = np.full((32, 32, 3), 200, np.uint8)
                x, y = place.astype(int)
                frame[y - 2 : y + 3, x - 2 : x + 3] = (220, 30, 30)
                action = np.clip((16 - place) / 3, -1, 1) * (t < tired)
                place = place + action
                frames.append(frame)
                actions.append(action)
                success.append([np.abs(place - 16).max() < 3])
            rows = {"action": np.array(actions, np.float32), "next.success": np.array(success, np.float32)}
            writer.add_episode({"top": np.stack(frames)}, rows, "go to the middle")
    return root


def open_demonstrations(data: Path, cache: Path, *, chunk: int = CHUNK, size: int = 16, **options) -> Demonstrations:
    """With raw pixels for tokens."""
    recordings = open_recordings(data, encoder="pixels", image_size=size, cache=cache, progress=progress_bar, **options)
    return Demonstrations(recordings, chunk=chunk)


def dream_of(demonstrations: Demonstrations, **options) -> Dream:
    """Of the tokens that the demonstrations have, with pictures."""
    tokens = demonstrations.recordings.tokens
    return Dream(Shifts(tokens, **options), None, PixelDecoder(tokens))


def small_policy(*, cameras: tuple[Camera, ...], action: tuple[str, ...], fps: float, **options) -> BCConfig:
    """Sizes of a policy that looks at pictures and executes four of six actions."""
    sizes = {
        "image_size": 32,
        "channels": 4,
        "dim": 8,
        "head": "pooled",
        "hidden": (16, 16),
        "chunk": 6,
        "execute": CHUNK,
    }
    return BCConfig(cameras=cameras, action=action, state=(), fps=fps, **sizes, **options)


def save(config, folder: Path) -> Path:
    """A model with random weights, as a run would leave it."""
    lively(config).save_pretrained(folder)
    return folder


def recorded_actions(demonstrations: Demonstrations, which: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """The next actions (n, CHUNK, A) of frames of demonstrations; at the end the last one again."""
    source, times = demonstrations.recordings.sources[0], frames[:, None] + np.arange(CHUNK)
    rows = [source.actions[demonstrations.names[d, 1]] for d in which.tolist()]
    return np.stack([row[np.minimum(t, len(row) - 1)] for row, t in zip(rows, times, strict=True)])


class Oracle(Shifts):
    """The true future of demonstrations, where their own actions are played: a frame is found by its tokens and actions."""

    def __init__(self, demonstrations: Demonstrations) -> None:
        super().__init__(demonstrations.recordings.tokens)
        places = [(d, t) for d, last in enumerate(demonstrations.last) for t in range(last + 1)]
        self._demonstrations, self._which, self._frames = demonstrations, *np.array(places).T
        self._known = demonstrations.tokens(self._which, self._frames).flatten(1)
        self._played = torch.from_numpy(recorded_actions(demonstrations, self._which, self._frames)).flatten(1).float()

    def predict(self, tokens, actions, lengths, noise):
        away = torch.cdist(tokens.flatten(1), self._known)
        away += torch.cdist(actions[:, :CHUNK].flatten(1), self._played)
        near = away.argmin(dim=1).numpy()
        return self._demonstrations.tokens(self._which[near], self._frames[near] + lengths.numpy())
