"""Goals of held-out episodes: the picture that was filmed so many actions later, from where the recording then was.

A simulator is put where the recording began and takes the recorded actions up to the start; so it has the speeds, too, that
recordings do not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError
from foreact.data.lerobot import STATE, LeRobotDataset
from foreact.envs.env import RobotEnv
from foreact.envs.world import EnvCard, Floats, PlaceableWorld, World
from foreact.planning.planner import GOAL, GOAL_STEPS

NEAR = 20.0
"""DINO-WM's Push-T success: closer than so many pixels, and turned by less than so many degrees."""
_DRIFT = 2.0  # pixels, or degrees, by which a repeated recording may be off


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What was filmed `steps` actions after frame `start` of an episode.

    Attributes:
        columns: of the episode's frames up to the goal, name -> (start + steps + 1, D).
        actions: that led there from the episode's first frame, (start + steps, A).
    """

    dataset: LeRobotDataset
    episode: int
    start: int
    steps: int
    columns: Mapping[str, np.ndarray]
    actions: np.ndarray

    def at(self, frame: int) -> dict[str, Floats]:
        """The columns of a frame."""
        return {name: values[frame].astype(np.float64) for name, values in self.columns.items()}

    def picture(self) -> np.ndarray:
        """The goal, uint8 (height, width, 3)."""
        return self.dataset.frames(self.episode, start=self.start + self.steps, count=1)[0]


def choose_goals(
    dataset: LeRobotDataset, episodes: Sequence[int], card: EnvCard, *, steps: int, count: int, seed: int
) -> list[Goal]:
    """Goals so many actions ahead; episode and start of the k-th are drawn from the seed and k alone.

    Raises:
        ForeactError: no step, no held-out episode that is long enough, or the recordings lack what says where things were.
    """
    if steps < 1:
        raise ForeactError("a goal is at least 1 action ahead")
    long = [number for number in episodes if dataset.episode(number).length > steps]
    if not long:
        raise ForeactError(f"{dataset.root}: no held-out episode is long enough for goals {steps} steps ahead")
    names = (STATE, *card.hidden)
    if missing := [name for name in names if name not in dataset.features]:
        raise ForeactError(
            f"{dataset.root} has no column {missing[0]!r}: {card.label} cannot be put where the recordings were; record them with "
            f"foreact collect {card.name}"
        )
    goals = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        episode = int(rng.choice(long))
        start = int(rng.integers(dataset.episode(episode).length - steps))
        end = start + steps
        goals.append(
            Goal(
                dataset=dataset,
                episode=episode,
                start=start,
                steps=steps,
                columns={name: dataset.column(name, episode)[: end + 1] for name in names},
                actions=dataset.actions(episode)[:end],
            )
        )
    return goals


class PictureEnv(RobotEnv):
    """An environment that shows what it is to look like at the end.

    Args:
        world: the simulator, a `PlaceableWorld` where it is to draw the goal.
        max_steps: after which an episode is cut.
        picture: of the goal; the task's own, drawn by the simulator at the start of each episode, if None.
    """

    def __init__(self, world: World, *, max_steps: int, picture: np.ndarray | None = None) -> None:
        super().__init__(world, max_steps=max_steps)
        self._picture = picture

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `RobotEnv`."""
        self.goal_picture = self._picture
        observation, info = super().reset(seed=seed)
        if self.goal_picture is None:
            self.goal_picture = self._finished()
        return {**observation, GOAL: self.goal_picture}, info

    def observe(self) -> dict[str, Any]:
        """See `RobotEnv`, and the goal."""
        seen = super().observe()
        return seen if self.goal_picture is None else {**seen, GOAL: self.goal_picture}

    def _finished(self) -> np.ndarray:
        """The task done, as the first camera would see it."""
        world: Any = self.world  # a `PlaceableWorld`
        now = world.snapshot()
        world.place(world.finished())
        picture = self.render()
        world.place(now)
        return picture


class RecordedGoalEnv(RobotEnv):
    """Episodes in which recorded goals are to be reached in as many actions as the recording took; a seed is a goal's number.

    An episode is judged at its end: `final_distance` and `final_turn` of all things from where they were in the recording, and
    `start_distance`, from which they came.

    Args:
        world: the simulator.
        goals: all of them.
    """

    goal: Goal

    def __init__(self, world: PlaceableWorld, goals: Sequence[Goal]) -> None:
        super().__init__(world, max_steps=0)
        self._goals, self._place = goals, world

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Go to where the goal's recording then was.

        Raises:
            ForeactError: the simulator, given the recorded actions, comes elsewhere.
        """
        self.goal, world = self._goals[seed or 0], self._place
        self.max_steps, self._steps = self.goal.steps, 0
        world.start(0)
        world.place(self.goal.at(0))
        for action in self.goal.actions[: self.goal.start]:
            world.act(self.clipped(action))
        if max(off := world.apart(self.goal.at(self.goal.start))) > _DRIFT:
            raise ForeactError(
                f"{self.goal.dataset.root}: the simulator does not repeat episode {self.goal.episode}: at frame {self.goal.start} it is "
                f"{off[0]:.1f} and {off[1]:.1f} degrees away; plan with recordings of this simulator and these options"
            )
        self._picture = self.goal.picture()
        self._start = world.apart(self.goal.at(-1))
        return self.observe(), {"success": False}

    def advance(self, action: np.ndarray) -> tuple[float, bool, bool, dict[str, Any]]:
        """One action; see `RobotEnv`. The reward is minus the distance at the end, and nothing before."""
        self._place.act(self.clipped(action))
        self._steps += 1
        if self._steps < self.max_steps:
            return 0.0, False, False, {"success": False}
        distance, turn = self._place.apart(self.goal.at(-1))
        success = distance < NEAR and turn < NEAR
        told = {"final_distance": distance, "final_turn": turn, "start_distance": self._start[0]}
        return -distance, success, not success, {"success": success, **told}

    def observe(self) -> dict[str, Any]:
        """See `RobotEnv`; also the goal, and how many actions are left."""
        return {**super().observe(), GOAL: self._picture, GOAL_STEPS: self.max_steps - self._steps}
