"""ManiSkill's tasks as the papers film them: their camera, their arms at their place, layouts that all arms reach.

Imports ManiSkill; `simulation` is the only file that imports this one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sapien
import torch
from mani_skill.agents.registration import register_agent
from mani_skill.agents.robots.ur_e.ur_10e import UR10e
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.envs.tasks import PokeCubeEnv, PullCubeEnv, PullCubeToolEnv, PushTEnv, RollBallEnv
from mani_skill.sensors.camera import CameraConfig
from mani_skill.utils.sapien_utils import look_at
from mani_skill.utils.scene_builder.table import TableSceneBuilder
from mani_skill.utils.structs.pose import Pose

from foreact.envs.maniskill.play import FEWEST, MOST, sample_place
from foreact.envs.maniskill.robots import (
    BASE,
    EYE,
    FIELD_OF_VIEW,
    QPOS_NOISE,
    STICK,
    STICK_RADIUS,
    TARGET,
    UR10E,
    Robot,
)
from foreact.envs.maniskill.tasks import Task

POOL = 24  # shapes that exist; an episode shows some of them
_PARKED = (3.0, -0.9)  # x and z of the others: on the floor behind the camera


class _StickEnd:
    """What ManiSkill's rewards ask for the pose of the hand."""

    def __init__(self, flange: Any) -> None:
        self._flange, self._tip = flange, sapien.Pose(UR10E.tip[:3], UR10E.tip[3:])

    @property
    def pose(self) -> Pose:
        return Pose.create(self._flange.pose.sp * self._tip)


@register_agent(asset_download_ids=["ur10e"])
class UR10eStick(UR10e):
    """The UR10e with a stick on its flange."""

    uid = "ur_10e_stick"

    @property
    def _controller_configs(self) -> dict[str, Any]:
        configs = super()._controller_configs
        stiff = configs["pd_joint_delta_pos"]  # ManiSkill's absolute controller lags a tenth of a second behind
        configs["pd_joint_pos"].stiffness, configs["pd_joint_pos"].damping = stiff.stiffness, stiff.damping
        return configs

    def _after_loading_articulation(self) -> None:
        link = self.robot.links_map["wrist_3_link"]._objs[0]
        along_y = sapien.Pose([0.0, 0.1 + STICK / 2, 0.0], [0.5**0.5, 0.0, 0.0, 0.5**0.5])
        material = sapien.physx.PhysxMaterial(0.3, 0.3, 0.0)
        touch = sapien.physx.PhysxCollisionShapeCapsule(STICK_RADIUS, STICK / 2 - STICK_RADIUS, material)
        look = sapien.render.RenderShapeCylinder(
            STICK_RADIUS, STICK / 2, sapien.render.RenderMaterial(base_color=[0.15, 0.15, 0.15, 1.0])
        )
        touch.local_pose = look.local_pose = along_y
        link.attach(touch)
        body = sapien.render.RenderBodyComponent()
        body.attach(look)
        link.entity.add_component(body)

    def _after_init(self) -> None:
        self.tcp = _StickEnd(self.robot.links_map["wrist_3_link"])


