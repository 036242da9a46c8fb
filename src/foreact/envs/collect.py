"""Which simulator records, and which options mean something to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from foreact.core.errors import ForeactError
from foreact.envs.recording import OnRecorded

_OWNERS = {"max_steps": "pusht", "look": "pusht", "task": "maniskill", "robot": "maniskill", "uncertain": "maniskill"}


@dataclass(frozen=True, kw_only=True)
class CollectRequest:
    """What `foreact collect` was asked for; None is what was not given. See its help."""

    simulator: Literal["pusht", "maniskill"]
    out: Path
    episodes: int
    seed: int
    image_size: int
    workers: int
    max_steps: int | None = None
    look: Literal["default", "unseen"] | None = None
    task: str | None = None
    robot: str | None = None
    uncertain: bool = False


def run_collect(request: CollectRequest, on_progress: OnRecorded) -> None:
    """Record.

    Raises:
        ForeactError: options of the other simulator, or what the simulators' own functions raise.
    """
    for name, owner in _OWNERS.items():
        if getattr(request, name) and request.simulator != owner:
            option = "--" + name.replace("_", "-")
            raise ForeactError(f"{option} means nothing for {request.simulator}: leave it out, or collect {owner}")
    if request.simulator == "pusht":
        from foreact.envs.pusht.recording import LONGEST, collect_pusht

        collect_pusht(
            request.out,
            episodes=request.episodes,
            seed=request.seed,
            image_size=request.image_size,
            max_steps=LONGEST if request.max_steps is None else request.max_steps,
            look=request.look or "default",
            workers=request.workers,
            on_progress=on_progress,
        )
        return
    from foreact.envs.maniskill.collect import collect_maniskill

    if request.task is None or request.robot is None:
        raise ForeactError("collect maniskill needs --task and --robot, such as --task PokeCube --robot xarm6_robotiq")
    collect_maniskill(
        request.out,
        task=request.task,
        robot=request.robot,
        episodes=request.episodes,
        seed=request.seed,
        image_size=request.image_size,
        uncertain=request.uncertain,
        workers=request.workers,
        on_progress=on_progress,
    )
