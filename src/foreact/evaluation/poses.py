"""What the state probe is asked for: object and agent poses, found in a dataset's columns.

Push-T: block and agent in pixels of the simulator's 512 x 512 window, whatever the size of the recorded pictures.
ManiSkill's arms, seen by the papers' camera: object and hand in pixels of the recorded picture, by projection.
Other datasets with an object pose: its position in millimetres. Any other float column can be named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from foreact.core.errors import ForeactError
from foreact.data.lerobot import STATE, LeRobotDataset
from foreact.envs.maniskill.robots import BASE, EYE, FIELD_OF_VIEW, ROBOTS, TARGET

Unit = Literal["px", "deg", "mm", ""]

OBJECT_POSE = "observation.object_pose"
TOOL_POSE = "observation.tcp_pose"
SYMMETRIES = {"cube": np.pi / 2, "T-shaped block": 2 * np.pi}
"""What tasks call their object: after how many radians it looks the same."""
POSE = ["x", "y", "z", "qw", "qx", "qy", "qz"]
PUSHT_BLOCK = "observation.environment_state"


@dataclass(frozen=True, kw_only=True)
class PoseTarget:
    """Something to be read from tokens.

    Attributes:
        name: of the thing, the metric's first word.
        unit: of its error; angles are in degrees.
        read: (dataset, episode) -> (T, D) positions in `unit`, or (T, 1) angles in radians.
        period: after how many radians an angle looks the same; None for what is no angle.
        about: one sentence for the report: from which columns, in which unit.
        side: width and height of the picture in `unit`, where the pose is a place (x to the right, y down) in it; else None.
    """

    name: str
    unit: Unit
    read: Callable[[LeRobotDataset, int], np.ndarray]
    period: float | None = None
    about: str
    side: float | None = None

    @property
    def metric(self) -> str:
        """`block_error_px` and the like."""
        return f"{self.name}_error_{self.unit}" if self.unit else f"{self.name}_error"

    def poses(self, dataset: LeRobotDataset, episode: int) -> np.ndarray:
        """True poses (T, D) of an episode.

        Raises:
            ForeactError: some are NaN or infinite.
        """
        poses = self.read(dataset, episode)
        bad = np.flatnonzero(~np.isfinite(poses).all(axis=1))
        if len(bad):
            raise ForeactError(
                f"{dataset.root}: episode {episode}, frame {bad[0]}: the pose of the {self.name} is NaN or infinite; "
                "repair or drop the episode"
            )
        return poses


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera for square pictures.

    Attributes:
        eye: its place, metres.
        target: the point in the middle of the picture, metres.
        field_of_view: vertical, radians.
    """

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    field_of_view: float

    def project(self, points: np.ndarray, size: int) -> np.ndarray:
        """World points (..., 3) in metres, z up -> pixels (..., 2) as (x to the right, y down)."""
        forward = np.subtract(self.target, self.eye)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right = right / np.linalg.norm(right)
        down = np.cross(forward, right)
        ray = points - np.asarray(self.eye)
        focal = size / 2 / np.tan(self.field_of_view / 2)
        plane = np.stack([ray @ right, ray @ down], axis=-1)
        return size / 2 + focal * plane / (ray @ forward)[..., None]


CAMERAS = {
    "maniskill-front-lower": Camera(eye=EYE, target=TARGET, field_of_view=FIELD_OF_VIEW),
}
"""`maniskill-front-lower` is the papers' camera; checked against recordings by drawing the projected poses."""


def find_poses(dataset: LeRobotDataset, *, columns: Sequence[str] = ()) -> tuple[PoseTarget, ...]:
    """The poses that a dataset's columns give.

    Args:
        dataset: to be evaluated.
        columns: further float columns to be read as vectors in their own units.

    Raises:
        ForeactError: a column that does not exist or holds no numbers.
    """
    found = [*_pusht(dataset), *_object_pose(dataset)]
    for column in columns:
        dtype = dataset.features.get(column, {}).get("dtype", "missing")
        if not dtype.startswith("float"):
            floats = [k for k, f in dataset.features.items() if str(f.get("dtype")).startswith("float")]
            raise ForeactError(f"{dataset.root}: column {column!r} is {dtype}; float columns are {sorted(floats)}")
        name = column.removeprefix("observation.").replace(".", "_")
        about = f"{name}: column {column}, Euclidean distance in its own units"
        found.append(PoseTarget(name=name, unit="", read=_reader(column), about=about))
    return tuple(found)


def pose_errors(predicted: np.ndarray, truth: np.ndarray, period: float | None) -> np.ndarray:
    """Euclidean distance, or the smallest turn in degrees that looks right: two (..., D) -> (...)."""
    difference = predicted - truth
    if period is None:
        return np.linalg.norm(difference, axis=-1)
    turn = (difference[..., 0] + period / 2) % period - period / 2
    return np.degrees(np.abs(turn))


