"""From a run's folder to what can be driven."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foreact.data.lerobot import LeRobotDataset
from foreact.evaluation.planning.casting import Stage, require_placeable
from foreact.evaluation.planning.plan import data_of
from foreact.planning.bounds import Bounds
from foreact.planning.config import PlannerConfig
from foreact.serving.driving.moments import Drive


def open_drive(
    run: str, *, env: str | None, data: str | None, options: Mapping[str, Any], chunk: int, futures: int
) -> Drive:
    """What can be driven of a run; see `foreact drive --help` for the arguments.

    Raises:
        ForeactError: no world model, no image decoder, recordings without actions, or an environment of other actions.
    """
    stage = Stage(
        run=run,
        data=data or data_of(run),
        env=env or "",
        options=tuple(options.items()),
        planner=PlannerConfig(),
        episodes=1,
        seed=0,
    )
    dream, dataset, split = stage.dream, stage.dataset, stage.split
    if env is None:
        return Drive(dream, dataset, split.validation, _bounds(dataset, split.train), chunk=chunk, futures=futures)
    world = require_placeable(stage.bare.world, env)
    return Drive(dream, dataset, split.validation, stage.bounds, world=world, chunk=chunk, futures=futures)


def _bounds(dataset: LeRobotDataset, episodes: tuple[int, ...]) -> Bounds:
    return Bounds.of(np.concatenate([dataset.actions(e) for e in episodes if dataset.has_actions(e)]))
