"""Push-T (gym-pusht): recording episodes of a scripted pusher as a LeRobot dataset."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from foreact.core.errors import ForeactError
from foreact.envs.block import Array, centre_of
from foreact.envs.pusher import ORBIT, ScriptedPusher
from foreact.envs.pusht.look import DEFAULT, LOOKS, PushTLook
from foreact.envs.recording import OnRecorded, Recorded, Studio

if TYPE_CHECKING:
    from foreact.envs.pusht.simulation import PushT

LookName = Literal["default", "unseen"]

CAMERA = "observation.images.top"
FPS = 10
COLUMNS = {
    "observation.state": ("agent_x", "agent_y"),
    "observation.environment_state": ("block_x", "block_y", "block_angle"),
    "action": ("target_x", "target_y"),
}
TASKS = {
    "goal": "push the T-shaped block onto the green target",
    "push": "push the T-shaped block around",
    "play": "play around the T-shaped block",
}
SHORTEST, LONGEST = 50, 70  # frames; a 30-step rollout and a choice of starts fit


def collect_pusht(
    out: str | Path,
    *,
    episodes: int,
    seed: int,
    image_size: int = 128,
    max_steps: int = LONGEST,
    look: LookName = "default",
    workers: int = 1,
    on_progress: OnRecorded | None = None,
) -> None:
    """Record `episodes` Push-T episodes of 50 to `max_steps` frames at 10 frames/s as a LeRobot dataset.

    Each episode depends on `seed` and its number alone: an interrupted call, made again, ends with the same dataset, and a
    finished one is left as it is. Positions are window pixels (512 x 512), angles radians; an action is the agent's target.

    Args:
        out: the dataset's folder.
        image_size: side of the square frames in pixels.
        look: "unseen" has other colours and an L for a block.
        workers: processes that simulate; with more than one, a script needs `if __name__ == "__main__":`.
        on_progress: called with (episodes recorded, episodes).

    Raises:
        ForeactError: the `pusht` extra is missing, or `out` holds another recording.
    """
    if episodes < 1 or max_steps < 2 or image_size < 16:
        raise ForeactError(
            f"cannot record {episodes} episodes of {max_steps} steps at {image_size} pixels: needs at least 1, 2 and 16"
        )
    make_pusht(image_size)  # says what is missing, before anything is written
    studio = Studio(
        recipe={"env": "pusht", "seed": seed, "image_size": image_size, "max_steps": max_steps, "look": look},
        cameras={CAMERA: (image_size, image_size)},
        fps=FPS,
        columns=COLUMNS,
        robot_type="pusht",
    )
    record = partial(_record_numbered, look, image_size, seed, max_steps)
    studio.record(Path(out), episodes, record, workers=workers, on_progress=on_progress)


def make_pusht(image_size: int, look: PushTLook = DEFAULT, *, draws: bool = True) -> PushT:
    """A `gym_pusht` environment whose observations are frames of `image_size` x `image_size` pixels.

    Without `draws` they are None, and a frame is drawn by `picture` when it is asked for.

    Raises:
        ForeactError: gym-pusht is not installed, or its OpenCV wants a system library that is missing.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        from foreact.envs.pusht.simulation import PushT
    except ModuleNotFoundError as error:
        raise ForeactError(f"Push-T needs {error.name}: pip install 'foreact[pusht]'") from error
    except ImportError as error:
        raise ForeactError(
            f"OpenCV does not load ({error}); the build that needs no system library mends it: "
            "pip uninstall -y opencv-python && pip install --force-reinstall --no-deps opencv-python-headless"
        ) from error
    return PushT(image_size, look, draws=draws)


def record_episode(env: PushT, rng: np.random.Generator, max_steps: int) -> Recorded:
    """Frames (T, H, W, 3) uint8, columns {name: (T, D) float32} and the task of one episode."""
    length = int(rng.integers(min(SHORTEST, max_steps), max_steps + 1))
    frame, info = env.reset(options={"reset_to_state": _initial_state(rng)})
    agent, block = info["pos_agent"], info["block_pose"]
    pusher = ScriptedPusher(rng, agent, info["goal_pose"], boxes=env.look.boxes)
    frames, rows = [], []
    for _ in range(length):
        action = pusher.act(agent, block)
        frames.append(frame)
        rows.append((agent, block, action))
        frame, _, _, _, info = env.step(action)
        agent, block = info["pos_agent"], info["block_pose"]
    columns = [np.asarray(column, dtype=np.float32) for column in zip(*rows, strict=True)]
    return np.stack(frames), dict(zip(COLUMNS, columns, strict=True)), TASKS[pusher.manner]


def _record_numbered(look: LookName, image_size: int, seed: int, max_steps: int, index: int) -> Recorded:
    return record_episode(make_pusht(image_size, LOOKS[look]), np.random.default_rng((seed, index)), max_steps)


def _initial_state(rng: np.random.Generator) -> Array:
    """Agent (x, y) and block (x, y, angle), the agent clear of the block."""
    while True:
        agent, block = rng.uniform(50, 450, 2), np.append(rng.uniform(130, 380, 2), rng.uniform(-np.pi, np.pi))
        if np.linalg.norm(agent - centre_of(block)) > ORBIT:
            return np.concatenate([agent, block])
