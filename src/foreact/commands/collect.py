"""`foreact collect`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from foreact.core.arguments import Count, OutFolder, Seed
from foreact.core.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class Collect:
    """Record episodes in a simulator; run again to go on after an interruption.

    Attributes:
        simulator: pusht is gym-pusht's Push-T with a scripted pusher that pushes, wanders and plays; maniskill are the
            papers' arms and tasks, in an environment of its own (requirements/maniskill.txt).
        out: folder of the LeRobot dataset.
        episodes: how many to record.
        seed: of everything random; the same seed gives the same episodes.
        image_size: side of the square pictures, in pixels.
        max_steps: pusht: frames of the longest episodes; 70 if not given. The shortest have 50, or fewer where this is less.
        look: pusht: unseen has other colours and an L for a block, to see what a model does with a scene it was not
            trained on.
        task: maniskill: what the arm does.
        robot: maniskill: which arm.
        uncertain: maniskill: objects get unseen pushes at random times, so that the future is truly uncertain.
        workers: processes that simulate; one per core if not given. The episodes do not depend on it.
    """

    simulator: Annotated[Positional[Literal["pusht", "maniskill"]], arg(metavar="{pusht,maniskill}")]
    out: OutFolder
    episodes: Count = 200
    seed: Seed = 0
    image_size: Count = 128
    max_steps: int | None = None
    look: Literal["default", "unseen"] | None = None
    task: Literal["PullCube", "PullCubeTool", "PokeCube", "RollBall", "PushT", "Play"] | None = None
    robot: Literal["panda", "xarm6_robotiq", "ur_10e"] | None = None
    uncertain: bool = False
    workers: Count | None = None

    def run(self) -> None:
        """Record."""
        from foreact.envs.collect import CollectRequest, run_collect

        asked = vars(self) | {"workers": self.workers or min(os.cpu_count() or 1, 8)}
        with progress_bar(f"record {self.task or 'Push-T'}", "episodes") as on_progress:
            run_collect(CollectRequest(**asked), on_progress)
        print(f"{self.out}: {self.episodes} episodes. Next: foreact fit {self.out} --out {self.out.parent}")
