"""`foreact train ppo`: a cloned policy gets better in the imagination."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import arg

from foreact.commands.options import RecordingOptions
from foreact.core.arguments import OutFolder
from foreact.core.errors import ForeactError
from foreact.core.progress import progress_bar
from foreact.imagination.imagined import Safeguards
from foreact.imagination.ppo import PPOConfig


@dataclass(frozen=True, kw_only=True)
class TrainPPO(RecordingOptions):
    """Improve a cloned policy by reinforcement learning inside a world model; run again with the same --out to go on.

    Attributes:
        policy: run of foreact train bc or wam, trained with --no-state.
        out: folder of the run: policy, log.jsonl, TensorBoard files, checkpoints, snapshots/.
        world_model: runs of world models that are dreamt in: one, or an ensemble.
        data: LeRobot datasets of demonstrations: where episodes begin and what they are compared with.
        image_decoder: run of the image decoder, for a policy that looks at pictures; the one beside the world model by default.
        reward: video-aligned, video-end, goal:PICTURE, success, or module:function of your own.
        max_chunks: of an imagined episode.
        from_start: probability that an episode begins at a demonstration's first frame, and not at an intermediate one.
        env: id of the environment in which snapshots are judged.
        option: of the simulator, NAME=VALUE.
        judge_episodes: played at each judgement.
        judge_seed: of the first of them; recordings and reports must have others.
        workers: processes that judge.
        keep_best: keep the snapshot that was judged best, which may be the policy that was begun with, in the place of the last.
        in_simulator: act in --env itself in the place of a world model.
        algorithm: PPO's settings.
        safeguards: against learning the model's errors.
    """

    name: ClassVar[str] = "ppo"

    policy: Path
    out: OutFolder
    world_model: tuple[Path, ...] = ()
    data: Annotated[tuple[str, ...], arg(metavar="DATA [DATA ...]")] = ()
    image_decoder: Path | None = None
    reward: str = "video-aligned"
    max_chunks: int = 6
    from_start: float = 0.5
    env: str | None = None
    option: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = ()
    judge_episodes: int = 100
    judge_seed: int = 2_000_000
    workers: int = 1
    keep_best: bool = False
    in_simulator: bool = False
    algorithm: Annotated[PPOConfig, arg(name="")]
    safeguards: Annotated[Safeguards, arg(name="")]

    def run(self) -> None:
        """Train."""
        from foreact.envs.registry import parse_options
        from foreact.imagination.run import PPORequest, run_ppo
        from foreact.studies.judging import Arena

        if self.in_simulator and self.env is None:
            raise ForeactError("--in-simulator acts in an environment: name it with --env")
        if not self.in_simulator and not (self.data and self.world_model):
            raise ForeactError("foreact train ppo needs --world-model and --data (see foreact train ppo --help)")
        judged = {"episodes": self.judge_episodes, "seed": self.judge_seed, "workers": self.workers}
        arena = Arena(env=self.env, options=parse_options(self.option), **judged) if self.env else None
        shared = ("policy", "out", "image_decoder", "reward", "max_chunks", "from_start", "safeguards", "keep_best")
        said = run_ppo(
            PPORequest(
                **{name: getattr(self, name) for name in shared},
                world_models=self.world_model,
                recordings=self.recordings(self.data),
                config=self.algorithm,
                simulators=partial(arena.simulators, self.policy) if arena and self.in_simulator else None,
                judge=partial(arena.success, progress=progress_bar) if arena else None,
            ),
            progress_bar,
        )
        print(f"{self.out}: {said}")
