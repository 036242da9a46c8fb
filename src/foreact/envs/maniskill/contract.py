"""What recordings and environments need of a simulator: an arm that follows commands, poses, pictures. Metres, radians, the world's frame."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Command:
    """Where the hand is to be: fingers down, turned about the vertical.

    Attributes:
        position: of the fingertips or of the stick's end, (3,).
        yaw: 0 closes the fingers along the world's y axis.
        opening: 0 closed, 1 open; without meaning for a stick.
    """

    position: Array
    yaw: float = 0.0
    opening: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of the world at one frame.

    Attributes:
        joints: positions (J,).
        tool: pose (7,) of the fingertips or of the stick's end: x, y, z, qw, qx, qy, qz.
        objects: name -> pose (7,).
        goal: pose (7,) of the goal, None where there is none.
        success: whether the task is done.
        reward: of the step that led here.
        measures: further numbers of the task, such as the goal's covered share.
    """

    joints: Array
    tool: Array
    objects: Mapping[str, Array]
    goal: Array | None
    success: bool
    reward: float = 0.0
    measures: Mapping[str, float] = field(default_factory=dict)


class Simulator(Protocol):
    """One world with one arm; 20 frames a second."""

    @property
    def limits(self) -> tuple[Array, Array]:
        """Lowest and highest joint targets, (A,) each."""
        ...

    def reset(self, seed: int) -> Snapshot:
        """A new episode; the same seed gives the same one."""
        ...

    def step(self, action: Array) -> Snapshot:
        """Apply joint targets (A,) for a twentieth of a second."""
        ...

    def frame(self) -> NDArray[np.uint8]:
        """What the camera sees now, (height, width, 3)."""
        ...

    def reach(self, command: Command) -> Array:
        """Joint targets (A,) that bring the hand where the command says, or as near as was found."""
        ...

    def shove(self, name: str, velocity: Array) -> None:
        """Add a horizontal velocity (2,), m/s, to an object."""
        ...

    def plan(self, seed: int) -> Array:
        """Actions (T, A) of ManiSkill's own motion planner for the episode `seed`, which must be reset again afterwards."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


Script = Generator[Command, Snapshot, None]
"""A hand's way through an episode: gives a command for each frame and is sent what came of it."""
