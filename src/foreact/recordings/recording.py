"""One dataset made ready for training: split, frozen encoder, tokens; and the one function that reads from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from foreact.core.errors import ForeactError
from foreact.data.lerobot import ACTION, STATE, SUCCESS, LeRobotDataset
from foreact.data.lerobot_meta import holds_numbers
from foreact.data.movement import moving_starts, object_positions
from foreact.recordings.pairs import action_statistics, take_rows
from foreact.recordings.splits import Split
from foreact.recordings.token_cache import LiveTokens, TokenCache

HUMAN, ROBOT = 0, 1
"""Embodiments: humans, and the first robot."""
IMAGES = "observation.images"
"""LeRobot's name of all cameras; alone, it means the camera that the source was named with."""
TOKENS = ".tokens"
"""After a camera's name: tokens in the place of frames."""
_FRAMES_PER_READ = 512


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A dataset that is learnt from.

    Attributes:
        dataset, split: what is read, and which episodes for what.
        cache: tokens of the chosen camera.
        weight: how often it is drawn from, against the weights of the others.
        embodiment: number of who is seen; `HUMAN` for humans.
        open_cache: gives the tokens of the same dataset seen by another camera.
    """

    dataset: LeRobotDataset
    split: Split
    cache: TokenCache
    weight: float = 1.0
    embodiment: int = ROBOT
    open_cache: Callable[[LeRobotDataset], TokenCache] | None = None
    _caches: dict[str, TokenCache] = field(default_factory=dict, repr=False, compare=False)

    @property
    def fps(self) -> float:
        """Frames, and actions, per second."""
        return float(self.dataset.fps)

    @cached_property
    def held_out(self) -> Recording:
        """The same recording with the held-out episodes in the place of the training ones."""
        split = replace(self.split, train=self.split.validation, validation=self.split.train)
        return replace(self, split=split)

    @cached_property
    def actions(self) -> dict[int, np.ndarray]:
        """Actions (T, A) of the training episodes that have them.

        Raises:
            ForeactError: an action is not finite, also where it is held out.
        """
        both = (*self.split.train, *self.split.validation)
        found = {e: self.dataset.actions(e) for e in both if self.dataset.has_actions(e)}
        return {e: found[e] for e in self.split.train if e in found}

    @cached_property
    def states(self) -> dict[int, np.ndarray]:
        """The robot's states (T, P) of the training episodes; empty where the dataset has none."""
        episodes = self.split.train if self.state_dim else ()
        return {e: self.dataset.column(STATE, e).astype(np.float32) for e in episodes}

    @property
    def state_dim(self) -> int:
        """P, numbers in the robot's state; 0 where the dataset has none."""
        return int(np.prod(self.dataset.features[STATE]["shape"])) if STATE in self.dataset.features else 0

    @cached_property
    def moving(self) -> dict[int, np.ndarray]:
        """Masks (T,) of start frames near movement: of objects where poses are recorded, else of tokens."""
        return dict(zip(self.split.train, moving_starts([self._change(e) for e in self.split.train]), strict=True))

    def successes(self, episode: int) -> np.ndarray | None:
        """Mask (T,) of the frames after whose action the task is done; None where the dataset does not say."""
        if SUCCESS not in self.dataset.features:
            return None
        return self.dataset.column(SUCCESS, episode).ravel() > 0

    def require_actions(self) -> dict[int, np.ndarray]:
        """The actions.

        Raises:
            ForeactError: no training episode has any.
        """
        if not self.actions:
            raise ForeactError(
                f"{self.dataset.root} has no episode with actions; a world model needs them (rla does not)"
            )
        return self.actions

    def action_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (A,) of the training actions."""
        return action_statistics(list(self.require_actions().values()))

    @cached_property
    def lengths(self) -> np.ndarray:
        """Frames of each episode, by number; 0 in gaps."""
        lengths = np.zeros(self.dataset.episodes[-1].index + 1, dtype=np.int64)
        for episode in self.dataset.episodes:
            lengths[episode.index] = episode.length
        return lengths

    def read(self, name: str, episodes: np.ndarray, times: np.ndarray) -> np.ndarray:
        """A feature at frames of episodes: (B, ...) for times (B,), (B, K, ...) for times (B, K).

        Args:
            name: `IMAGES`, or `observation.images.<camera>`: frames uint8 in the encoder's size; the same and `TOKENS`: tokens
                (N, C) float16; any other feature: its rows (D,) float32, without numbers where there is no robot's state.
            episodes: their numbers, (B,).
            times: frames within the episodes.

        Raises:
            ForeactError: no such feature or camera, or a feature that holds no numbers.
        """
        if name.startswith(IMAGES):
            camera = name.removesuffix(TOKENS)
            cache = self.cache_of(camera)
            gather = cache.gather if name.endswith(TOKENS) else cache.gather_frames
            found = gather(episodes.repeat(times[0].size), times.ravel()) if times.ndim > 1 else gather(episodes, times)
            return found.reshape(*times.shape, *found.shape[1:])
        if name == STATE and not self.state_dim:
            return np.zeros((*times.shape, 0), np.float32)
        kept = {ACTION: lambda: self.actions, STATE: lambda: self.states}
        if name in kept:
            return take_rows(kept[name](), episodes, times)
        self.shape_of(name)
        columns = {e: self.dataset.column(name, e) for e in np.unique(episodes).tolist()}
        return take_rows(columns, episodes, times).astype(np.float32)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of one row of a column of numbers.

        Raises:
            ForeactError: no such column, or one of something else, such as words.
        """
        features = self.dataset.features
        if name not in features:
            raise ForeactError(f"{self.dataset.root} has no column {name!r}; it has {list(features)}")
        if not holds_numbers(features[name]):
            raise ForeactError(f"{self.dataset.root}: {name} holds no numbers, so it cannot be in a batch")
        return tuple(features[name]["shape"])

    def cache_of(self, camera: str) -> TokenCache:
        """Tokens and frames of a camera, by full or short name, or of the chosen one; encoded where needed on the first call.

        Raises:
            ForeactError: no such camera, or no tokens of another one than the chosen one.
        """
        if camera == IMAGES:
            return self.cache
        seen = self.dataset.with_camera(camera)
        if seen.camera == self.dataset.camera:
            return self.cache
        if seen.camera not in self._caches:
            made = self.open_cache(seen) if self.open_cache else LiveTokens(seen, self.cache.encoder)
            self._caches[seen.camera] = made
        return self._caches[seen.camera]

    def _change(self, episode: int) -> np.ndarray:
        positions = object_positions(self.dataset, episode)
        if positions is not None:
            return np.linalg.norm(np.diff(positions, axis=0), axis=1)
        tokens = self.cache.tokens(episode)
        parts = [tokens[i : i + _FRAMES_PER_READ + 1] for i in range(0, len(tokens) - 1, _FRAMES_PER_READ)]
        changes = [np.abs(np.diff(p.astype(np.float32), axis=0)).mean(axis=(1, 2)) for p in parts]
        return np.concatenate(changes)
