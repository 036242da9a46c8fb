"""ManiSkill behind the interface that recordings and environments need. Importing this file imports ManiSkill."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import sapien
from mani_skill import ASSET_DIR, logger
from numpy.typing import NDArray

from foreact.core.errors import ForeactError
from foreact.envs.maniskill.contract import Array, Command, Snapshot
from foreact.envs.maniskill.robots import Robot
from foreact.envs.maniskill.tasks import Task
from foreact.envs.maniskill.worlds import WORLDS

_MEASURES = ("coverage",)
_TOLERANCE = 0.01  # metres and radians by which a solution of the inverse kinematics may miss


def require_assets(robot: Robot) -> None:
    """Refuse a robot whose files are not on this machine (ManiSkill itself would ask on the terminal).

    Raises:
        ForeactError: they are missing.
    """
    if robot.assets and not (Path(ASSET_DIR) / "robots" / robot.assets).is_dir():
        raise ForeactError(
            f"{robot.name}: no folder {Path(ASSET_DIR) / 'robots' / robot.assets}: run python -m "
            f"mani_skill.utils.download_asset {robot.assets}, or let MS_ASSET_DIR point to where it lies (in data/robots)"
        )


@contextlib.contextmanager
def _without_remarks() -> Iterator[None]:
    """Gymnasium's remarks on limits and ManiSkill's on poses, several per episode, would break up the progress bar."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class ManiSkill:
    """One of ManiSkill's worlds with one arm, on the CPU.

    Args:
        task: what lies on the table.
        robot: the arm.
        image_size: side of the pictures, pixels.
    """

    def __init__(self, task: Task, robot: Robot, image_size: int) -> None:
        self._task, self._robot = task, robot
        with _without_remarks():
            self._env = WORLDS[task.name](task=task, arm=robot, image_size=image_size)
        body = self._env.agent.robot._objs[0]
        self._kinematics = body.create_pinocchio_model()
        self._link = [link.name.endswith(robot.link) for link in body.links].index(True)
        self._tip = sapien.Pose(robot.tip[:3], robot.tip[3:])
        self._arm = np.arange(len(robot.joints)) < robot.arm
        self._target = np.array(robot.rest)

    @property
    def limits(self) -> tuple[Array, Array]:
        """See `Simulator`."""
        space = self._env.single_action_space
        return space.low.astype(np.float64), space.high.astype(np.float64)

    def reset(self, seed: int) -> Snapshot:
        """See `Simulator`."""
        self._rebuild(seed)
        snapshot = self._snapshot()
        self._target = snapshot.joints.copy()
        return snapshot

    def step(self, action: Array) -> Snapshot:
        """See `Simulator`."""
        _, reward, _, _, info = self._env.step(action.astype(np.float32))
        measures = {name: float(info[name]) for name in _MEASURES if name in info}
        return self._snapshot(success=bool(info["success"]), reward=float(reward), measures=measures)

    def frame(self) -> NDArray[np.uint8]:
        """See `Simulator`."""
        picture: NDArray[np.uint8] = self._env._get_obs_sensor_data()["front"]["rgb"][0].numpy()
        return picture.copy()

    def reach(self, command: Command) -> Array:
        """See `Simulator`."""
        half = command.yaw / 2
        down = sapien.Pose(q=[np.cos(half), 0, 0, np.sin(half)]) * sapien.Pose(q=[0, 1, 0, 0])
        place = sapien.Pose(self._robot.within_reach(command.position), down.q) * self._tip.inv()
        base = self._env.agent.robot.pose.sp
        solved, _, miss = self._kinematics.compute_inverse_kinematics(
            self._link,
            base.inv() * place,
            initial_qpos=self._target,
            active_qmask=self._arm,
            eps=1e-4,
            max_iterations=100,
        )
        if np.isfinite(solved).all() and np.abs(miss).max() < _TOLERANCE:
            self._target = np.where(self._arm, solved, self._target)
        return self._stay(command.opening)

    def shove(self, name: str, velocity: Array) -> None:
        """See `Simulator`."""
        actor = self._objects()[name]
        moved = actor.linear_velocity.clone()
        moved[0, :2] += moved.new_tensor(velocity)
        actor.set_linear_velocity(moved)

    def plan(self, seed: int) -> Array:
        """See `Simulator`.

        Raises:
            ForeactError: numpy 2, with which the planner ends the process.
        """
        if not np.__version__.startswith("1."):
            raise ForeactError(
                f"ManiSkill's planner crashes with numpy 2 (here {np.__version__}), and {self._task.name} is planned for "
                f"{self._robot.name}: make the environment that requirements/maniskill.txt tells of"
            )
        from mani_skill.examples.motionplanning.panda.solutions import solvePullCube, solvePullCubeTool

        solve = {"PullCube": solvePullCube, "PullCubeTool": solvePullCubeTool}[self._task.name]
        actions: list[Array] = []

        def step(action: Array) -> Any:
            actions.append(np.asarray(action, dtype=np.float64))
            return self._env.step(action)

        listening = SimpleNamespace(reset=self._rebuild, step=step, unwrapped=self._env)
        with contextlib.redirect_stdout(open(os.devnull, "w")):  # its planner prints
            solve(listening, seed=seed)
        return np.stack(actions or [self._stay()])  # no way found: the arm stays where it is

    def close(self) -> None:
        """See `Simulator`."""
        self._env.close()

    def _rebuild(self, seed: int) -> None:
        """A scene built anew: the physics' memory of earlier contacts would change what happens."""
        with _without_remarks():
            self._env.reset(seed=seed, options={"reconfigure": True})

    def _stay(self, opening: float = 1.0) -> Array:
        """The action that holds the latest joint targets."""
        arm = self._target[self._arm].copy()
        if self._robot.gripper is None:
            return arm
        closed, opened = self._robot.gripper
        return np.append(arm, closed + (opened - closed) * opening)

    def _objects(self) -> dict[str, Any]:
        named = {name: getattr(self._env, attribute) for name, attribute in self._task.objects.items()}
        return named or self._env.shapes

    def _snapshot(self, *, success: bool = False, **outcome: Any) -> Snapshot:
        agent = self._env.agent
        tip = agent.tcp.pose.sp
        goal = getattr(self._env, self._task.goal) if self._task.goal else None
        return Snapshot(
            joints=agent.robot.get_qpos()[0].numpy().astype(np.float64),
            tool=np.concatenate([tip.p, tip.q]).astype(np.float64),
            objects={name: _pose(thing) for name, thing in self._objects().items()},
            goal=None if goal is None else _pose(goal),
            success=success,
            **outcome,
        )


def _pose(thing: Any) -> Array:
    return np.asarray(thing.pose.raw_pose[0].numpy(), dtype=np.float64)
