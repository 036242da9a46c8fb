"""Visually randomised tabletop scenes with a robot arm or a disc pusher: pictures to train and probe encoders on.

A scene is plain data, drawn by `scene_drawing`. World units: the table spans about [-1, 1] x [-1, 1] at z = 0.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.tiny_encoder.scene_drawing import Camera, Look, Prism, draw

_T = (
    ((-0.5, 0.25), (0.5, 0.25), (0.5, 0.5), (-0.5, 0.5)),
    ((-0.125, -0.5), (0.125, -0.5), (0.125, 0.25), (-0.125, 0.25)),
)
_L = ((-0.4, -0.5), (-0.1, -0.5), (-0.1, 0.5), (-0.4, 0.5)), ((-0.1, -0.5), (0.4, -0.5), (0.4, -0.2), (-0.1, -0.2))
_BOX = (((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)),)
_TRIANGLE = (((-0.4, -0.35), (0.4, -0.35), (0.0, 0.65)),)
_DISC = (tuple((0.5 * math.cos(a), 0.5 * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 17)[:-1]),)
Joints = tuple[tuple[float, float, float], ...]
SHAPES = {"T": _T, "L": _L, "box": _BOX, "bar": _BOX, "disc": _DISC, "triangle": _TRIANGLE}
ORIENTED = ("T", "L")  # shapes whose angle is unambiguous: the first object of a scene is always one of them


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that a picture shows; `draw_scene` turns it into pixels.

    Attributes:
        objects: primitives on the table; the first is a T or an L, whose position and angle are labels.
        decals: flat marks on the table (targets).
        joints: the arm's joints (J, 3) from base to wrist, or the pusher's centre (1, 3).
        thickness: radius of the arm's links or of the pusher.
        finger: direction of the gripper's opening, in radians.
        noise_seed: seed of textures and sensor noise.
    """

    camera: Camera
    look: Look
    objects: tuple[Prism, ...]
    decals: tuple[Prism, ...]
    joints: Joints
    thickness: float
    finger: float
    noise_seed: int


def sample_scene(
    rng: np.random.Generator, *, objects: tuple[int, int] = (1, 6), decals: tuple[int, int] = (0, 2)
) -> Scene:
    """A random scene with numbers of objects and of flat marks in the inclusive ranges `objects` and `decals`."""
    count = int(rng.integers(objects[0], objects[1] + 1))
    scale = rng.uniform(0.5, 1.3)
    first = _sample_object(rng, str(rng.choice(ORIENTED)), scale)
    rest = [_sample_object(rng, str(rng.choice(list(SHAPES))), scale) for _ in range(count - 1)]
    marks = [
        dataclasses.replace(_sample_object(rng, str(rng.choice(list(SHAPES))), 1.5), height=0.0)
        for _ in range(int(rng.integers(decals[0], decals[1] + 1)))
    ]
    arm = rng.random() < 0.6
    return Scene(
        camera=_sample_camera(rng),
        look=_sample_look(rng),
        objects=(first, *rest),
        decals=tuple(marks),
        joints=_sample_arm(rng) if arm else ((*_position(rng), rng.uniform(0.02, 0.2)),),
        thickness=rng.uniform(0.04, 0.11) if arm else rng.uniform(0.04, 0.09),
        finger=rng.uniform(0, math.pi),
        noise_seed=int(rng.integers(2**31)),
    )


def draw_scene(scene: Scene, size: int) -> NDArray[np.uint8]:
    """The scene as uint8 (size, size, 3)."""
    body = scene.objects
    return draw(
        camera=scene.camera, look=scene.look, objects=body, decals=scene.decals, joints=np.array(scene.joints),
        thickness=scene.thickness, finger=scene.finger, seed=scene.noise_seed, size=size,
    )  # fmt: skip


def scene_labels(scene: Scene, size: int) -> dict[str, NDArray[np.float64]]:
    """What probes ask for, in pixels of a picture of `size` and radians.

    Returns:
        agent_xy (2,), object_xy (2,) and object_angle (1,) of the first object: the angle of its x axis in the picture.
    """
    first = scene.objects[0]
    centre = np.array([*first.position, first.height])
    axis = 0.05 * np.array([math.cos(first.angle), math.sin(first.angle), 0.0])
    points = np.stack([np.array(scene.joints[-1]), centre, centre + axis])
    xy, _ = scene.camera.project(points, size)
    direction = xy[2] - xy[1]
    return {
        "agent_xy": xy[0],
        "object_xy": xy[1],
        "object_angle": np.array([math.atan2(direction[1], direction[0])]),
    }


def draw_scenes(
    count: int, rng: np.random.Generator, *, size: int = 128
) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float64]]]:
    """Independent random frames uint8 (count, size, size, 3) and their stacked labels (see `scene_labels`)."""
    return _draw_all([sample_scene(rng) for _ in range(count)], size)


