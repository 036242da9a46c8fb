"""Moments of a drive: a value each, from which another action leads to another moment, so that nothing is ever lost by going back.

Pictures within a chunk are imagined from its first moment (1, 2, ... actions from the same tokens): a model that is fed its own
picture after every single action drifts. Shape legend: F futures, N patch tokens, A action dimension.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.data.lerobot import STATE, LeRobotDataset
from foreact.dreams.dream import Dream, DreamState
from foreact.envs.world import Floats, PlaceableWorld
from foreact.planning.bounds import Bounds
from foreact.planning.judging import future_seeds

KEPT = 600
"""Moments; the oldest are forgotten."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Where a drive is.

    Attributes:
        before: number of the moment before; None at the start.
        begun: the dreams at the beginning of the chunk.
        chunk: actions taken since then, each (A,).
        now: the dreams.
        real: a snapshot of the simulator; None without one.
        frame: the first future, uint8 (height, width, 3).
    """

    before: int | None
    begun: DreamState
    chunk: tuple[np.ndarray, ...]
    now: DreamState
    real: Mapping[str, Floats] | None
    frame: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is shown of a moment.

    Attributes:
        number: of the moment.
        futures: pictures, uint8 (F, height, width, 3).
        unsure: per patch, how far the futures are apart, in units of how much tokens differ at all, (rows, columns).
        real: what the simulator shows; None without one.
    """

    number: int
    futures: np.ndarray
    unsure: np.ndarray
    real: np.ndarray | None


class Drive:
    """Moments of one world model; many may drive at once.

    Args:
        dream: a world model with encoder and image decoder.
        dataset: whose frames drives start from.
        episodes: of it.
        bounds: of actions.
        world: the simulator, put where the recording was; None for the imagination alone.
        chunk: actions that are imagined from the same tokens, at most.
        futures: F at most; a deterministic model has one.

    Raises:
        ForeactError: a dream that cannot be drawn.
    """

    def __init__(
        self,
        dream: Dream,
        dataset: LeRobotDataset,
        episodes: tuple[int, ...],
        bounds: Bounds,
        *,
        world: PlaceableWorld | None = None,
        chunk: int = 5,
        futures: int = 4,
    ) -> None:
        if dream.decoder is None:
            raise ForeactError(
                "this run has no image decoder to draw what it imagines: foreact train image-decoder beside it"
            )
        self.dream, self.dataset, self.episodes, self.bounds, self.world = dream, dataset, episodes, bounds, world
        self.chunk, self.futures = min(chunk, dream.horizon), futures if dream.world_model.stochastic else 1
        self.side = (
            float(bounds.high.max()) if world is None else float(world.spec.high.max())
        )  # of the picture, where actions are places in it
        self._moments: OrderedDict[int, Moment] = OrderedDict()
        self._count, self._alone = 0, threading.Lock()

    def start(self, episode: int, frame: int, seed: int) -> Seen:
        """The moment of a recorded frame.

        Raises:
            ForeactError: there is no such frame, or the simulator cannot be put there.
        """
        length = self.dataset.episode(episode).length
        if not 0 <= frame < length:
            raise ForeactError(f"episode {episode} has {length} frames, not one of the number {frame}")
        picture = self.dataset.frames(episode, start=frame, count=1)
        with self._alone, torch.no_grad():
            state = self.dream.start(np.repeat(picture, self.futures, axis=0), future_seeds(seed, self.futures))
            real = None if self.world is None else self._go_to(self.world, episode, frame)
            return self._keep(None, state, (), state, real)

    def step(self, number: int, action: np.ndarray, *, noise: float = 1.0) -> Seen:
        """The moment after an action (A,), drawn into its bounds, with the model's noise so many times as large.

        Raises:
            ForeactError: a moment that is forgotten, or an action that is none.
        """
        moment, action = self.moment(number), np.asarray(action, dtype=np.float64)
        if action.shape != self.bounds.low.shape or not np.isfinite(action).all() or not 0 <= noise <= 4:
            raise ForeactError(
                f"an action is {self.bounds.action_dim} finite numbers, not {action.tolist()}, and noise from 0 to 4"
            )
        action = np.clip(action, self.bounds.low, self.bounds.high)
        full = len(moment.chunk) == self.chunk
        begun, chunk = (moment.now, (action,)) if full else (moment.begun, (*moment.chunk, action))
        with self._alone, torch.no_grad():
            taken = np.broadcast_to(np.stack(chunk), (self.futures, len(chunk), len(action)))
            now = _Louder(self.dream, noise).step(begun, taken.astype(np.float32))
            real = moment.real
            if self.world is not None and real is not None:
                self.world.place(real)
                self.world.act(action)
                real = self.world.snapshot()
            return self._keep(number, begun, chunk, now, real)

    def moment(self, number: int) -> Moment:
        """A moment by its number.

        Raises:
            ForeactError: it is forgotten, or never was.
        """
        with self._alone:
            if number not in self._moments:
                raise ForeactError(f"moment {number} is forgotten: begin again, or open the link of a moment")
            return self._moments[number]

    def way(self, number: int) -> np.ndarray:
        """The pictures of the first future that led to a moment, as far as they are remembered, uint8 (T, height, width, 3)."""
        frames, before = [], number
        for moment in self._back(before):
            frames.append(moment.frame)
        return np.stack(frames[::-1])

    def _back(self, number: int) -> Iterator[Moment]:
        moment = self.moment(number)
        yield moment
        while moment.before is not None and moment.before in self._moments:
            moment = self.moment(moment.before)
            yield moment

    def _keep(
        self,
        before: int | None,
        begun: DreamState,
        chunk: tuple[np.ndarray, ...],
        now: DreamState,
        real: Mapping[str, Floats] | None,
    ) -> Seen:
        pictures = self.dream.draw(now)
        self._count += 1
        self._moments[self._count] = Moment(
            before=before, begun=begun, chunk=chunk, now=now, real=real, frame=pictures[0]
        )
        while len(self._moments) > KEPT:
            self._moments.popitem(last=False)
        shown = None if self.world is None else self.world.pictures()[self.dataset.camera]
        return Seen(number=self._count, futures=pictures, unsure=self._unsure(now.tokens), real=shown)

    def _unsure(self, tokens: Tensor) -> np.ndarray:
        apart = tokens.std(dim=0, unbiased=False).square().mean(dim=-1).sqrt()  # (N,)
        spread = tokens.std(dim=1, unbiased=False).mean().clamp_min(1e-6)
        rows: tuple[int, int] = self.dream.world_model.config.tokens.grid  # type: ignore[attr-defined]
        return (apart / spread).view(rows).cpu().numpy()

    def _go_to(self, world: PlaceableWorld, episode: int, frame: int) -> Mapping[str, Floats]:
        """Put the simulator where an episode began, and let it take the recorded actions up to a frame."""
        world.start(0)
        there = world.snapshot()
        names = [name for name in there if name in self.dataset.features]
        if STATE not in names:
            raise ForeactError(f"{self.dataset.root} does not say where the robot was: leave out --env")
        world.place({name: self.dataset.column(name, episode)[0].astype(np.float64) for name in names})
        for action in self.dataset.actions(episode)[:frame]:
            world.act(np.clip(action.astype(np.float64), world.spec.low, world.spec.high))
        return world.snapshot()


class _Louder(Dream):
    """A dream with noise so many times as large."""

    def __init__(self, dream: Dream, scale: float) -> None:
        self.__dict__.update(dream.__dict__)
        self._scale = scale

    def noise(self, state: DreamState) -> Tensor:
        """See `Dream.noise`."""
        return self._scale * super().noise(state)
