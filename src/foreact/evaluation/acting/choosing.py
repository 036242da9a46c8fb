"""Policies by name: a run, the address of a policy server, a scripted one of the environment, `random`, or `module:function` of
the user's own.
"""

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
from foreact.envs.world import EnvCard, WorldSpec
from foreact.evaluation.acting.episodes import Telling
from foreact.policies.remote import RemotePolicy, is_remote
from foreact.policies.spec import PolicySpec


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
    if not is_trained(name):
        return PerEnvironment([make_policy(name, env, card) for env in envs])
    require_fit(name, envs[0], resample=resample)
    policy: Any = RemotePolicy(name) if is_remote(name) else load(name, device=device)
    fps = envs[0].world.spec.fps
    if hasattr(policy, "act_as"):
        policy.act_as(envs[0].world.spec.robot, fps)
    return policy if policy.config.fps == fps else Resampled(policy, policy.config.fps, fps)


def make_any_policy(name: str, env: RobotEnv, card: EnvCard, *, resample: bool = False) -> Policy:
    """The policy of a name in one environment, trained ones included; see `load_policy`."""
    return load_policy(name, card, [env], resample=resample) if is_trained(name) else make_policy(name, env, card)


def is_trained(name: str) -> bool:
    """Whether it names a folder with a trained model, or a server that has one."""
    return is_remote(name) or read_kind(Path(name)) is not None


def spec_of(name: str, world: WorldSpec | None = None) -> PolicySpec:
    """What a trained policy sees and does, in a world if it has learnt from several robots or rates, without loading its weights.

    Raises:
        ForeactError: no policy, or no server there.
    """
    if not is_remote(name):
        config: Any = read_config(Path(name))
        if world is not None and hasattr(config, "acting_as"):
            config = config.acting_as(world.robot, world.fps)
        return PolicySpec.of(config, name)
    policy = RemotePolicy(name)
    policy.close()
    return policy.config


def require_fit(run: str, env: RobotEnv, *, resample: bool = False) -> None:
    """See that a trained policy was made for the robot of an environment, before its weights are loaded.

    Raises:
        ForeactError: other cameras, states, actions, or another control rate; says which.
    """
    spec = env.world.spec
    config = spec_of(run, spec)
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
    """The side of the square pictures that a policy was trained on; None for other policies, which take any."""
    if not is_trained(name):
        return None
    camera = spec_of(name).cameras[0]
    return camera.height if camera.height == camera.width else None


def identity(name: str) -> str:
    """What tells this policy from others of the same name: the hash of its weights."""
    if is_remote(name):
        policy = RemotePolicy(name)
        policy.close()
        return f"{name} {policy.identity}"
    return f"{name} {weights_hash(Path(name))}" if is_trained(name) else name


def weights_hash(run: Path) -> str:
    """First twelve hexadecimal digits of the SHA-256 of a run's weights."""
    return hashlib.sha256((run / WEIGHTS_FILE).read_bytes()).hexdigest()[:12]


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
