"""One attempt at an episode: an environment, a policy, and what was seen and done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foreact.envs.env import STATE, TASK, RobotEnv

if TYPE_CHECKING:
    from foreact.core.contracts import Policy

ACTION, SUCCESS = "action", "next.success"
LINGER = 10  # frames after success


@dataclass(frozen=True, kw_only=True)
class Take:
    """An attempt.

    Attributes:
        frames: full name of the camera -> (T, height, width, 3) uint8.
        columns: feature -> (T, D) float32; action t leads frame t to the next, `next.success[t]` is whether the task was done
            after it.
        task: in words.
        success: whether the task was done at any time.
    """

    frames: Mapping[str, np.ndarray]
    columns: Mapping[str, np.ndarray]
    task: str
    success: bool


def record_take(
    env: RobotEnv,
    policy: Policy,
    *,
    seed: int,
    policy_seed: int = 0,
    task: str | None = None,
    execute: int | None = None,
    steps: int | None = None,
) -> Take:
    """Let a policy act until a moment after success, or until the longest take is over.

    Args:
        env: where.
        policy: whose chunks of H actions are executed.
        seed: of the environment.
        policy_seed: of the policy.
        task: what the policy is told and the recording says; the environment's first phrasing if None.
        execute: how many of each chunk's actions are executed before the policy looks again; all if None.
        steps: the longest take; the environment's limit if None.

    Raises:
        ForeactError: an action of another shape, or not finite.
    """
    seen = env.reset(seed=seed)[0]
    policy.reset([policy_seed])
    task = task or str(seen[TASK])
    rows: list[dict[str, np.ndarray]] = []
    chunk: list[np.ndarray] = []
    end, success = steps or env.max_steps, False
    while len(rows) < end:
        if not chunk:
            actions = np.asarray(policy.act({**seen, TASK: task}), dtype=np.float64)
            chunk = list(actions.reshape(-1, actions.shape[-1])[:execute])
        row = {**seen, **env.world.hidden(), ACTION: chunk.pop(0)}
        done = env.advance(row[ACTION])[-1]["success"]
        rows.append(row | {ACTION: env.clipped(row[ACTION]), SUCCESS: np.array([done])})
        if done and not success:
            success, end = True, min(end, len(rows) + LINGER)
        seen = env.observe()
    cameras = env.world.spec.cameras
    return Take(
        frames={camera: np.stack([row[camera] for row in rows]) for camera in cameras},
        columns={
            name: np.array([row[name] for row in rows], dtype=np.float32)
            for name in rows[0]
            if name not in {*cameras, TASK}
        },
        task=task,
        success=success,
    )


def columns_of(env: RobotEnv, hidden: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Feature -> names of its dimensions, of the takes of an environment whose card has these hidden columns."""
    spec = env.world.spec
    return {ACTION: spec.action, STATE: spec.state, **hidden, SUCCESS: ("success",)}