class Filmed(BaseEnv):
    """What all worlds share; comes before ManiSkill's task in the order of inheritance.

    Args:
        task: its name tells the layout.
        arm: which robot, and where its task lies.
        image_size: side of the pictures, pixels.
    """

    SUPPORTED_ROBOTS = None

    def __init__(self, *, task: Task, arm: Robot, image_size: int) -> None:
        self.task, self.arm, self.image_size = task, arm, image_size
        super().__init__(
            robot_uids="ur_10e_stick" if arm.gripper is None else arm.name,
            num_envs=1,
            obs_mode="rgb",
            sim_backend="physx_cpu",
            render_backend="cpu",
            control_mode="pd_joint_pos",
            reward_mode="normalized_dense",
        )

    @property
    def _default_sensor_configs(self) -> list[Any]:
        size = self.image_size
        return [CameraConfig("front", look_at(EYE, TARGET), size, size, FIELD_OF_VIEW, 0.01, 100)]

    def get_obs(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Nothing: poses and pictures are read where they are wanted, so that planning renders none."""
        return {}

    def _initialize_episode(self, env_idx: Any, options: dict[str, Any]) -> None:
        super()._initialize_episode(env_idx, options)
        self._lay_out()
        joints = np.array(self.arm.rest)
        joints[: self.arm.arm] += self._episode_rng.normal(0.0, QPOS_NOISE, self.arm.arm)
        self.agent.reset(joints)
        self.agent.robot.set_pose(sapien.Pose(BASE))

    def _lay_out(self) -> None:
        """Bring the task to where the arm works."""
        for attribute in (*self.task.objects.values(), *([self.task.goal] if self.task.goal else [])):
            thing = getattr(self, attribute)
            p = thing.pose.p.clone()
            p[:, 0] += self.task.shift.get(self.arm.name, 0.0)
            thing.set_pose(Pose.create_from_pq(p, thing.pose.q))


class PullCube(Filmed, PullCubeEnv):
    """PullCube-v1."""


class PullCubeTool(Filmed, PullCubeToolEnv):
    """PullCubeTool-v1."""


class PokeCube(Filmed, PokeCubeEnv):
    """PokeCube-v1."""


class PushT(Filmed, PushTEnv):
    """PushT-v1, with the target in the middle of the UR10e's ground, so that the T can be pushed from all sides."""

    goal_offset = torch.tensor([0.0, 0.0])
    tee_spawnbox_yoffset = -0.15

    def _lay_out(self) -> None:
        return

    def evaluate(self) -> dict[str, Any]:
        """ManiSkill's success, and the covered share of the goal that decides on it."""
        coverage = self.pseudo_render_intersection()
        return {"success": coverage >= self.intersection_thresh, "coverage": coverage}


class RollBall(Filmed, RollBallEnv):
    """RollBall-v1, turned so that the ball rolls from the arm towards the camera."""

    def _lay_out(self) -> None:
        low, high = torch.tensor([[-0.28, -0.15], [0.12, -0.25]]), torch.tensor([[-0.18, 0.15], [0.28, 0.25]])
        places = low + torch.rand(2, 2) * (high - low)
        for thing, place in ((self.ball, places[0]), (self.goal_region, places[1])):
            p = thing.pose.p.clone()
            p[:, :2] = place
            thing.set_pose(Pose.create_from_pq(p, thing.pose.q))
        self.ball.set_linear_velocity(torch.zeros(1, 3))
        self.ball.set_angular_velocity(torch.zeros(1, 3))


class Play(Filmed):
    """A table with some of `POOL` boxes, cylinders and balls; the pool is the same in all recordings.

    Attributes:
        shapes: name -> actor and half its height, of the episode's shapes.
    """

    def _load_scene(self, options: dict[str, Any]) -> None:
        self.table_scene = TableSceneBuilder(self, robot_init_qpos_noise=QPOS_NOISE)
        self.table_scene.build()
        rng = np.random.default_rng(0)
        self._pool = {f"shape_{i:02d}": self._build_shape(f"shape_{i:02d}", rng) for i in range(POOL)}
        self.shapes: dict[str, Any] = {}

    def _build_shape(self, name: str, rng: np.random.Generator) -> tuple[Any, float]:
        builder = self.scene.create_actor_builder()
        colour = sapien.render.RenderMaterial(base_color=[*rng.uniform(0.05, 1.0, 3), 1.0])
        wide, long, tall = rng.uniform(0.015, 0.028, 3)
        kind = str(rng.choice(["box", "cylinder", "ball"], p=[0.5, 0.35, 0.15]))
        upright = sapien.Pose(q=[0.5**0.5, 0.0, 0.5**0.5, 0.0])
        if kind == "box":
            builder.add_box_collision(half_size=[wide, long, tall])
            builder.add_box_visual(half_size=[wide, long, tall], material=colour)
        elif kind == "cylinder":
            builder.add_cylinder_collision(upright, radius=wide, half_length=tall)
            builder.add_cylinder_visual(upright, radius=wide, half_length=tall, material=colour)
        else:
            tall = wide
            builder.add_sphere_collision(radius=wide)
            builder.add_sphere_visual(radius=wide, material=colour)
        builder.initial_pose = sapien.Pose([_PARKED[0], 0.0, _PARKED[1]])
        return builder.build(name=name), float(tall)

    def _initialize_episode(self, env_idx: Any, options: dict[str, Any]) -> None:
        self.table_scene.initialize(env_idx)
        super()._initialize_episode(env_idx, options)

    def _lay_out(self) -> None:
        rng = np.random.default_rng(int(self._episode_rng.randint(2**31)))
        chosen = rng.permutation(sorted(self._pool))[: int(rng.integers(FEWEST, MOST + 1))]
        places: list[np.ndarray] = []
        while len(places) < len(chosen):
            place = sample_place(rng)
            if all(np.linalg.norm(place - other) > 0.085 for other in places):
                places.append(place)
        spots = dict(zip(map(str, chosen), places, strict=True))
        for i, (name, (actor, tall)) in enumerate(self._pool.items()):
            yaw = rng.uniform(-np.pi, np.pi)
            parked = [_PARKED[0], 0.2 * i, _PARKED[1] + tall]
            p = [*spots[name], tall] if name in spots else parked
            actor.set_pose(sapien.Pose(p, [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]))
            actor.set_linear_velocity(torch.zeros(1, 3))
            actor.set_angular_velocity(torch.zeros(1, 3))
        self.shapes = {name: self._pool[name][0] for name in sorted(spots)}

    def evaluate(self) -> dict[str, Any]:
        """Play has no aim."""
        return {"success": torch.zeros(1, dtype=torch.bool)}

    def compute_normalized_dense_reward(self, obs: Any, action: Any, info: dict[str, Any]) -> torch.Tensor:
        """Nor a reward."""
        return torch.zeros(1)


WORLDS: dict[str, type[Filmed]] = {
    "PullCube": PullCube,
    "PullCubeTool": PullCubeTool,
    "PokeCube": PokeCube,
    "RollBall": RollBall,
    "PushT": PushT,
    "Play": Play,
}