def draw_probe_scenes(
    count: int, rng: np.random.Generator, *, size: int = 128
) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float64]]]:
    """As `draw_scenes`, of one random scene whose arm and single object are put to random places in sight."""
    base = sample_scene(rng, objects=(1, 1), decals=(0, 0))
    scenes: list[Scene] = []
    while len(scenes) < count:
        x, y = _position(rng)
        body = dataclasses.replace(base.objects[0], position=(x, y), angle=float(rng.uniform(-math.pi, math.pi)))
        scene = dataclasses.replace(
            base, objects=(body,), joints=shift(base.joints, np.array(_position(rng)) - base.joints[-1][:2])
        )
        labels = scene_labels(scene, size)
        places = np.concatenate([labels["agent_xy"], labels["object_xy"]])
        if places.min() >= 0 and places.max() < size:
            scenes.append(scene)
    return _draw_all(scenes, size)


def _draw_all(scenes: list[Scene], size: int) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float64]]]:
    labels = [scene_labels(scene, size) for scene in scenes]
    return np.stack([draw_scene(s, size) for s in scenes]), {k: np.stack([x[k] for x in labels]) for k in labels[0]}


def shift(joints: Joints, by_2: NDArray[np.float64]) -> Joints:
    """The same arm with its wrist moved over the table, its base in place; or the pusher moved."""
    moved = np.array(joints)
    reach = np.linspace(0, 1, len(joints))[:, None] if len(joints) > 1 else np.ones((1, 1))
    moved[:, :2] += reach * by_2
    return tuple((float(x), float(y), float(z)) for x, y, z in moved)


def _position(rng: np.random.Generator) -> tuple[float, float]:
    x, y = rng.uniform(-0.8, 0.8, 2)
    return float(x), float(y)


def _sample_object(rng: np.random.Generator, shape: str, scale: float) -> Prism:
    size = scale * float(np.exp(rng.uniform(np.log(0.12), np.log(0.6))))
    stretch = (1.0, rng.uniform(0.1, 0.35)) if shape == "bar" else (1.0, 1.0)
    parts = tuple(tuple((size * x * stretch[0], size * y * stretch[1]) for x, y in part) for part in SHAPES[shape])
    return Prism(
        parts=parts,
        position=_position(rng),
        angle=float(rng.uniform(-math.pi, math.pi)),
        height=float(rng.uniform(0.03, 0.25) * min(1.0, 2 * size)),
        colour=_colour(rng),
    )


def _sample_arm(rng: np.random.Generator) -> Joints:
    """Joints from a base at the table's rim (often out of sight) to a wrist above the table, arched upwards."""
    links = int(rng.integers(2, 5))
    side = rng.choice([0.0, 0.0, math.pi / 2, -math.pi / 2]) + rng.normal(0, 0.3)
    base = rng.uniform(0.8, 1.8) * np.array([math.sin(side), math.cos(side)])
    wrist = np.array(_position(rng))
    steps = np.linspace(0, 1, links + 1)[:, None]
    ground = base + steps * (wrist - base)
    ground[1:-1] += rng.normal(0, 0.12, (links - 1, 2))
    low, high = rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.9)
    heights = (1 - steps) * rng.uniform(0.0, 0.3) + steps * low + high * np.sin(math.pi * steps**0.7)
    return tuple((float(x), float(y), float(z)) for (x, y), z in zip(ground, heights[:, 0]))


def _sample_camera(rng: np.random.Generator) -> Camera:
    top = rng.random() < 0.45
    return Camera(
        elevation=math.pi / 2 if top else float(rng.uniform(0.35, 1.1)),
        azimuth=float(rng.normal(0, 0.05 if top else 0.3)),
        distance=float(rng.uniform(2.2, 3.2) if not top else rng.uniform(3.5, 7.0)),
        focal=float(rng.uniform(0.9, 1.3) if not top else rng.uniform(0.95, 1.05)),
        aim=(float(rng.normal(0, 0.06)), float(rng.normal(0, 0.06))),
    )


def _sample_look(rng: np.random.Generator) -> Look:
    azimuth = rng.uniform(-math.pi, math.pi)
    if rng.random() < 0.5:
        robot = _colour(rng)
    else:
        grey = float(rng.uniform(0.1, 0.95))
        robot = (grey, grey, grey)
    return Look(
        table=_colour(rng, pale=0.5),
        wall=_colour(rng, pale=0.5),
        robot=robot,
        pattern=str(rng.choice(["plain", "plain", "grain", "grain", "checker", "noise"])),
        texture=float(rng.uniform(0.0, 0.25)),
        light=(math.cos(azimuth), math.sin(azimuth), float(rng.uniform(0.7, 2.0))),
        ambient=float(rng.uniform(0.35, 0.8)),
        shadow=float(rng.uniform(0.0, 0.6)),
        gradient=float(rng.uniform(0.0, 0.35)),
        noise=float(rng.choice([0.0, rng.uniform(0.0, 0.03)])),
        blur=float(rng.choice([0.0, 0.0, rng.uniform(0.2, 0.7)])),
        outline=bool(rng.random() < 0.25),
    )


def _colour(rng: np.random.Generator, *, pale: float = 0.15) -> tuple[float, float, float]:
    """A random colour in [0, 1]; with probability `pale` an unsaturated one."""
    value = rng.uniform(0.08, 1.0, 3)
    if rng.random() < pale:
        value = rng.uniform(0.15, 1.0) + 0.25 * (value - value.mean())
    r, g, b = np.clip(value, 0, 1)
    return float(r), float(g), float(b)
