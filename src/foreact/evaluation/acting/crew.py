"""Processes that play episodes: each has environments and the policy of its own; one that dies takes no other's episodes along."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from typing import Any, Self

from foreact.core.contracts import Policy
from foreact.core.errors import ForeactError
from foreact.envs.env import RobotEnv
from foreact.envs.recording import leave_interrupts_to_the_parent
from foreact.envs.registry import find_env, make_env
from foreact.evaluation.acting.choosing import load_policy
from foreact.evaluation.acting.episodes import Episode, Execution, play


@dataclass(frozen=True, kw_only=True)
class Wave(ABC):
    """Episodes that are played side by side.

    Attributes:
        seeds: of the episodes.
        execute: actions of each chunk that are executed; the policy's own number if None.
        delay: milliseconds for which an observation has grown old when the policy sees it.
    """

    seeds: tuple[int, ...]
    execute: int | None = None
    delay: float = 0.0

    @abstractmethod
    def cast(self, count: int) -> tuple[list[RobotEnv], Policy]:
        """So many environments, and the policy that acts in them; they do not depend on the seeds."""

    def execution(self, env: RobotEnv) -> Execution:
        """How chunks are carried out, with the delay in actions."""
        return Execution(execute=self.execute, delay=round(self.delay / 1000 * env.world.spec.fps))


@dataclass(frozen=True, kw_only=True)
class ActWave(Wave):
    """A policy in an environment; see `act.ActRequest`."""

    policy: str
    env: str
    image_size: int
    max_steps: int | None
    options: tuple[tuple[str, Any], ...]
    resample: bool

    def cast(self, count: int) -> tuple[list[RobotEnv], Policy]:
        """See `Wave`."""
        size, steps = self.image_size, self.max_steps
        envs = [make_env(self.env, image_size=size, max_steps=steps, **dict(self.options)) for _ in range(count)]
        return envs, load_policy(self.policy, find_env(self.env)[0], envs, resample=self.resample)


class Crew:
    """Plays waves; without further processes where there is one worker.

    Args:
        workers: processes.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def play(self, waves: Sequence[Wave]) -> Iterator[list[Episode]]:
        """The episodes of each wave, in no order.

        Raises:
            ForeactError: what the policy did wrong; a simulator that crashes costs its own episode alone.
        """
        if self._workers == 1:
            yield from map(_play, waves)
            return
        waiting: deque[tuple[Wave, Future[list[Episode]]]] = deque()
        left = deque(waves)
        while left or waiting:
            while left and len(waiting) < self._workers:
                waiting.append((left[0], self._submit(left.popleft())))
            wave, future = waiting.popleft()
            try:
                yield future.result()
            except BrokenProcessPool:
                self._pool = None
                left.extendleft(other for other, _ in waiting)  # they were in the same pool
                waiting.clear()
                yield from self._one_by_one(wave)

    def _submit(self, wave: Wave) -> Future[list[Episode]]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._workers, get_context("spawn"), leave_interrupts_to_the_parent)
        return self._pool.submit(_play, wave)

    def _one_by_one(self, wave: Wave) -> Iterator[list[Episode]]:
        """The episodes of a wave whose process died, to find the one that killed it."""
        for seed in wave.seeds:
            try:
                yield self._submit(replace(wave, seeds=(seed,))).result()
            except BrokenProcessPool:
                self._pool = None
                yield [Episode(seed=seed, crash="the simulator's process died")]


def _play(wave: Wave) -> list[Episode]:
    try:
        envs, policy = _cast(replace(wave, seeds=()), len(wave.seeds))
        return play(envs, policy, wave.seeds, wave.execution(envs[0]))
    except ForeactError:
        raise
    except Exception as error:  # of the simulator
        if len(wave.seeds) == 1:
            _cast.cache_clear()
            return [Episode(seed=wave.seeds[0], crash=f"{type(error).__name__}: {error}")]
        return [episode for seed in wave.seeds for episode in _play(replace(wave, seeds=(seed,)))]


@lru_cache(maxsize=1)
def _cast(wave: Wave, count: int) -> tuple[list[RobotEnv], Policy]:
    """Environments and policy: made once in a process, since both take seconds."""
    return wave.cast(count)
