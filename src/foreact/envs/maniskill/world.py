"""ManiSkill's tasks as environments: the papers' robots, camera and controller, 20 actions a second."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from foreact.core.contracts import Observation
from foreact.data.importers.maniskill import POSE
from foreact.envs.maniskill.collect import CAMERA, FPS, Maker, make_maniskill
from foreact.envs.maniskill.drivers import Driver, follow, obey
from foreact.envs.maniskill.episode import OBJECT, TOOL
from foreact.envs.maniskill.play import play
from foreact.envs.maniskill.robots import RobotName
from foreact.envs.maniskill.scripts import EXPERTS, PLAYERS
from foreact.envs.maniskill.tasks import choose
from foreact.envs.world import EnvCard, Floats, Frame, Outcome, World, WorldSpec

PAPERS: dict[str, tuple[RobotName, int]] = {
    "PullCube": ("panda", 95),
    "PullCubeTool": ("panda", 371),
    "PokeCube": ("xarm6_robotiq", 83),
    "RollBall": ("ur_10e", 68),
    "PushT": ("ur_10e", 363),
}
"""Task -> the papers' robot, and after how many steps an episode is cut (measured with that robot: docs/maniskill.md)."""


class ManiSkillWorld(World):
    """One arm at a table; joint targets in radians, poses in metres and quaternions.

    Args:
        task: of `PAPERS`.
        image_size: side of the pictures.
        robot: the arm; the papers' if None.
        make: makes the simulator.

    Raises:
        ForeactError: a robot that cannot do the task, or what `make_maniskill` says is missing.
    """

    def __init__(
        self, task: str, image_size: int, robot: RobotName | None = None, make: Maker = make_maniskill
    ) -> None:
        papers, max_steps = PAPERS[task]
        self._task, self._robot = choose(task, robot or papers)
        self._simulator = make(task, self._robot.name, image_size)
        low, high = self._simulator.limits
        self.spec = WorldSpec(
            robot=self._robot.name,
            cameras={CAMERA: (image_size, image_size)},
            state=self._robot.joints,
            action=self._robot.action_names,
            low=low,
            high=high,
            fps=FPS,
            max_steps=max_steps,
            phrasings=(self._task.text, *self._task.also),
        )

    def start(self, seed: int) -> None:
        """See `World`; objects and joints lie where ManiSkill's layout puts them for this seed, in a scene built anew."""
        self._seed = seed
        self.now = self._simulator.reset(seed)

    def act(self, action: Floats) -> Outcome:
        """See `World`; the reward is ManiSkill's normalised dense one: 1 at success, up to about 2 in PullCubeTool."""
        self.now = self._simulator.step(action)
        return Outcome(reward=self.now.reward, success=self.now.success, measures=self.now.measures)

    def pictures(self) -> dict[str, Frame]:
        """See `World`."""
        return {CAMERA: self._simulator.frame()}

    def state(self) -> Floats:
        """Positions of all joints, (J,)."""
        return self.now.joints

    def hidden(self) -> dict[str, Floats]:
        """Poses (7,) of the task's first object, of the fingertips or the stick's end, and of further objects by their names."""
        (_, first), *others = self.now.objects.items()
        return {OBJECT: first, TOOL: self.now.tool} | {f"observation.{name}_pose": pose for name, pose in others}

    def close(self) -> None:
        """See `World`."""
        self._simulator.close()

    def expert(self, rng: np.random.Generator) -> Driver:
        """Does the task that has just begun, by ManiSkill's planner where it ships one, else by our script."""
        if self._task.manner(self._robot) == "scripted":
            return obey(self._simulator, EXPERTS[self._task.name](rng, self.now))
        plan = self._simulator.plan(self._seed)
        self.start(self._seed)
        return follow(plan)

    def play(self, rng: np.random.Generator) -> Driver:
        """Handles the task's things without an aim."""
        return obey(self._simulator, PLAYERS.get(self._task.name, play)(rng, self.now))


class Arm:
    """A well calibrated arm as a policy: it sees all poses, and gives one action at a time; at its end it stays.

    Args:
        world: of which it reads the poses.
        manner: the driver of an episode.
    """

    def __init__(self, world: World, manner: Callable[[Any, np.random.Generator], Driver]) -> None:
        self._world: Any = world
        self._manner = manner

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """For the episode that has just begun."""
        self._driver: Any = self._manner(self._world, np.random.default_rng(seeds[0] if seeds else None))
        self._action: Floats | None = None

    def act(self, observation: Observation) -> Floats:
        """The next joint targets, (1, A)."""
        seen = None if self._action is None else self._world.now
        with contextlib.suppress(StopIteration):
            self._action = self._driver.send(seen)
        assert self._action is not None, "a driver without an action"
        return self._action[None]


CARD = EnvCard(
    name="maniskill",
    label="ManiSkill 3, the papers' tasks",
    tasks=tuple(PAPERS),
    robot="panda, xarm6_robotiq or ur_10e",
    cameras=(CAMERA,),
    fps=FPS,
    make=lambda task, image_size, robot=None: ManiSkillWorld(task, image_size, robot),
    packages=("mani_skill", "sapien"),
    install="pip install -r requirements/maniskill.txt",
    policies={
        "expert": partial(Arm, manner=ManiSkillWorld.expert),
        "play": partial(Arm, manner=ManiSkillWorld.play),
    },
    hidden={OBJECT: POSE, TOOL: POSE},
)
