"""What a policy says of itself: to the environment that it shall act in, and to a robot at the other end of a line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from foreact.core.errors import ForeactError
from foreact.policies.bc import Camera


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """What it sees, and how it acts; the names are those of `BCConfig`.

    Attributes:
        kind: of model.
        cameras: which are looked at, with the size of their pictures.
        state: names of the state's P numbers; none for a policy that sees pictures alone.
        action: names of an action's A numbers.
        fps: actions per second.
        robot: name of the robot in the recordings.
        chunk: H, actions that are predicted.
        execute: how many of them are executed before the policy looks again.
    """

    kind: str
    cameras: tuple[Camera, ...]
    state: tuple[str, ...]
    action: tuple[str, ...]
    fps: float
    robot: str
    chunk: int
    execute: int

    @classmethod
    def of(cls, config: Any, where: str) -> Self:
        """What the config of a policy says.

        Raises:
            ForeactError: it is that of another model.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not all(hasattr(config, name) for name in names):
            raise ForeactError(f"{where} holds a {config.kind}, not a policy")
        return cls(**{name: getattr(config, name) for name in names})

    @classmethod
    def from_message(cls, message: Mapping[str, Any], where: str) -> Self:
        """What `to_message` made a message of.

        Raises:
            ForeactError: it is none.
        """
        try:
            told: dict[str, Any] = {field.name: message[field.name] for field in dataclasses.fields(cls)}
            told["cameras"] = tuple(Camera(**camera) for camera in told["cameras"])
            return cls(**told | {"state": tuple(told["state"]), "action": tuple(told["action"])})
        except (KeyError, TypeError) as error:
            raise ForeactError(
                f"{where} does not say what its policy sees and does, as foreact serve would ({error})"
            ) from error

    def to_message(self) -> dict[str, Any]:
        """Words, numbers, lists and maps."""
        return dataclasses.asdict(self)

    @property
    def observation_bytes(self) -> int:
        """Size of one observation without its words."""
        return sum(camera.height * camera.width * 3 for camera in self.cameras) + 8 * len(self.state)
