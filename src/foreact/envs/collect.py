"""`foreact collect`: recordings of policies in any environment, and the scripted recordings of two simulators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreact.core.errors import ForeactError
from foreact.envs.policies import MakePolicy, make_policy
from foreact.envs.recorder import PLAY, Cast, record_takes
from foreact.envs.recording import OnRecorded

EPISODES = 200


@dataclass(frozen=True, kw_only=True)
class CollectRequest:
    """What `foreact collect` was asked for; None is what was not given. See its help."""

    env: str
    out: Path
    episodes: int | None = None
    successes: int | None = None
    policy: str | None = None
    noise: float = 0.0
    play: float = 0.0
    failures: bool = False
    execute: int | None = None
    seed: int = 0
    image_size: int = 128
    max_steps: int | None = None
    workers: int = 1
    fps: int | None = None
    look: str | None = None
    start: str | None = None
    task: str | None = None
    robot: str | None = None
    uncertain: bool = False

    def given(self, *names: str) -> dict[str, Any]:
        """Those of these options that were given."""
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    @property
    def acts(self) -> bool:
        """Whether a policy is to act, and not a simulator's script."""
        asked = self.given("successes", "policy", "noise", "play", "failures", "execute", "fps", "start")
        return bool(asked) or self.env not in SCRIPTED


def run_collect(request: CollectRequest, on_progress: OnRecorded, make: MakePolicy = make_policy) -> str:
    """Record, and say what there is now.

    Args:
        request: what was asked for.
        on_progress: called with what is done and what is wanted.
        make: policies by name.

    Raises:
        ForeactError: options that mean nothing here, or what recording raises.
    """
    if not request.acts:
        SCRIPTED[request.env](request, request.episodes or EPISODES, on_progress)
        return f"{request.episodes or EPISODES} episodes"
    if strange := request.given("task", "uncertain"):
        raise ForeactError(f"{_option(min(strange))} belongs to the scripted recording of maniskill: leave it out")
    if request.episodes and request.successes:
        raise ForeactError("--episodes records so many, --successes goes on until so many succeed: give one of them")
    if request.failures and not request.successes:
        raise ForeactError("--failures keeps failures beside --successes; without it all episodes are kept")
    log = record_takes(
        request.out,
        _cast(request),
        episodes=None if request.successes else request.episodes or EPISODES,
        successes=request.successes,
        failures=request.failures,
        workers=request.workers,
        on_progress=on_progress,
        make=make,
    )
    told = [f"{name} succeeded in {share:.0%}" for name, share in log.success.items()]
    return f"{log.count('kept')} episodes of {len(log.attempts)} tried; {', '.join(told) or 'no aim'}"


def _cast(request: CollectRequest) -> Cast:
    """The policy with its share, and beside it what is noisy and what has no aim."""
    first = request.policy or "expert"
    beside = {"noisy": request.noise, PLAY: request.play}
    if beside.pop(first, 0.0):
        raise ForeactError(f"--policy {first} is all noise or play: leave --noise and --play out")
    if first == PLAY and request.successes:
        raise ForeactError("play has no aim and never succeeds: record it with --episodes")
    shares = {first: 1.0 - sum(beside.values()), **beside}
    if min(shares.values()) < 0 or shares[first] == 0:
        raise ForeactError(f"--noise {request.noise:g} and --play {request.play:g} leave nothing to {first}")
    return Cast(
        env_id=request.env,
        policies={name: share for name, share in shares.items() if share},
        seed=request.seed,
        image_size=request.image_size,
        max_steps=request.max_steps,
        options=request.given("fps", "look", "start", "robot"),
        execute=request.execute,
    )


def _pusht(request: CollectRequest, episodes: int, on_progress: OnRecorded) -> None:
    from foreact.envs.pusht.recording import LONGEST, collect_pusht

    _refuse(request, "task", "robot", "uncertain", other="maniskill")
    collect_pusht(
        request.out,
        episodes=episodes,
        seed=request.seed,
        image_size=request.image_size,
        max_steps=LONGEST if request.max_steps is None else request.max_steps,
        look=request.look or "default",  # type: ignore[arg-type]
        workers=request.workers,
        on_progress=on_progress,
    )


def _maniskill(request: CollectRequest, episodes: int, on_progress: OnRecorded) -> None:
    from foreact.envs.maniskill.collect import collect_maniskill

    _refuse(request, "max_steps", "look", other="pusht")
    if request.task is None or request.robot is None:
        raise ForeactError("collect maniskill needs --task and --robot, such as --task PokeCube --robot xarm6_robotiq")
    collect_maniskill(
        request.out,
        task=request.task,
        robot=request.robot,
        episodes=episodes,
        seed=request.seed,
        image_size=request.image_size,
        uncertain=request.uncertain,
        workers=request.workers,
        on_progress=on_progress,
    )


SCRIPTED: dict[str, Callable[[CollectRequest, int, OnRecorded], None]] = {"pusht": _pusht, "maniskill": _maniskill}
"""Simulators with scripts that make varied recordings, of successes, failures and play."""


def _refuse(request: CollectRequest, *names: str, other: str) -> None:
    if strange := request.given(*names):
        raise ForeactError(f"{_option(min(strange))} means nothing for {request.env}: leave it out, or collect {other}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
