"""Recording ManiSkill's tasks as LeRobot datasets."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from foreact.core.errors import ForeactError
from foreact.envs.maniskill.contract import Simulator
from foreact.envs.maniskill.episode import columns_of, record_episode
from foreact.envs.maniskill.robots import Robot
from foreact.envs.maniskill.tasks import Task, choose
from foreact.envs.recording import OnRecorded, Recorded, Studio

CAMERA = "observation.images.front"
FPS = 20  # ManiSkill's rate of control
_NO_VULKAN = ("vk::", "supported physical device")  # in what its renderer says without a driver, and with one too old
Maker = Callable[[str, str, int], Simulator]
"""Task, robot, image size -> simulator; a function of a module, so that worker processes find it."""


def make_maniskill(task: str, robot: str, image_size: int) -> Simulator:
    """ManiSkill's world for a task and a robot.

    Raises:
        ForeactError: ManiSkill is not installed, does not load or finds no Vulkan, or the robot's files are not there.
    """
    try:
        from foreact.envs.maniskill import simulation
    except ImportError as error:
        raise ForeactError(
            f"ManiSkill does not load ({error}): it wants an environment of its own, "
            "which requirements/maniskill.txt tells how to make"
        ) from error
    chosen, arm = choose(task, robot)
    simulation.require_assets(arm)
    try:
        return simulation.ManiSkill(chosen, arm, image_size)
    except RuntimeError as error:
        if not any(word in str(error) for word in _NO_VULKAN):
            raise
        raise ForeactError(
            f"ManiSkill cannot draw ({error}): it needs a Vulkan driver, on a CPU that of Mesa 25 or newer (Debian 12: "
            "mesa-vulkan-drivers and libvulkan1 of bookworm-backports)"
        ) from error


def collect_maniskill(
    out: str | Path,
    *,
    task: str,
    robot: str,
    episodes: int,
    seed: int,
    image_size: int = 128,
    uncertain: bool = False,
    workers: int = 1,
    on_progress: OnRecorded | None = None,
    make: Maker = make_maniskill,
) -> None:
    """Record `episodes` of a task at 20 frames/s as a LeRobot dataset; see `record_episode` for its columns.

    Each episode depends on `seed` and its number alone: an interrupted call, made again, ends with the same episodes, and a
    finished one is left as it is.

    Args:
        out: the dataset's folder.
        task: of `TASKS`.
        robot: of `ROBOTS`.
        image_size: side of the square frames in pixels.
        uncertain: objects get unseen pushes.
        workers: processes that simulate.
        on_progress: called with (episodes recorded, episodes).
        make: makes the simulator.

    Raises:
        ForeactError: a robot that cannot do the task, ManiSkill is missing, or `out` holds another recording.
    """
    if episodes < 1 or image_size < 16:
        raise ForeactError(f"cannot record {episodes} episodes at {image_size} pixels: needs at least 1 and 16")
    chosen, arm = choose(task, robot)
    studio = Studio(
        recipe={
            "env": "maniskill",
            "task": task,
            "robot": robot,
            "seed": seed,
            "image_size": image_size,
            "uncertain": uncertain,
        },
        cameras={CAMERA: (image_size, image_size)},
        fps=FPS,
        columns=columns_of(arm, uncertain=uncertain),
        robot_type=robot,
    )
    if workers == 1:
        _simulator(make, task, robot, image_size)  # says what is missing, before anything is written
    record = partial(_record_numbered, make, chosen, arm, image_size, seed, uncertain)
    studio.record(Path(out), episodes, record, workers=workers, on_progress=on_progress)


def _record_numbered(
    make: Maker, task: Task, robot: Robot, image_size: int, seed: int, uncertain: bool, index: int
) -> Recorded:
    simulator = _simulator(make, task.name, robot.name, image_size)
    return record_episode(simulator, task, robot, np.random.default_rng((seed, index)), uncertain=uncertain)


@lru_cache(maxsize=1)
def _simulator(make: Maker, task: str, robot: str, image_size: int) -> Simulator:
    """One per process: making one takes a dozen seconds."""
    return make(task, robot, image_size)
