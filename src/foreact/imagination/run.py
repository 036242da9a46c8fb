"""From a request to a policy that learnt in the imagination: parts, checks, environments, training, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from foreact.core.errors import ForeactError
from foreact.core.files import write_json
from foreact.core.lock import locked
from foreact.core.pretrained import load_model, state_hash
from foreact.core.progress import ProgressFactory
from foreact.envs.env import RobotEnv
from foreact.imagination.chunked import ChunkVectorEnv
from foreact.imagination.demonstrations import Demonstrations
from foreact.imagination.fit import load_dream, load_start, require_fit
from foreact.imagination.imagined import ImaginedVectorEnv, Safeguards
from foreact.imagination.learner import Judge, Learner, judged
from foreact.imagination.networks import ActorCritic, merged
from foreact.imagination.ppo import PPOConfig
from foreact.imagination.real import RealVectorEnv
from foreact.imagination.rewards.ranking import rank
from foreact.imagination.rewards.registry import make_reward
from foreact.policies.bc import BC
from foreact.policies.residual import on_top_of
from foreact.recordings.describe import describe
from foreact.recordings.opening import open_recordings
from foreact.recordings.recordings import Recordings
from foreact.recordings.sources import EpisodeChoice


@dataclass(frozen=True, kw_only=True)
class PPORequest:
    """What `foreact train ppo` was asked for.

    Attributes:
        policy: run of the cloned policy that is begun with.
        out: folder of the run.
        world_models: runs that are dreamt in: one, or an ensemble. None to act in `simulators`.
        recordings: which demonstrations: data, camera, episodes and the like, as `training.run.TrainRequest` has them.
        image_decoder: draws pictures for a policy that looks at pictures; the one beside the world model if None.
        reward: see `rewards.registry.make_reward`.
        max_chunks, from_start, safeguards: see `ImaginedVectorEnv`.
        config: of PPO.
        simulators: gives so many environments, to act in these instead of a dream.
        judge: of the real success of snapshots.
        keep_best: leave the best judged policy, which may be the one that was begun with, instead of the last.
    """

    policy: Path
    out: Path
    world_models: tuple[Path, ...] = ()
    recordings: Mapping[str, Any] = field(default_factory=dict)
    image_decoder: Path | None = None
    reward: str = "video-aligned"
    max_chunks: int = 6
    from_start: float = 0.5
    safeguards: Safeguards = field(default_factory=Safeguards)
    config: PPOConfig = field(default_factory=PPOConfig)
    simulators: Callable[[int], Sequence[RobotEnv]] | None = None
    judge: Judge | None = None
    keep_best: bool = False


def run_ppo(request: PPORequest, progress: ProgressFactory) -> str:
    """Train, or go on where that was stopped, and export the policy to `request.out`.

    Returns:
        What was kept, in one sentence.

    Raises:
        ForeactError: parts that do not fit together, a reward that says nothing, a run of other settings.
        DivergedError: a loss that is no number.
    """
    with locked(request.out):
        return _run(request, progress)


def _run(request: PPORequest, progress: ProgressFactory) -> str:
    config, device = request.config.check(), str(PartialState().device)
    if request.keep_best and request.judge is None:
        raise ForeactError("--keep-best judges policies in the real simulator: name it with --env")
    start: Any = load_start(request.policy, device=device)
    env, recordings = _environments(request, start.config, device, progress)
    torch.manual_seed(config.seed)
    policy = on_top_of(start.model, bound_of(config, start.model)).to(device)
    agent = ActorCritic(policy, rank=config.rank, alpha=config.alpha).to(device)
    learner = Learner(
        agent, env, config, request.out, about=_about(request, start.model, env, recordings), judge=request.judge
    )
    with progress("train ppo", "updates") as on_progress:
        learner.train(on_progress)
    return _export(request, learner, recordings)


def _environments(
    request: PPORequest, policy: Any, device: str, progress: ProgressFactory
) -> tuple[ChunkVectorEnv, Recordings | None]:
    """Where the policy acts, and the recordings that a dream begins in; says what the reward is worth."""
    if request.simulators is not None:
        return RealVectorEnv(request.simulators(request.config.envs), chunk=policy.execute), None
    if not request.world_models:
        raise ForeactError(
            "name what is dreamt in with --world-model, or act in the simulator of --env with --in-simulator"
        )
    dreams = [load_dream(run, image_decoder=request.image_decoder, device=device) for run in request.world_models]
    tokens = dreams[0].world_model.config.tokens  # type: ignore[attr-defined]
    asked, named = dict(request.recordings), request.recordings.get("episodes")
    asked |= {"camera": asked.get("camera") or policy.cameras[0].name}
    asked |= {"episodes": None if named is None else EpisodeChoice.parse(named)}
    opened = open_recordings(**asked, encoder=tokens.encoder, image_size=tokens.image_size, progress=progress)
    for dream, run in zip(dreams, request.world_models, strict=True):
        require_fit(policy, dream, opened, run)
    demonstrations = Demonstrations(opened, chunk=policy.execute)
    reward, reads = make_reward(request.reward, demonstrations), policy.extras.tokens is not None
    ranking = rank(reward, demonstrations)
    print(f"{len(demonstrations)} demonstrations, {demonstrations.left_out} too short; {ranking.told}")
    write_json(request.out / "reward.json", {"reward": request.reward, **asdict(ranking)})
    env = ImaginedVectorEnv(
        dreams,
        demonstrations,
        reward,
        num_envs=request.config.envs,
        max_chunks=request.max_chunks,
        from_start=request.from_start,
        look_at="tokens" if reads else "pictures",
        picture=None if reads else (policy.cameras[0].height, policy.cameras[0].width),
        safeguards=request.safeguards,
    )
    return env, opened


def bound_of(config: PPOConfig, cloned: BC) -> tuple[float, ...]:
    """The residual's bound of each of an action's numbers, in normalised units."""
    if config.bound_unit == "normalised":
        return (config.bound,) * len(cloned.config.action)
    limits = cloned.action_limits
    return tuple((2 * config.bound / (limits.high - limits.low)).tolist())


def _about(request: PPORequest, cloned: BC, env: ChunkVectorEnv, recordings: Recordings | None) -> dict[str, Any]:
    """What a resume must find unchanged beside PPO's settings."""
    dreams = env.dreams if isinstance(env, ImaginedVectorEnv) else ()
    models: list[Any] = [cloned, *(dream.world_model for dream in dreams)]
    about: dict[str, Any] = {"parts": [state_hash(model) for model in models]}
    if isinstance(env, RealVectorEnv):
        spec = env.envs[0].world.spec
        return about | {"simulator": [spec.robot, spec.phrasings[0], spec.fps]}
    asked = {
        "max_chunks": request.max_chunks,
        "from_start": request.from_start,
        "safeguards": asdict(request.safeguards),
    }
    return about | asked | {"reward": request.reward, "split": recordings.splits.hash if recordings else ""}


def _export(request: PPORequest, learner: Learner, recordings: Recordings | None) -> str:
    """Leave the last policy in the run's folder, or the best judged one."""
    policy, said = merged(learner.agent.policy), f"the policy after {learner.step} updates is kept"
    told = {int(step): success for step, success in judged(request.out).items() if int(step) <= learner.step}
    if request.keep_best and told:
        best = max(told, key=lambda step: (told[step], -step))
        policy = load_model(learner.snapshot_folder(best))
        what = "the policy that was begun with" if best == 0 else f"the policy after {best} updates"
        said = (
            f"{what} is kept: success {told[best]:.2f}, of the first {told[0]:.2f}, of the last {told[max(told)]:.2f}"
        )
    policy.save_pretrained(request.out)
    described = describe(recordings) if recordings is not None else {}
    learnt = {"policy": str(request.policy), "world_models": list(map(str, request.world_models)), "kept": said}
    write_json(request.out / "run.json", described | {"ppo": learnt | asdict(request.config)})
    return said
