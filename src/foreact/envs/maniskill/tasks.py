"""The papers' tasks, as data: what lies on the table, who can do them and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from foreact.core.errors import ForeactError
from foreact.envs.maniskill.robots import ROBOTS, Robot

TaskName = Literal["PullCube", "PullCubeTool", "PokeCube", "RollBall", "PushT", "Play"]
Manner = Literal["planned", "scripted"]

ALL = tuple(ROBOTS)
GRIPPERS = tuple(name for name, robot in ROBOTS.items() if robot.gripper)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task.

    Attributes:
        name: as on the command line.
        text: what the robot is to do, kept with every episode.
        also: the same in other words.
        objects: name -> attribute of ManiSkill's environment; the first one's pose is the dataset's object pose.
        goal: attribute of the goal.
        robots: who can do it.
        wants: what the others lack.
        planned_for: robots for which ManiSkill ships motion planning; the others follow our scripts.
        shift: robot -> metres by which ManiSkill's layout is moved along x, to where that arm works with its hand upright.
        max_frames: longest recorded episode.
        shove: slowest and fastest unseen push of the uncertain setting, m/s.
    """

    name: TaskName
    text: str
    also: tuple[str, ...] = ()
    objects: dict[str, str]
    goal: str | None = None
    robots: tuple[str, ...] = ALL
    wants: str = ""
    planned_for: tuple[str, ...] = ()
    shift: Mapping[str, float] = field(default_factory=dict)
    max_frames: int
    shove: tuple[float, float] = (0.6, 1.0)

    def manner(self, robot: Robot) -> Manner:
        """How `robot` does it."""
        return "planned" if robot.name in self.planned_for else "scripted"


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="PullCube",
            text="pull the cube onto the target",
            also=("drag the cube back to the target", "bring the cube to the red and white target"),
            objects={"cube": "obj"},
            goal="goal_region",
            planned_for=("panda",),
            shift={"xarm6_robotiq": -0.2},
            max_frames=120,
        ),
        Task(
            name="PullCubeTool",
            text="pull the cube with the tool",
            also=("use the hook to bring the cube closer", "draw the cube near with the L-shaped tool"),
            objects={"cube": "cube", "tool": "l_shape_tool"},
            robots=("panda",),
            wants="a motion planner (ManiSkill ships one for the Panda)",
            planned_for=("panda",),
            max_frames=300,
        ),
        Task(
            name="PokeCube",
            text="poke the cube onto the target with the peg",
            also=("push the cube to the target with the peg", "use the peg to move the cube onto the target"),
            objects={"cube": "cube", "peg": "peg"},
            goal="goal_region",
            robots=GRIPPERS,
            wants="a gripper",
            shift={"panda": -0.1, "xarm6_robotiq": -0.2},
            max_frames=160,
        ),
        Task(
            name="RollBall",
            text="roll the ball onto the target",
            also=("hit the ball so that it rolls to the target", "make the ball roll over the target"),
            objects={"ball": "ball"},
            goal="goal_region",
            max_frames=120,
            shove=(0.1, 0.3),
        ),
        Task(
            name="PushT",
            text="push the T-shaped block onto the target",
            also=("move the T onto its outline", "bring the T-shaped block to the target"),
            objects={"tee": "tee"},
            goal="goal_tee",
            robots=("ur_10e",),
            wants="a stick and a reach of a metre",
            max_frames=300,
            shove=(1.2, 2.0),
        ),
        Task(name="Play", text="play with the things on the table", objects={}, max_frames=150),
    )
}


def choose(task: str, robot: str) -> tuple[Task, Robot]:
    """A task and a robot that can do it.

    Raises:
        ForeactError: unknown names, or a robot that cannot.
    """
    if task not in TASKS or robot not in ROBOTS:
        raise ForeactError(f"no task {task!r} with robot {robot!r}: tasks are {list(TASKS)}, robots {list(ROBOTS)}")
    if robot not in TASKS[task].robots:
        able = " or ".join(TASKS[task].robots)
        raise ForeactError(f"{robot} cannot do {task}, for want of {TASKS[task].wants}: take {able}")
    return TASKS[task], ROBOTS[robot]
