"""`foreact act`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from foreact.core.arguments import OutFolder
from foreact.core.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class Act:
    """Let a policy act in a simulator and count its successes; run again with the same --out to go on after an interruption.

    Attributes:
        policy: a run of foreact train bc, wam or lawam, the address of a policy server (ws://host:port, see foreact serve), expert or
            another scripted policy of the environment, random, or module:function of your own, which is given the simulated
            world and returns a policy.
        env: id of the environment, such as pusht; see foreact envs.
        episodes: how many.
        seed: of the first episode; the others count up.
        out: the results file, JSON.
        video: folder for videos of three successes and three failures.
        record: folder for the same episodes as a LeRobot dataset; they go on for a moment after success.
        execute: actions of each predicted chunk that are executed; the policy's own number by default.
        delay: milliseconds for which an observation has grown old when the policy sees it.
        max_steps: after which an episode is cut; the task's own limit by default.
        image_size: side of the square pictures; as the policy was trained by default.
        option: of the simulator, NAME=VALUE.
        resample: let a policy of another control rate act: its actions are held, or skipped, in time.
        batch: environments side by side in each process.
        workers: processes.
    """

    policy: Positional[str]
    env: str
    episodes: int = 50
    seed: int = 0
    out: Path | None = None
    video: Path | None = None
    record: OutFolder | None = None
    execute: int | None = None
    delay: float = 0.0
    max_steps: int | None = None
    image_size: int | None = None
    option: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = ()
    resample: bool = False
    batch: int = 10
    workers: int = 1

    def run(self) -> None:
        """Act."""
        from rich import print as show

        from foreact.envs.registry import parse_options
        from foreact.evaluation.acting.act import ActRequest, act, film
        from foreact.evaluation.acting.recording import record
        from foreact.evaluation.acting.table import success_table

        asked = {k: v for k, v in vars(self).items() if k not in ("out", "video", "record", "option")}
        request = ActRequest(**asked, options=parse_options(self.option))
        results = act(request, self.out, progress_bar)
        show(success_table(results))
        for seed, what in results.notes.items():
            print(f"{seed}: {what}")
        if self.video is not None:
            print(*film(request, results, self.video), sep="\n")
        if self.record is not None:
            record(request, self.record, progress_bar)
            print(f"dataset: {self.record}")
        if self.out is not None:
            print(f"results: {self.out}")
