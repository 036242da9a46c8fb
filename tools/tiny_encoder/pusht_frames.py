"""Push-T pictures at random poses, drawn by gym-pusht without stepping it; colours as they are or randomised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foreact.envs.pusht.look import WINDOW, Colour, PushTLook
from foreact.envs.pusht.recording import make_pusht


def draw_pusht(
    count: int, rng: np.random.Generator, *, size: int = 128, recolour: bool = False
) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float64]]]:
    """Push-T frames with agent and block at random poses.

    Args:
        count: number of frames.
        rng: source of the poses and colours.
        size: side of the frames in pixels.
        recolour: random colours, random goal pose, noise; otherwise the simulator's own look.

    Returns:
        Frames uint8 (count, size, size, 3) and labels: agent_xy and object_xy (count, 2), the middle of the block's
        bounding corners, in frame pixels, and object_angle (count, 1) in radians.

    Raises:
        ForeactError: gym-pusht is not installed.
    """
    env = make_pusht(size)
    env.reset(seed=0)
    frames = np.empty((count, size, size, 3), np.uint8)
    poses = np.empty((count, 5))
    for index in range(count):
        agent, block, angle = rng.uniform(30, 480, 2), rng.uniform(90, 420, 2), rng.uniform(-np.pi, np.pi)
        env.agent.position = agent.tolist()
        env.block.angle = float(angle)
        env.block.position = block.tolist()
        for body in (env.agent, env.block):
            env.space.reindex_shapes_for_body(body)
        poses[index] = [*agent, *np.mean(env.get_keypoints(env._block_shapes), axis=0), angle]
        if recolour:
            env.look = _random_look(rng)
            env.goal_pose = np.array([*rng.uniform(100, 412, 2), rng.uniform(-np.pi, np.pi)])
        frames[index] = env._get_img(env._draw(), size, size)
        if recolour and rng.random() < 0.4:
            noise = rng.normal(0, rng.uniform(1, 8), (size, size, 1))
            frames[index] = np.clip(frames[index] + noise, 0, 255)
    scale = size / WINDOW
    labels = {"agent_xy": poses[:, :2] * scale, "object_xy": poses[:, 2:4] * scale, "object_angle": poses[:, 4:]}
    return frames, labels


def _random_look(rng: np.random.Generator) -> PushTLook:
    def colour(pale: float) -> Colour:
        value = rng.integers(20, 256, 3)
        if rng.random() < pale:
            value = np.clip(rng.integers(120, 256) + rng.integers(-20, 21, 3), 0, 255)
        return int(value[0]), int(value[1]), int(value[2])

    return PushTLook(
        background=colour(0.6),
        walls=colour(0.3),
        goal=colour(0.2),
        block=colour(0.3),
        agent=colour(0.3),
        goal_shown=bool(rng.random() < 0.85),
    )
