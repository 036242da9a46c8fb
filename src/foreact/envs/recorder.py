"""Env + policy -> dataset: takes are made one after the other until there are enough, and all of them are noted.

What was tried stands in the dataset's `collection.json`, beside what decides the takes; each take follows from the seed and
its number alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.files import write_json
from foreact.envs.env import RobotEnv
from foreact.envs.policies import MakePolicy, make_policy
from foreact.envs.recording import RECIPE_FILE, OnRecorded, Studio, in_order
from foreact.envs.registry import find_env, make_env
from foreact.envs.takes import Take, columns_of, record_take

PLAY, PLAYING = "play", "play with what is there"
PLAY_STEPS = 100  # frames of an episode without an aim: new starts show more than more of the same
HOPELESS = 50  # attempts without a success after which a recording of successes ends


@dataclass(frozen=True, kw_only=True)
class Cast:
    """What decides the takes of a recording.

    Attributes:
        env_id: see `make_env`.
        policies: names (see `make_policy`) and the shares of the takes in which they act, which add up to 1. The first is the
            one whose success is told; "play" has no aim.
        seed: of everything random.
        image_size, max_steps, options: of `make_env`.
        execute: how many of a chunk's actions are executed before the policy looks again; all if None.
    """

    env_id: str
    policies: Mapping[str, float]
    seed: int = 0
    image_size: int = 128
    max_steps: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    execute: int | None = None

    def env(self) -> RobotEnv:
        """The environment, one per process: making one may take a dozen seconds."""
        return _env(self.env_id, self.image_size, self.max_steps, tuple(self.options.items()))


@lru_cache(maxsize=1)
def _env(env_id: str, image_size: int, max_steps: int | None, options: tuple[tuple[str, Any], ...]) -> RobotEnv:
    return make_env(env_id, image_size=image_size, max_steps=max_steps, **dict(options))


def make_take(cast: Cast, make: MakePolicy, number: int) -> tuple[str, Take]:
    """The take of a number, and which policy acted."""
    rng, env = np.random.default_rng((cast.seed, number)), cast.env()
    seed, policy_seed = (int(n) for n in rng.integers(2**31, size=2))
    name = str(rng.choice(list(cast.policies), p=list(cast.policies.values())))
    plays = name == PLAY
    take = record_take(
        env,
        make(name, env, find_env(cast.env_id)[0]),
        seed=seed,
        policy_seed=policy_seed,
        task=PLAYING if plays else str(rng.choice(env.world.spec.phrasings)),
        execute=cast.execute,
        steps=min(PLAY_STEPS, env.max_steps) if plays else None,
    )
    return name, take


class Log:
    """What was tried, in `collection.json`: entries with `policy`, `success`, `frames` and `kept`."""

    def __init__(self, out: Path, recipe: Mapping[str, Any]) -> None:
        self._path, self._recipe = out / RECIPE_FILE, json.loads(json.dumps(recipe))
        self.attempts: list[dict[str, Any]] = []
        if self._path.exists():
            there = json.loads(self._path.read_text())
            self.attempts = there.pop("attempts", [])
            there.pop("success", None)
            if there != self._recipe:
                raise ForeactError(f"{out} holds a recording made with {json.dumps(there)}: use another --out")

    def add(self, **attempt: Any) -> None:
        """Note an attempt."""
        self.attempts.append(attempt)
        self._save()

    def _save(self) -> None:
        write_json(self._path, {**self._recipe, "success": self.success, "attempts": self.attempts}, indent=None)

    def resume(self, written: int) -> None:
        """Forget an attempt that was noted and not written."""
        while self.count("kept") > written:
            self.attempts.pop()
            self._save()

    def count(self, what: str, policy: str | None = None) -> int:
        """How many attempts, of one policy or all, have this set."""
        return sum(a[what] for a in self.attempts if policy in (None, a["policy"]))

    @property
    def success(self) -> dict[str, float]:
        """Policy -> share of its attempts that succeeded."""
        names = dict.fromkeys(a["policy"] for a in self.attempts if a["policy"] != PLAY)
        tried = {name: sum(a["policy"] == name for a in self.attempts) for name in names}
        return {name: self.count("success", name) / tried[name] for name in names}


def record_takes(
    out: Path,
    cast: Cast,
    *,
    episodes: int | None = None,
    successes: int | None = None,
    failures: bool = False,
    workers: int = 1,
    on_progress: OnRecorded | None = None,
    make: MakePolicy = make_policy,
) -> Log:
    """Record takes into the LeRobot dataset `out`; an interrupted recording goes on, a finished one is left as it is.

    Args:
        out: the dataset's folder.
        cast: what decides the takes.
        episodes: how many to record, whatever becomes of them.
        successes: goes on until so many succeeded. Failures are not kept; what is play is.
        failures: keep failures, too, where successes are asked for.
        workers: processes that simulate; the episodes do not depend on it.
        on_progress: called with (episodes or successes up to now, wanted).
        make: policies by name; must be picklable where there are several workers.

    Raises:
        ForeactError: the simulator is not installed, no attempt succeeds, or `out` holds something else.
    """
    studio = _studio(cast, make, keep="all" if episodes or failures else "successes")
    log = Log(out, studio.recipe)
    wanted = episodes or successes or 0
    counted = "kept" if episodes else "success"
    if (out / "meta" / "info.json").exists() and log.attempts:
        if (there := log.count(counted)) != wanted:
            raise ForeactError(f"{out} is finished with {there} episodes, not {wanted}: use another --out")
        return log
    with studio.writer(out) as writer:
        log.resume(writer.episodes_written)
        numbers = count(len(log.attempts))
        with closing(in_order(partial(make_take, cast, make), numbers, workers)) as takes:
            while log.count(counted) < wanted:
                name, take = next(takes)
                kept = bool(episodes or failures or take.success or name == PLAY)
                success = take.success and name != PLAY
                log.add(policy=name, success=success, frames=len(take.columns["action"]), kept=kept)
                if kept:
                    writer.add_episode(take.frames, take.columns, take.task)
                if on_progress is not None:
                    on_progress(log.count(counted), wanted)
                if successes:
                    _hope(log, out)
    return log


def _studio(cast: Cast, make: MakePolicy, *, keep: str) -> Studio:
    """What the episodes share; says what is wrong with the cast before anything is written."""
    card, env = find_env(cast.env_id)[0], cast.env()
    for name in cast.policies:
        make(name, env, card)
    spec = env.world.spec
    return Studio(
        recipe=asdict(cast) | {"max_steps": env.max_steps, "keep": keep, "versions": card.versions()},
        cameras=spec.cameras,
        fps=round(spec.fps),
        columns=columns_of(env, card.hidden),
        robot_type=spec.robot,
    )


def _hope(log: Log, out: Path) -> None:
    tried = sum(a["policy"] != PLAY for a in log.attempts)
    if tried >= HOPELESS and not log.count("success"):
        raise ForeactError(f"{out}: none of {tried} attempts succeeded: take another policy, or --episodes")
