"""Random scenes in motion, as recordings: an arm or a pusher wanders, and what it passes moves with it.

    python -m tools.systems.moving_scenes --out data/scenes --episodes 400 --seed 7100

Nothing here is physics. The pictures are for models of what changes in a picture, which should have seen more than three simulators.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foreact.core.progress import progress_bar
from foreact.data.writer import LeRobotWriter
from tools.tiny_encoder.scene_drawing import Prism
from tools.tiny_encoder.scenes import Scene, draw_scene, sample_scene, shift

SIDE, LENGTH, FPS = 128, 40, 10
_REACH, _EDGE = 0.22, 0.85


def film(rng: np.random.Generator) -> NDArray[np.uint8]:
    """One scene in motion, uint8 (LENGTH, SIDE, SIDE, 3)."""
    scene = sample_scene(rng, objects=(1, 4))
    return np.stack([draw_scene(still, SIDE) for still in _move(scene, rng)])


def _move(scene: Scene, rng: np.random.Generator) -> Iterator[Scene]:
    """The scene in LENGTH moments: the hand goes from aim to aim and carries along what lies within its reach."""
    hand = np.array(scene.joints[-1][:2])
    finger, speed, aim = scene.finger, rng.uniform(0.03, 0.1), hand
    for _ in range(LENGTH):
        yield scene
        if np.linalg.norm(aim - hand) < speed:
            aim = _aim(scene, rng)
        step = np.clip(aim - hand, -speed, speed)
        hand = np.clip(hand + step, -_EDGE, _EDGE)
        finger += rng.normal(0, 0.08)
        scene = dataclasses.replace(
            scene,
            joints=shift(scene.joints, hand - np.array(scene.joints[-1][:2])),
            finger=float(finger),
            objects=tuple(_pushed(body, hand, step, rng) for body in scene.objects),
        )


def _aim(scene: Scene, rng: np.random.Generator) -> NDArray[np.float64]:
    """Where the hand goes next: as often to an object as anywhere."""
    if rng.random() < 0.5:
        return np.array(scene.objects[int(rng.integers(len(scene.objects)))].position)
    return rng.uniform(-0.8, 0.8, 2)


def _pushed(body: Prism, hand: NDArray[np.float64], step: NDArray[np.float64], rng: np.random.Generator) -> Prism:
    place = np.array(body.position)
    if np.linalg.norm(place - hand) > _REACH:
        return body
    x, y = np.clip(place + step, -_EDGE, _EDGE)
    turned = body.angle + rng.normal(0, 3.0) * float(np.linalg.norm(step))
    return dataclasses.replace(body, position=(float(x), float(y)), angle=math.remainder(turned, 2 * math.pi))


def main() -> None:
    """Record films."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--seed", type=int, required=True)
    asked = parser.parse_args()
    camera = {"front": (SIDE, SIDE)}
    with (
        LeRobotWriter(asked.out, fps=FPS, cameras=camera, columns={}, robot_type="drawn") as writer,
        progress_bar("record scenes", "episodes") as tell,
    ):
        for number in range(writer.episodes_written, asked.episodes):
            frames = film(np.random.default_rng((asked.seed, number)))
            writer.add_episode({"front": frames}, {}, task="move")
            tell(number + 1, asked.episodes)


if __name__ == "__main__":
    main()
