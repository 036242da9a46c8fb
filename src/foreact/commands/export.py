"""`foreact export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from foreact.core.arguments import OutFolder


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a policy so that other software runs it.

    Attributes:
        policy: a run of foreact train bc or wam.
        to: lerobot: a folder for --policy.path of LeRobot's commands, in whose environment this must run.
        out: the folder.
    """

    policy: Annotated[Positional[Path], arg(metavar="RUN")]
    out: OutFolder
    to: Literal["lerobot"] = "lerobot"

    def run(self) -> None:
        """Export."""
        from foreact.core.errors import ForeactError

        if self.out.exists() and any(self.out.iterdir()):
            raise ForeactError(f"{self.out} is not empty: export to another folder")
        try:
            from lerobot_policy_foreact.export import export
        except ImportError as error:
            raise ForeactError(
                f"LeRobot's folders are written by LeRobot ({error}): run this where it and packages/lerobot_policy_foreact are "
                "installed; docs/lerobot.md says how"
            ) from error
        export(self.policy, self.out)
        print(f"{self.out}: lerobot-eval --policy.path={self.out} ...")
