"""`foreact act`: a policy in a simulator, on many seeds, in several processes, with intervals and videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from foreact.core.errors import ForeactError
from foreact.core.machine import machine, versions
from foreact.core.progress import OnProgress, ProgressFactory
from foreact.data.video import write_video
from foreact.envs.registry import find_env
from foreact.evaluation.acting.choosing import identity, image_size_of
from foreact.evaluation.acting.crew import ActWave, Crew, Wave
from foreact.evaluation.acting.episodes import Episode, play
from foreact.evaluation.acting.journal import EpisodeJournal
from foreact.evaluation.acting.summary import tabulate
from foreact.evaluation.results import Results

_IMAGE_SIZE = 128


@dataclass(frozen=True, kw_only=True)
class ActRequest:
    """What `foreact act` was asked for.

    Attributes:
        policy: run, scripted policy, `random` or `module:function`.
        env: id of the environment.
        episodes: how many.
        seed: of the first; the others count up.
        options: of the simulator.
        max_steps: of an episode; the task's own if None.
        image_size: side of the pictures; the policy's own, or 128, if None.
        execute: actions of each chunk; the policy's own if None.
        delay: milliseconds for which observations grow old.
        resample: let a policy of another control rate act.
        batch: environments side by side in each process.
        workers: processes.
    """

    policy: str
    env: str
    episodes: int = 50
    seed: int = 0
    options: Mapping[str, Any] | None = None
    max_steps: int | None = None
    image_size: int | None = None
    execute: int | None = None
    delay: float = 0.0
    resample: bool = False
    batch: int = 10
    workers: int = 1

    @property
    def seeds(self) -> range:
        """Of all episodes."""
        return range(self.seed, self.seed + self.episodes)

    def wave(self, seeds: Sequence[int]) -> ActWave:
        """What one process plays at a time."""
        size = self.image_size or image_size_of(self.policy) or _IMAGE_SIZE
        return ActWave(
            policy=self.policy,
            env=self.env,
            image_size=size,
            max_steps=self.max_steps,
            options=tuple((self.options or {}).items()),
            execute=self.execute,
            delay=self.delay,
            resample=self.resample,
            seeds=tuple(seeds),
        )


def act(request: ActRequest, out: Path | None, progress: ProgressFactory) -> Results:
    """Play all episodes; what an interrupted call with the same `out` has played is not played again.

    Args:
        request: what to play.
        out: the results file; what is played is noted beside it until it is whole.
        progress: shows the episodes' progress.

    Raises:
        ForeactError: a policy that does not fit the environment, a missing simulator, actions that are not finite.
    """
    if request.episodes < 1 or request.batch < 1 or request.workers < 1 or request.delay < 0:
        raise ForeactError("--episodes, --batch and --workers must be at least 1, and --delay not negative")
    found = require_simulator(request.env)
    about = {k: v for k, v in asdict(request).items() if k not in ("episodes", "workers", "batch")}
    journal = EpisodeJournal(out, about | {"policy": identity(request.policy), "versions": found})
    with progress(f"act in {request.env}", "episodes") as on_progress:
        played = play_all(request.seeds, request.wave, request, journal, on_progress)
    results = summarise(request, played, found)
    if out is not None:
        results.save(out)
    journal.remove()
    return results


def require_simulator(env_id: str) -> dict[str, str]:
    """The versions of an environment's packages.

    Raises:
        ForeactError: an unknown environment, or one of them is missing.
    """
    card, _ = find_env(env_id)
    found = card.versions()
    if found is None:
        raise ForeactError(f"{env_id} needs {', '.join(card.packages)}: {card.install}")
    return found


class Abreast(Protocol):
    """How many episodes are played at a time."""

    @property
    def batch(self) -> int:
        """In each process."""
        ...

    @property
    def workers(self) -> int:
        """Processes."""
        ...


def play_all(
    seeds: Sequence[int],
    wave: Callable[[Sequence[int]], Wave],
    abreast: Abreast,
    journal: EpisodeJournal,
    on_progress: OnProgress,
) -> list[Episode]:
    """The episodes of all seeds; what the journal has is not played again."""
    known = {episode.seed: episode for episode in journal.read()}
    left = [seed for seed in seeds if seed not in known]
    waves = [wave(left[k : k + abreast.batch]) for k in range(0, len(left), abreast.batch)]
    with Crew(abreast.workers) as crew:
        for played in crew.play(waves):
            journal.add(played)
            known |= {episode.seed: episode for episode in played}
            done = [known[seed] for seed in seeds if seed in known]
            on_progress(len(done), len(seeds), {"success": float(np.mean([e.success for e in done]))})
    return [known[seed] for seed in seeds]


def summarise(request: ActRequest, episodes: Sequence[Episode], simulator: Mapping[str, str]) -> Results:
    """The tidy table of episodes: success with Wilson's interval, the rest with bootstrap ones."""
    keys: dict[str, Any] = {"env": request.env, "policy": request.policy}
    if request.delay:
        keys["delay"] = request.delay
    return Results(
        split_hash="",
        protocol={k: v for k, v in asdict(request).items() if v is not None},
        versions=versions() | dict(simulator),
        machine=machine(torch.device("cpu")),
        **vars(tabulate(keys, episodes)),
    )


def film(request: ActRequest, results: Results, folder: Path, *, each: int = 3) -> list[Path]:
    """Videos of the first successes and the first failures: they are played again with every frame drawn.

    Args:
        request: that gave the results.
        results: says which seeds succeeded.
        folder: for `success-seed-42.mp4` and `failure-seed-43.mp4`.
        each: how many of both.
    """
    told = next(values for values in results.episodes if values.metric == "success")
    seeds = {
        kind: [s for s, v in zip(told.episodes, told.values, strict=True) if v == kind][:each] for kind in (1.0, 0.0)
    }
    wave, paths = request.wave(()), []
    envs, policy = wave.cast(1)
    for kind, chosen in seeds.items():
        for seed in chosen:
            frames: list[np.ndarray] = []
            play(envs, policy, [seed], wave.execution(envs[0]), on_frame=partial(_keep, frames))
            path = folder / f"{'success' if kind else 'failure'}-seed-{seed}.mp4"
            folder.mkdir(parents=True, exist_ok=True)
            write_video(path, np.stack(frames), envs[0].world.spec.fps)
            paths.append(path)
    envs[0].close()
    return paths


def _keep(frames: list[np.ndarray], _: int, frame: np.ndarray) -> None:
    frames.append(frame)