def panda_hand(joints: np.ndarray) -> np.ndarray:
    """Where the Panda's fingertips are, (..., 3) metres from the middle of its base, for (..., >= 7) joint angles.

    Modified Denavit-Hartenberg parameters of the maker's data sheet; the fingertips are 0.2104 m beyond joint 7.
    """
    lengths = ((0, 0.333), (0, 0), (0, 0.316), (0.0825, 0), (-0.0825, 0.384), (0, 0), (0.088, 0.2104))
    twists = np.array([0, -1, 1, 1, -1, 1, 1]) * np.pi / 2
    pose = np.broadcast_to(np.eye(4), (*joints.shape[:-1], 4, 4))
    for joint, ((a, d), twist) in enumerate(zip(lengths, twists, strict=True)):
        ct, st = np.cos(joints[..., joint]), np.sin(joints[..., joint])
        ca, sa = np.cos(twist), np.sin(twist)
        zero = np.zeros_like(ct)
        step = [
            [ct, -st, zero, zero + a],
            [st * ca, ct * ca, zero - sa, zero - d * sa],
            [st * sa, ct * sa, zero + ca, zero + d * ca],
            [zero, zero, zero, zero + 1],
        ]
        pose = pose @ np.moveaxis(np.array(step), (0, 1), (-2, -1))
    return pose[..., :3, 3]


def yaw(quaternion: np.ndarray) -> np.ndarray:
    """Turn about the vertical, (..., 1) radians, of quaternions (..., 4) as (w, x, y, z)."""
    w, x, y, z = np.moveaxis(np.asarray(quaternion, dtype=np.float64), -1, 0)
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))[..., None]


def _pusht(dataset: LeRobotDataset) -> list[PoseTarget]:
    if _names(dataset, PUSHT_BLOCK) != ["block_x", "block_y", "block_angle"]:
        return []
    window = "pixels of the simulator's 512 x 512 window"
    targets = [
        PoseTarget(name="block", unit="px", read=_reader(PUSHT_BLOCK, slice(0, 2)), about=f"block: {window}", side=512),
        PoseTarget(
            name="block",
            unit="deg",
            read=_reader(PUSHT_BLOCK, slice(2, 3)),
            period=2 * np.pi,
            about="block: turn in the plane",
        ),
    ]
    if _names(dataset, STATE) == ["agent_x", "agent_y"]:
        targets.append(PoseTarget(name="agent", unit="px", read=_reader(STATE), about=f"agent: {window}", side=512))
    return targets


def _object_pose(dataset: LeRobotDataset) -> list[PoseTarget]:
    if _names(dataset, OBJECT_POSE) != POSE:
        return []
    turn = _turn(dataset)
    height, width = dataset.image_shape
    hand_in_space = _hand(dataset)
    if hand_in_space is None or not (dataset.camera.endswith("front") and height == width):
        position = PoseTarget(
            name="block",
            unit="mm",
            read=lambda data, episode: 1000 * data.column(OBJECT_POSE, episode)[:, :3],
            about=f"block: column {OBJECT_POSE}, in space",
        )
        return [position, *turn]
    camera = CAMERAS["maniskill-front-lower"]

    def block(data: LeRobotDataset, episode: int) -> np.ndarray:
        return camera.project(data.column(OBJECT_POSE, episode)[:, :3].astype(np.float64), height)

    def hand(data: LeRobotDataset, episode: int) -> np.ndarray:
        return camera.project(hand_in_space(data, episode), height)

    picture = f"pixels of the {width} x {height} picture, projected through the camera maniskill-front-lower"
    return [
        PoseTarget(name="block", unit="px", read=block, about=f"block: object pose in {picture}", side=height),
        *turn,
        PoseTarget(name="agent", unit="px", read=hand, about=f"agent: fingertips in {picture}", side=height),
    ]


def _turn(dataset: LeRobotDataset) -> list[PoseTarget]:
    """The object's turn, where every task names an object whose symmetry is known: nobody sees a ball's."""
    tasks, read = {episode.task for episode in dataset.episodes}, _reader(OBJECT_POSE, slice(3, 7))
    for word, period in SYMMETRIES.items():
        if tasks and all(word in task for task in tasks):
            about = f"block: turn about the vertical; a {word} looks alike every {np.degrees(period):.0f} degrees"
            return [PoseTarget(name="block", unit="deg", read=lambda d, e: yaw(read(d, e)), period=period, about=about)]
    return []


def _hand(dataset: LeRobotDataset) -> Callable[[LeRobotDataset, int], np.ndarray] | None:
    """Where the hand of one of ManiSkill's arms is, (T, 3) metres in the world; None for other robots."""
    if dataset.robot_type in ROBOTS and _names(dataset, TOOL_POSE) == POSE:
        return _reader(TOOL_POSE, slice(0, 3))
    if dataset.robot_type == "panda" and _names(dataset, STATE)[:1] == ["panda_joint1"]:
        joints = _reader(STATE)
        return lambda data, episode: np.array(BASE) + panda_hand(joints(data, episode))
    return None


def _names(dataset: LeRobotDataset, column: str) -> list[str]:
    names = dataset.features.get(column, {}).get("names") or []
    return [str(n) for n in names] if isinstance(names, list) else []


def _reader(column: str, dims: slice = slice(None)) -> Callable[[LeRobotDataset, int], np.ndarray]:
    return lambda dataset, episode: np.asarray(dataset.column(column, episode)[:, dims], dtype=np.float64)
