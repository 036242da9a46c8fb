"""`foreact envs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foreact.envs.world import EnvCard


@dataclass(frozen=True, kw_only=True)
class Envs:
    """List the simulators in which policies act: what is installed, and the command that installs what is not."""

    def run(self) -> None:
        """List them."""
        from foreact.envs.registry import env_cards, foreign_cards

        print("\n\n".join(_described(card) for card in env_cards().values()))
        for error in foreign_cards().values():
            if isinstance(error, Exception):
                print(f"\nleft out: {error}")


def _described(card: EnvCard) -> str:
    versions = card.versions()
    there = ", ".join(f"{name} {number}" for name, number in (versions or {}).items())
    cameras = ", ".join(name.removeprefix("observation.images.") for name in card.cameras)
    lines = [
        f"{card.label}: {there if versions else f'not installed: {card.install}'}",
        f"  robot {card.robot}, {card.fps:g} actions a second, camera {cameras}",
        f"  policies {', '.join((*card.policies, 'random'))}"
        + f"; options {', '.join(card.options)}" * bool(card.options),
        *(f"  {env_id}" for env_id in card.ids),
    ]
    return "\n".join(lines)
