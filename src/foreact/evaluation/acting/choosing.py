"""Policies by name: a run, a scripted one of the environment, `random`, or `module:function` of the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.contracts import Observation, Policy
from foreact.core.errors import ForeactError
from foreact.core.pretrained import WEIGHTS_FILE, read_config, read_kind
from foreact.dreams.imagination import load
from foreact.envs.env import RobotEnv
from foreact.envs.policies import make_policy
from foreact.envs.world import EnvCard
from foreact.evaluation.acting.episodes import Telling


def load_policy(
    name: str, card: EnvCard, envs: Sequence[RobotEnv], *, device: str = "cpu", resample: bool = False
) -> Policy:
    """The policy of a name, for these environments.

    Args:
        name: as on the command line.
        card: of the environments.
        envs: that it will act in.
        device: of its network.
        resample: let a policy of another control rate act, its actions held or skipped in time.

    Raises:
        ForeactError: no such policy, or one that was made for another robot.
    """
    if not is_run(name):
        return PerEnvironment([make_policy(name, env, card) for env in envs])
    require_fit(name, envs[0], resample=resample)
    policy: Any = load(name, device=device)
    fps = envs[0].world.spec.fps
    return policy if policy.config.fps == fps else Resampled(policy, policy.config.fps, fps)


def make_any_policy(name: str, env: RobotEnv, card: EnvCard) -> Policy:
    """The policy of a name in one environment, runs included; see `load_policy`."""
    return load_policy(name, card, [env]) if is_run(name) else make_policy(name, env, card)


def is_run(name: str) -> bool:
    """Whether it names a folder with a trained model."""
    return read_kind(Path(name)) is not None


def require_fit(run: str, env: RobotEnv, *, resample: bool = False) -> None:
    """See that a run's policy was made for the robot of an environment, before its weights are loaded.

    Raises:
        ForeactError: other cameras, states, actions, or another control rate; says which.
    """
    config: Any = read_config(Path(run))
    spec = env.world.spec
    if not hasattr(config, "cameras") or not hasattr(config, "execute"):
        raise ForeactError(f"{run} holds a {config.kind}, not a policy")
    for camera in config.cameras:
        if spec.cameras.get(camera.name) != (camera.height, camera.width):
            shown = ", ".join(f"{name} {height} x {width}" for name, (height, width) in spec.cameras.items())
            raise ForeactError(
                f"{run} looks at {camera.name} with {camera.height} x {camera.width} pixels, the environment has {shown}"
            )
    for what, mine, theirs in (("actions", config.action, spec.action), ("states", config.state, spec.state)):
        if mine and tuple(mine) != spec_names(theirs, mine):
            raise ForeactError(f"{run} has the {what} ({', '.join(mine)}), the environment ({', '.join(theirs)})")
    if config.fps != spec.fps and not resample:
        raise ForeactError(
            f"{run} acts at {config.fps:g} actions per second, the environment at {spec.fps:g}: record at that rate, or hold "
            "and skip actions in time with --resample"
        )


def spec_names(theirs: tuple[str, ...], mine: tuple[str, ...]) -> tuple[str, ...]:
    """The environment's names; numbers where the recordings had no names and as many."""
    numbered = tuple(map(str, range(len(theirs))))
    return numbered if tuple(mine) == numbered else theirs


def image_size_of(name: str) -> int | None:
    """The side of the square pictures that a run was trained on; None for other policies, which take any."""
    if not is_run(name):
        return None
    cameras = getattr(read_config(Path(name)), "cameras", ())
    return cameras[0].height if cameras and cameras[0].height == cameras[0].width else None


def identity(name: str) -> str:
    """What tells this policy from others of the same name: the hash of its weights."""
    if not is_run(name):
        return name
    return f"{name} {hashlib.sha256((Path(name) / WEIGHTS_FILE).read_bytes()).hexdigest()[:12]}"


class Resampled:
    """A policy of another control rate: its actions are held, or skipped, in time. Right for targets, wrong for changes.

    Args:
        policy: acts `own` times a second.
        own: its rate.
        wanted: the rate of the environment.
    """

    def __init__(self, policy: Any, own: float, wanted: float) -> None:
        self._policy, self._ratio = policy, own / wanted
        self.execute = max(1, round(policy.execute / self._ratio))

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """See `Policy`."""
        self._policy.reset(seeds)

    def act(self, observation: Observation) -> np.ndarray:
        """See `Policy`."""
        chunk = self._policy.act(observation)
        times = np.floor(np.arange(round(chunk.shape[-2] / self._ratio)) * self._ratio).astype(int)
        return chunk[..., np.minimum(times, chunk.shape[-2] - 1), :]


class PerEnvironment:
    """Policies that each see the inside of one world, as one that acts in all of them."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = policies

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """See `Policy`."""
        self._acting = self._policies[: len(seeds or [0])]
        for policy, seed in zip(self._acting, seeds or [0], strict=True):
            policy.reset([seed])

    @property
    def execute(self) -> int | None:
        """As the policies say."""
        return getattr(self._policies[0], "execute", None)

    def act(self, observation: Observation) -> np.ndarray:
        """See `Policy`."""
        return np.stack([policy.act(row) for policy, row in self._pairs(observation)])

    def told(self, last: Observation) -> list[Mapping[str, float]]:
        """See `episodes.Telling`; nothing of policies that measure nothing."""
        return [p.told(row)[0] if isinstance(p, Telling) else {} for p, row in self._pairs(last)]

    def _pairs(self, observation: Observation) -> list[tuple[Policy, Observation]]:
        rows = [{name: values[row] for name, values in observation.items()} for row in range(len(self._acting))]
        return list(zip(self._acting, rows, strict=True))
