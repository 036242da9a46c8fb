"""Which environments there are: `make_env("pusht")`, and the same in Gymnasium as `foreact/pusht-v0`.

Other packages offer theirs through the entry point `foreact.envs`. No simulator is imported before it is made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import gymnasium

from foreact.core.errors import ForeactError

if TYPE_CHECKING:
    from foreact.envs.env import RobotEnv
    from foreact.envs.world import EnvCard

GROUP = "foreact.envs"
ENVS = {
    "metaworld": "foreact.envs.metaworld.world:CARD",
    "pusht": "foreact.envs.pusht.world:CARD",
    "maniskill": "foreact.envs.maniskill.world:CARD",
}
"""First word of an id -> where its card is."""


def make_env(env_id: str, *, image_size: int = 128, max_steps: int | None = None, **options: Any) -> RobotEnv:
    """An environment by its id, such as `pusht` or `maniskill/PullCube`.

    Args:
        env_id: see `foreact envs`.
        image_size: side of the square pictures, pixels.
        max_steps: after which an episode is cut; the task's own limit if None.
        options: what the simulator also takes.

    Raises:
        ForeactError: an unknown id, or a simulator that is not installed.
    """
    from foreact.envs.env import RobotEnv

    card, task = find_env(env_id)
    try:
        world = card.make(task, image_size, **options)
    except TypeError as error:
        raise ForeactError(f"{env_id} does not take these options ({error})") from error
    return RobotEnv(world, max_steps=max_steps or world.spec.max_steps)


def parse_options(words: Sequence[str]) -> dict[str, Any]:
    """Options of a simulator as they are written on a command line, NAME=VALUE: numbers where they are numbers.

    Raises:
        ForeactError: a word without "=".
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise ForeactError(f"--option {word}: write NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def find_env(env_id: str) -> tuple[EnvCard, str]:
    """The card of an id, and the task in it; empty where the simulator has one alone.

    Raises:
        ForeactError: an unknown id.
    """
    name, _, task = env_id.partition("/")
    cards = env_cards()
    if name not in cards or env_id not in cards[name].ids:
        near = cards[name].ids if name in cards else tuple(i for card in cards.values() for i in card.ids)
        raise ForeactError(f"unknown environment {env_id!r}: choose one of {', '.join(near)} (see foreact envs)")
    return cards[name], task


@lru_cache
def env_cards() -> dict[str, EnvCard]:
    """All cards by name; one of another package that cannot be imported is left out."""
    own = {name: _load(target) for name, target in ENVS.items()}
    return own | {point.name: point.load() for point in entry_points(group=GROUP) if point.name not in own}


def gymnasium_id(env_id: str) -> str:
    """`maniskill/PullCube` -> `foreact/maniskill-PullCube-v0`: Gymnasium allows one slash."""
    return f"foreact/{env_id.replace('/', '-')}-v0"


def register() -> None:
    """Tell Gymnasium of all environments."""
    for card in env_cards().values():
        for env_id in card.ids:
            if gymnasium_id(env_id) not in gymnasium.registry:
                gymnasium.register(gymnasium_id(env_id), "foreact.envs.registry:make_env", kwargs={"env_id": env_id})


def _load(target: str) -> EnvCard:
    module, name = target.split(":")
    return getattr(import_module(module), name)
