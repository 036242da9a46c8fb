"""`foreact plan`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from foreact.core.arguments import OutFile, Seed
from foreact.core.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Reach goal pictures by planning in a world model's imagination; run again with the same --out to go on after an interruption.

    Goals are pictures of held-out episodes, so many actions after a recorded moment into which the simulator is put; an episode
    has as many actions as the recording took, and succeeds when agent and block end within 20 pixels and 20 degrees. `task` is
    the simulator's own goal, with its own starts and its own success.

    Attributes:
        model: folder of a world model, such as a run of foreact train rla-wm or dino-wm, or a system that ships: pusht.
        env: id of the environment, such as pusht; see foreact envs.
        data: the LeRobot dataset that goals and the bounds of actions come from; the one that the run was trained on by default.
        goals: how many actions ahead, task, or paths of pictures.
        episodes: of each goal.
        seed: of the choice of goals, and of all that is random.
        out: the results file, JSON.
        against: what acts beside the planner on the same goals: recorded (the recording's own actions), random, simulator (the same
            planner in the real simulator, slow), persistence (in a world that stands still), or a policy as foreact act takes it.
        solver: cem, mppi, gradient or shooting.
        samples: candidates per iteration; the solver's own number by default.
        iterations: of each plan, at most.
        seconds: after which a plan ends with the iteration that it is in.
        objective: l1, l2 or cosine, each with /moving (weighted to what is to move) and /way (over all chunks) where wanted, or
            module:function of your own; a sum such as l2/moving+0.1*cosine.
        horizon: actions that are looked ahead, at most.
        execute: actions that are executed before it plans again.
        chunk: actions per prediction; as many as are executed by default.
        knots: of a plan, joined by straight lines; one for each action by default.
        futures: of each candidate, for stochastic models: plan for their mean cost.
        worst: plan for the worst of the futures.
        spread: weight of the spread of the futures' costs, which is added.
        cold: do not begin with what is left of the last plan.
        setting: of the solver, NAME=VALUE, such as elites=8.
        option: of the simulator, NAME=VALUE.
        batch: environments side by side in each process.
        workers: processes.
    """

    model: Annotated[Positional[Path], arg(metavar="RUN", help_behavior_hint="(required)")]
    env: str
    data: Path | None = None
    goals: tuple[str, ...] = ("5", "10", "15", "25", "50", "task")
    episodes: int = 50
    seed: Seed = 0
    out: OutFile | None = None
    against: tuple[str, ...] = ()
    solver: str = "cem"
    samples: int | None = None
    iterations: int = 5
    seconds: float | None = None
    objective: str = "l2"
    horizon: int = 10
    execute: int = 5
    chunk: int | None = None
    knots: int | None = None
    futures: int = 1
    worst: bool = False
    spread: float = 0.0
    cold: bool = False
    setting: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = ()
    option: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = ()
    batch: int = 10
    workers: int = 1

    def run(self) -> None:
        """Plan."""
        from foreact.core.terminal import show
        from foreact.dreams.imagination import world_model_in
        from foreact.envs.registry import parse_options
        from foreact.evaluation.planning.casting import PLANNER
        from foreact.evaluation.planning.plan import PlanRequest, plan
        from foreact.evaluation.planning.table import plan_table
        from foreact.planning.config import PlannerConfig

        settings = parse_options(self.setting, what="--setting") | (
            {} if self.samples is None else {"samples": self.samples}
        )
        shared = (
            "solver",
            "objective",
            "iterations",
            "seconds",
            "horizon",
            "execute",
            "chunk",
            "knots",
            "futures",
            "worst",
            "spread",
        )
        request = PlanRequest(
            run=str(world_model_in(self.model)),
            env=self.env,
            data=None if self.data is None else str(self.data),
            goals=self.goals,
            episodes=self.episodes,
            seed=self.seed,
            who=(PLANNER, *self.against),
            planner=PlannerConfig(
                **{name: getattr(self, name) for name in shared}, warm=not self.cold, options=tuple(settings.items())
            ),
            options=tuple(parse_options(self.option).items()),
            batch=self.batch,
            workers=self.workers,
        )
        results = plan(request, self.out, progress_bar)
        show(plan_table(results))
        for what, why in results.notes.items():
            print(f"{what}: {why}")
        if self.out is not None:
            print(f"results: {self.out}")
