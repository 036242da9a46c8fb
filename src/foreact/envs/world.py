"""What an environment asks of a simulator, and the card by which a simulator is found.

A new environment is a file with a `World` and an `EnvCard` at its end, and one line in `envs.registry`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from foreact.core.contracts import Policy
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """What does not change while a simulator runs.

    Attributes:
        robot: name of the robot, as recordings have it.
        cameras: full name -> height and width of its pictures.
        state: names of the robot's state, P of them.
        action: names of an action's numbers, A of them.
        low, high: bounds of an action, (A,), in the recordings' units.
        fps: actions, and recorded frames, per second.
        max_steps: after which an episode is cut: 1.5 times the length below which 90 % of the expert's episodes lie.
        phrasings: the task in words, in several ways; the first one is what a policy is told.
    """

    robot: str
    cameras: Mapping[str, tuple[int, int]]
    state: tuple[str, ...]
    action: tuple[str, ...]
    low: Floats
    high: Floats
    fps: float
    max_steps: int
    phrasings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an action.

    Attributes:
        reward: of this step.
        success: whether the task is done now.
        measures: further numbers, such as the goal's covered share.
    """

    reward: float
    success: bool
    measures: Mapping[str, float] = field(default_factory=dict)


class World(ABC):
    """A simulator with one robot and one task. Everything random follows from the seed of `start`."""

    spec: WorldSpec

    @abstractmethod
    def start(self, seed: int) -> None:
        """Begin an episode."""

    @abstractmethod
    def act(self, action: Floats) -> Outcome:
        """Apply an action (A,) for one period of the control rate; goes on after success, too."""

    @abstractmethod
    def pictures(self) -> dict[str, Frame]:
        """What the cameras see now, uint8 (height, width, 3) each; drawn when asked for."""

    @abstractmethod
    def state(self) -> Floats:
        """The robot's state (P,), with nothing that a robot could not measure."""

    def hidden(self) -> dict[str, Floats]:
        """What only a simulator knows, such as the poses of objects, for recordings: name -> (D,)."""
        return {}

    def close(self) -> None:  # noqa: B027, most hold nothing
        """Free what the simulator holds."""


class PlaceableWorld(World):
    """A world that can be put into a recorded state: goals can be set in it, and plans be tried."""

    @abstractmethod
    def snapshot(self) -> dict[str, Floats]:
        """All that decides what comes next: the columns of recordings, and what they do not have; name -> (D,)."""

    @abstractmethod
    def place(self, columns: Mapping[str, Floats]) -> None:
        """Put everything, in an episode that has begun, where a snapshot or a recorded frame has it; what that does not tell is at rest."""

    @abstractmethod
    def finished(self) -> dict[str, Floats]:
        """A snapshot in which the task is done, and all else is as it is now."""

    @abstractmethod
    def apart(self, columns: Mapping[str, Floats]) -> tuple[float, float]:
        """How far everything is from where these columns have it: a distance, in the recordings' units, and a turn in degrees."""


@dataclass(frozen=True, kw_only=True)
class EnvCard:
    """A simulator and its tasks.

    Attributes:
        name: first word of the ids.
        label: for readers.
        tasks: second words of the ids, after a slash; none where the simulator has one task alone.
        robot, cameras, fps: what its worlds have, by default, for who reads the list.
        make: (task, image size in pixels, options of this simulator) -> a world.
        packages: distributions that it needs; their versions go into results.
        install: command that installs them.
        policies: by name, scripted policies that see the world's insides; "expert" does the task.
        hidden: recorded columns of `World.hidden` -> names of their numbers.
    """

    name: str
    label: str
    tasks: tuple[str, ...] = ()
    robot: str
    cameras: tuple[str, ...]
    fps: float
    make: Callable[..., World]
    packages: tuple[str, ...]
    install: str
    policies: Mapping[str, Callable[[World], Policy]] = field(default_factory=dict)
    hidden: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def options(self) -> tuple[str, ...]:
        """Names of what `make` takes beside task and image size."""
        return tuple(inspect.signature(self.make).parameters)[2:]

    @property
    def ids(self) -> tuple[str, ...]:
        """Of its environments."""
        return tuple(f"{self.name}/{task}" for task in self.tasks) or (self.name,)

    def versions(self) -> dict[str, str] | None:
        """Versions of its packages; None where one is not installed."""
        try:
            return {package: version(package) for package in self.packages}
        except PackageNotFoundError:
            return None
