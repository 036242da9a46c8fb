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
    "pusht": "foreact.envs.pusht.world:CARD",
    "metaworld": "foreact.envs.metaworld.world:CARD",
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
        ForeactError: an unknown id or option, or a simulator that is not installed.
    """
    from foreact.envs.env import RobotEnv

    card, task = find_env(env_id)
    if strange := options.keys() - set(card.options):
        known = ", ".join(card.options) or "none"
        raise ForeactError(f"{min(strange)} means nothing for {env_id}; its options: {known}")
    world = card.make(task, image_size, **options)
    return RobotEnv(world, max_steps=max_steps or world.spec.max_steps)


def parse_options(words: Sequence[str], what: str = "--option") -> dict[str, Any]:
    """What is written on a command line as NAME=VALUE, such as options of a simulator: numbers where they are numbers.

    Raises:
        ForeactError: a word without "=".
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise ForeactError(f"{what} {word}: write NAME=VALUE")
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
    if name not in cards and isinstance(wrong := foreign_cards().get(name), ForeactError):
        raise wrong
    if name not in cards or env_id not in cards[name].ids:
        near = cards[name].ids if name in cards else tuple(i for card in cards.values() for i in card.ids)
        raise ForeactError(f"unknown environment {env_id!r}: choose one of {', '.join(near)} (see foreact envs)")
    return cards[name], task


@lru_cache
def env_cards() -> dict[str, EnvCard]:
    """All cards by name; of other packages those that are whole."""
    own = {name: _load(target) for name, target in ENVS.items()}
    return own | {name: card for name, card in foreign_cards().items() if not isinstance(card, ForeactError)}


def foreign_cards() -> dict[str, EnvCard | ForeactError]:
    """Cards of other packages by name, or what is wrong with them."""
    from foreact.envs.world import EnvCard

    found: dict[str, EnvCard | ForeactError] = {}
    for point in entry_points(group=GROUP):
        where = f"the entry point {point.name} of {point.dist.name if point.dist else 'a package'} ({point.value})"
        try:
            card = point.load()
        except Exception as error:
            found[point.name] = ForeactError(f"{where} cannot be imported: {type(error).__name__}: {error}")
            continue
        if not isinstance(card, EnvCard):
            card = ForeactError(f"{where} is a {type(card).__name__}, not an EnvCard")
        elif card.name != point.name or card.name in ENVS:
            card = ForeactError(f"{where} has a card of the name {card.name!r}: both names must be the same, and new")
        found[point.name] = card
    return found


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
