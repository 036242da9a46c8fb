"""What a policy did, as a dataset: the episodes of `foreact act`, played again with every frame drawn."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from foreact.core.errors import ForeactError
from foreact.core.progress import ProgressFactory
from foreact.envs.recording import Recorded, Studio
from foreact.envs.registry import find_env, make_env
from foreact.envs.takes import columns_of, record_take
from foreact.evaluation.acting.act import ActRequest
from foreact.evaluation.acting.choosing import identity, make_any_policy

_OF_OTHERS = ("episodes", "batch", "workers", "delay")
"""What does not decide an episode, or is not asked for here."""


def record(request: ActRequest, out: Path, progress: ProgressFactory) -> None:
    """Record the request's episodes, which go on for a moment after success; an interrupted recording goes on.

    Args:
        request: what is played.
        out: folder of the LeRobot dataset.
        progress: shows the episodes' progress.

    Raises:
        ForeactError: observations that grow old, or a folder that holds another recording.
    """
    if request.delay:
        raise ForeactError("--record notes what the policy saw and did: leave --delay out")
    card, _ = find_env(request.env)
    wave = request.wave(())
    env = make_env(wave.env, image_size=wave.image_size, max_steps=wave.max_steps, **dict(wave.options))
    policy = make_any_policy(request.policy, env, card, resample=request.resample)
    decides = {name: value for name, value in asdict(request).items() if name not in _OF_OTHERS}
    studio = Studio(
        recipe=decides | {"policy": identity(request.policy), "versions": card.versions()},
        cameras=env.world.spec.cameras,
        fps=round(env.world.spec.fps),
        columns=columns_of(env, card.hidden),
        robot_type=env.world.spec.robot,
    )
    execute = request.execute or getattr(policy, "execute", None)

    def play(number: int) -> Recorded:
        seed = request.seeds[number]
        take = record_take(env, policy, seed=seed, policy_seed=seed, execute=execute)
        return take.frames, take.columns, take.task

    with progress(f"record {request.env}", "episodes") as on_progress:
        studio.record(out, request.episodes, play, on_progress=on_progress)
    env.close()
