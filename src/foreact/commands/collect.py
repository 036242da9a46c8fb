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
    """Record a policy in a simulator; run again to go on after an interruption.

    --successes 100 records the scripted expert until it has succeeded so often, --policy anyone else. Without these, pusht and
    maniskill record scripts that push, fail, wander and play, which world models learn from.

    Attributes:
        env: such as pusht, maniskill/PullCube or metaworld/button-press; foreact envs lists them.
        out: folder of the LeRobot dataset.
        episodes: how many to record, whatever becomes of them; 200 if neither this nor --successes is given.
        successes: go on until so many episodes succeed; failures are not kept.
        policy: who acts: a scripted policy of the environment (expert, if not given), random, a run of foreact train bc or wam,
            or module:function of your own, which is given the simulated world and returns a policy.
        noise: share of the episodes in which the expert's actions are disturbed.
        play: share of the episodes without an aim.
        failures: keep failures beside --successes.
        execute: how many actions of each chunk are executed before the policy looks again; all if not given.
        seed: of everything random; the same seed gives the same episodes.
        image_size: side of the square pictures, in pixels.
        max_steps: frames of the longest episodes; the task's own limit if not given. Of pusht's script 70, and the shortest
            have 50, or fewer where this is less.
        fps: control rate, where the simulator has a choice.
        look: pusht: unseen has other colours and an L for a block, to see what a model does with a scene it was not
            trained on.
        start: pusht: near begins with the block near its goal, behind also with the agent on the block's far side.
        task: maniskill's script: what the arm does.
        robot: maniskill: which arm.
        uncertain: maniskill's script: objects get unseen pushes at random times, so that the future is truly uncertain.
        workers: processes that simulate; one per core if not given. The episodes do not depend on it.
    """

    env: Annotated[Positional[str], arg(metavar="ENV")]
    out: OutFolder
    episodes: Count | None = None
    successes: Count | None = None
    policy: str | None = None
    noise: float = 0.0
    play: float = 0.0
    failures: bool = False
    execute: Count | None = None
    seed: Seed = 0
    image_size: Count = 128
    max_steps: int | None = None
    fps: int | None = None
    look: Literal["default", "unseen"] | None = None
    start: Literal["anywhere", "near", "behind"] | None = None
    task: Literal["PullCube", "PullCubeTool", "PokeCube", "RollBall", "PushT", "Play"] | None = None
    robot: Literal["panda", "xarm6_robotiq", "ur_10e"] | None = None
    uncertain: bool = False
    workers: Count | None = None

    def run(self) -> None:
        """Record."""
        from foreact.envs.collect import CollectRequest, run_collect
        from foreact.evaluation.acting.choosing import make_any_policy

        asked = vars(self) | {"workers": self.workers or min(os.cpu_count() or 1, 8)}
        title = f"record {self.task or self.env}"
        with progress_bar(title, "successes" if self.successes else "episodes") as on_progress:
            told = run_collect(CollectRequest(**asked), on_progress, make_any_policy)
        print(f"{self.out}: {told}. Next: foreact fit {self.out} --out {self.out.parent}")
