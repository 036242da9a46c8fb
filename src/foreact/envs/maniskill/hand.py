"""The hand of a script: it goes straight from place to place and opens and closes its fingers, one command a frame."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np

from foreact.envs.maniskill.contract import Array, Command, Snapshot

Motion = Generator[Command, Snapshot, None]

TRAVEL = 0.025  # metres a frame where nothing is touched: half a metre a second
HIGH = 0.16  # height at which the hand passes over everything, metres


class Hand:
    """Where the hand was last sent and what was last seen; its motions are for `yield from`.

    Attributes:
        seen: the latest snapshot.
        position: of the last command, (3,).
        yaw: of the last command.
        opening: of the last command.
    """

    def __init__(self, first: Snapshot, *, opening: float = 0.0) -> None:
        self.seen = first
        self.position = np.array(first.tool[:3])
        self.yaw = 0.0
        self.opening = opening

    def spot(self, name: str) -> Array:
        """Where an object is, (2,)."""
        return np.array(self.seen.objects[name][:2])

    def goal(self) -> Array:
        """Where the goal is, (2,)."""
        assert self.seen.goal is not None, "this task has no goal"
        return np.array(self.seen.goal[:2])

    def to(self, place: Array, height: float, *, speed: float = TRAVEL, yaw: float | None = None) -> Motion:
        """Straight to `place` (2,) at `height`, at `speed` metres a frame, turning evenly to `yaw` on the way."""
        start, end = self.position, np.append(place, height)
        turn = 0.0 if yaw is None else nearest_turn(yaw - self.yaw)
        first = self.yaw
        frames = max(1, math.ceil(float(np.linalg.norm(end - start)) / speed), math.ceil(abs(turn) / 0.1))
        for frame in range(1, frames + 1):
            self.position = start + (end - start) * frame / frames
            self.yaw = first + turn * frame / frames
            yield from self.wait(1)

    def over(self, place: Array, *, yaw: float | None = None) -> Motion:
        """Up, across and to a point above `place` (2,)."""
        yield from self.to(self.position[:2], max(HIGH, self.position[2]))
        yield from self.to(place, HIGH, yaw=yaw)

    def grip(self, opening: float, *, frames: int = 8) -> Motion:
        """Open (1) or close (0) the fingers and wait for them."""
        self.opening = opening
        yield from self.wait(frames)

    def wait(self, frames: int) -> Motion:
        """Stay for some frames."""
        for _ in range(frames):
            self.seen = yield Command(position=self.position.copy(), yaw=self.yaw, opening=self.opening)


def nearest_turn(angle: float) -> float:
    """The same direction of a two-fingered hand, within a quarter turn."""
    return (angle + math.pi / 2) % math.pi - math.pi / 2


def unit(vector: Array) -> Array:
    """A vector of length 1 in the same direction."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
