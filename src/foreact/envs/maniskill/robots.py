"""The arms of the papers, as data: joints, controllers, the place they stand at and the camera that sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from foreact.envs.maniskill.contract import Array

RobotName = Literal["panda", "xarm6_robotiq", "ur_10e"]

BASE = (-0.615, 0.0, 0.0)  # where all arms stand, metres, as in the papers
EYE, TARGET, FIELD_OF_VIEW = (0.8, 0.0, 0.6), (-0.048, 0.0, 0.07), 1.0  # the papers' front lower camera
QPOS_NOISE = 0.02  # of the first joint positions, radians, as in the papers


@dataclass(frozen=True, kw_only=True)
class Robot:
    """An arm.

    Attributes:
        name: as on the command line and in the dataset.
        joints: names of all joints, in the simulator's order; the arm's come first.
        arm: how many of them the arm has.
        rest: joint positions (J,) in which an episode begins, the hand above the table.
        gripper: action values for closed and open; None for a stick.
        link: the link whose pose the inverse kinematics solves for.
        tip: pose (7,) of the hand's tip, z axis out of it, in that link.
        reach: nearest and farthest place of the hand, metres from the base, at which it can work on the table.
        assets: folder of its files among ManiSkill's downloaded assets; None where they come with the package.
    """

    name: RobotName
    joints: tuple[str, ...]
    arm: int
    rest: tuple[float, ...]
    gripper: tuple[float, float] | None
    link: str
    tip: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    reach: tuple[float, float]
    assets: str | None = None

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of an action's dimensions: absolute joint targets, then the gripper."""
        return self.joints[: self.arm] + (("gripper",) if self.gripper else ())

    def within_reach(self, position: Array) -> Array:
        """The nearest place (3,) to `position` at which the hand can work."""
        way = position[:2] - np.array(BASE[:2])
        distance = max(float(np.linalg.norm(way)), 1e-9)
        near = np.array(BASE[:2]) + way * (np.clip(distance, *self.reach) / distance)
        return np.append(near, position[2])


PANDA = Robot(
    name="panda",
    joints=(*(f"panda_joint{i}" for i in range(1, 8)), "finger1", "finger2"),
    arm=7,
    rest=(0.0, np.pi / 8, 0.0, -np.pi * 5 / 8, 0.0, np.pi * 3 / 4, np.pi / 4, 0.04, 0.04),
    gripper=(-1.0, 1.0),
    link="panda_hand_tcp",
    reach=(0.3, 0.76),
)
XARM6 = Robot(
    name="xarm6_robotiq",
    joints=(
        *(f"joint{i}" for i in range(1, 7)),
        "left_outer_knuckle_joint",
        "left_inner_knuckle_joint",
        "right_outer_knuckle_joint",
        "right_inner_knuckle_joint",
        "left_inner_finger_joint",
        "right_inner_finger_joint",
    ),
    arm=6,
    rest=(0.0, 0.22, -1.23, 0.0, 1.01, 0.0, *(0.0,) * 6),
    gripper=(0.81, 0.0),
    link="eef",
    reach=(0.25, 0.64),
    assets="xarm6",
)
STICK, STICK_RADIUS = 0.2, 0.012  # length of the UR10e's stick from its flange and its radius, metres
UR10E = Robot(
    name="ur_10e",
    joints=(
        "shoulder_pan_joint",
        "shoulder_lift_joint",
        "elbow_joint",
        "wrist_1_joint",
        "wrist_2_joint",
        "wrist_3_joint",
    ),
    arm=6,
    rest=(-2.003, -2.016, 2.439, -1.994, -1.571, -0.433),
    gripper=None,
    link="wrist_3_link",
    tip=(0.0, 0.1 + STICK, 0.0, 0.5, -0.5, -0.5, -0.5),
    reach=(0.28, 1.05),
    assets="ur10e",
)
ROBOTS: dict[str, Robot] = {robot.name: robot for robot in (PANDA, XARM6, UR10E)}
