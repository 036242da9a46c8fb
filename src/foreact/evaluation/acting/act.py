"""`foreact act`: a policy in a simulator, on many seeds, in several processes, with intervals and videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.core.errors import ForeactError
from foreact.core.machine import machine, versions
from foreact.core.progress import ProgressFactory
from foreact.data.video import write_video
from foreact.envs.registry import find_env, make_env
from foreact.evaluation.acting.choosing import identity, image_size_of, load_policy
from foreact.evaluation.acting.crew import Crew, Wave
from foreact.evaluation.acting.episodes import Episode, play
from foreact.evaluation.acting.journal import EpisodeJournal
from foreact.evaluation.intervals import Bootstrap, Interval, wilson
from foreact.evaluation.results import Results
from foreact.evaluation.rows import EpisodeValues, Row

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

    def wave(self, seeds: Sequence[int]) -> Wave:
        """What one process plays at a time."""
        size = self.image_size or image_size_of(self.policy) or _IMAGE_SIZE
        return Wave(
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
    card, _ = find_env(request.env)
    found = card.versions()
    if found is None:
        raise ForeactError(f"{request.env} needs {', '.join(card.packages)}: {card.install}")
    about = {k: v for k, v in asdict(request).items() if k not in ("episodes", "workers", "batch")}
    journal = EpisodeJournal(out, about | {"policy": identity(request.policy), "versions": found})
    known = {episode.seed: episode for episode in journal.read()}
    left = [seed for seed in request.seeds if seed not in known]
    waves = [request.wave(left[k : k + request.batch]) for k in range(0, len(left), request.batch)]
    with progress(f"act in {request.env}", "episodes") as on_progress, Crew(request.workers) as crew:
        for played in crew.play(waves):
            journal.add(played)
            known |= {episode.seed: episode for episode in played}
            done = [known[seed] for seed in request.seeds if seed in known]
            on_progress(len(done), request.episodes, {"success": float(np.mean([e.success for e in done]))})
    results = summarise(request, [known[seed] for seed in request.seeds], found)
    if out is not None:
        results.save(out)
    journal.remove()
    return results


def summarise(request: ActRequest, episodes: Sequence[Episode], simulator: Mapping[str, str]) -> Results:
    """The tidy table of episodes: success with Wilson's interval, the rest with bootstrap ones."""
    keys: dict[str, Any] = {"env": request.env, "policy": request.policy}
    if request.delay:
        keys["delay"] = request.delay
    whole = [episode for episode in episodes if not episode.crash]
    if not whole:
        raise ForeactError(f"every episode crashed, the first with: {episodes[0].crash}")
    seeds = tuple(episode.seed for episode in whole)
    values: dict[str, list[float]] = {
        "success": [float(e.success) for e in whole],
        "return": [e.reward for e in whole],
        "length": [float(e.length) for e in whole],
    }
    for name in whole[0].measures:
        values[name] = [e.measures[name] for e in whole]
    rows = [Row.of(_interval(name, numbers), name, keys) for name, numbers in values.items()]
    told = [
        EpisodeValues(keys=keys, metric=name, episodes=seeds, values=tuple(numbers)) for name, numbers in values.items()
    ]
    crashed = {f"seed {e.seed}": f"left out: {e.crash}" for e in episodes if e.crash}
    return Results(
        split_hash="",
        seeds=seeds,
        rows=tuple(rows),
        episodes=tuple(told),
        protocol={k: v for k, v in asdict(request).items() if v is not None},
        versions=versions() | dict(simulator),
        machine=machine(torch.device("cpu")),
        notes=crashed,
    )


def _interval(metric: str, values: Sequence[float]) -> Interval:
    if metric == "success":
        return wilson(round(sum(values)), len(values))
    found = Bootstrap().mean(np.array(values), np.arange(len(values)))
    assert found is not None
    return found


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
    card, _ = find_env(request.env)
    wave, paths = request.wave(()), []
    env = make_env(wave.env, image_size=wave.image_size, max_steps=wave.max_steps, **dict(wave.options))
    policy = load_policy(request.policy, card, [env], resample=request.resample)
    for kind, chosen in seeds.items():
        for seed in chosen:
            frames: list[np.ndarray] = []
            play([env], policy, [seed], wave.execution(env), on_frame=partial(_keep, frames))
            path = folder / f"{'success' if kind else 'failure'}-seed-{seed}.mp4"
            folder.mkdir(parents=True, exist_ok=True)
            write_video(path, np.stack(frames), env.world.spec.fps)
            paths.append(path)
    env.close()
    return paths


def _keep(frames: list[np.ndarray], _: int, frame: np.ndarray) -> None:
    frames.append(frame)
