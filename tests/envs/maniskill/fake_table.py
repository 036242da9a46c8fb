"""A table without ManiSkill: a hand that goes where it is told, things that give way to it, one grey level per frame."""

from __future__ import annotations

import numpy as np

from foreact.envs.maniskill.contract import Command, Snapshot
from foreact.envs.maniskill.tasks import choose

REACH = 0.035  # the hand pushes what is nearer than this ahead of it
SWAP = [1, 0, 2]
GOAL_RADIUS = {"PullCube": 0.1, "PokeCube": 0.05, "RollBall": 0.1, "PushT": 0.02, "PullCubeTool": 0.1, "Play": 0.0}


def pose(x: float, y: float, z: float = 0.02) -> np.ndarray:
    return np.array([x, y, z, 1.0, 0.0, 0.0, 0.0])


class FakeTable:
    """An action is (y, x, z, 0, ..., opening), so that a first joint that is off is off sideways; the hand is there at once."""

    def __init__(self, task: str, robot: str, image_size: int = 16) -> None:
        self.task, self.robot = choose(task, robot)
        self.size = image_size
        self.drawn, self.closed = 0, False
        self.shoved: list[tuple[str, np.ndarray]] = []
        self.commands: list[Command] = []

    @property
    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(self.robot.action_names), -2.0), np.full(len(self.robot.action_names), 2.0)

    def close(self) -> None:
        self.closed = True

    def reset(self, seed: int) -> Snapshot:
        rng = np.random.default_rng(seed)
        self.tool, self.opening, self.time, self.held = np.array([-0.2, 0.0, 0.17]), 1.0, 0, False
        self.shoved.clear()
        self.commands.clear()
        x, y = rng.uniform(-0.1, 0.0), rng.uniform(-0.1, 0.1)
        self.things = {name: np.array([x, y]) for name in self.task.objects}
        if self.task.name == "Play":
            self.things = {f"shape_{i}": np.array([-0.25 + 0.12 * i, 0.1 * (-1) ** i]) for i in range(4)}
        if "peg" in self.things:
            self.things["peg"] = np.array([x - 0.22, rng.uniform(-0.1, 0.1)])
        self.goal = np.array([x + (-0.2 if self.task.name == "PullCube" else 0.1), y])
        if self.task.name == "RollBall":
            self.goal = np.array([x + 0.35, y + 0.1])
        self.velocity = {name: np.zeros(2) for name in self.things}
        return self._snapshot()

    def step(self, action: np.ndarray) -> Snapshot:
        assert action.shape == (len(self.robot.action_names),)
        before, opening = self.tool, float(action[-1])
        self.tool, self.time = action[SWAP], self.time + 1
        moved = self.tool[:2] - before[:2]
        if "peg" in self.things:
            self._handle_peg(moved, closing=opening < 0.5 <= self.opening, closed=opening < 0.5)
        self.opening = opening
        for name, place in self.things.items():
            heading = moved / max(float(np.linalg.norm(moved)), 1e-9)
            gap = place - self.tool[:2]
            along = float(gap @ heading)
            if (
                name != "peg"
                and self.tool[2] < 0.06
                and 0 < along < REACH
                and np.linalg.norm(gap - along * heading) < 0.03
            ):
                self.things[name] = place + heading * (REACH - along)
                if name == "ball":
                    self.velocity[name] = moved
            self.things[name] = self.things[name] + self.velocity[name]
            if name != "ball":
                self.velocity[name] = self.velocity[name] / 2
        return self._snapshot()

    def frame(self) -> np.ndarray:
        self.drawn += 1
        return np.full((self.size, self.size, 3), self.time % 256, np.uint8)

    def reach(self, command: Command) -> np.ndarray:
        self.commands.append(command)
        action = np.zeros(len(self.robot.action_names))
        action[-1] = command.opening
        action[SWAP] = self.robot.within_reach(command.position)
        return action

    def shove(self, name: str, velocity: np.ndarray) -> None:
        self.shoved.append((name, velocity))
        self.velocity[name] = self.velocity[name] + velocity / 20

    def plan(self, seed: int) -> np.ndarray:
        """Straight to the goal in 30 frames, from behind."""
        self.reset(seed)
        start = next(iter(self.things.values())) + np.array([0.1, 0.0])
        plan = np.zeros((30, len(self.robot.action_names)))
        plan[:, SWAP[:2]] = np.linspace(start, self.goal, 30)
        plan[:, 2] = 0.03
        return plan

    def _handle_peg(self, moved: np.ndarray, *, closing: bool, closed: bool) -> None:
        gap = np.abs(self.things["peg"] - self.tool[:2])
        if closing and gap[0] < 0.12 and gap[1] < 0.02 and self.tool[2] < 0.05:
            self.held = True
        self.held = self.held and closed
        if self.held:
            self.things["peg"] = self.things["peg"] + moved
            head, cube = self.things["peg"] + np.array([0.12, 0.0]), self.things["cube"]
            if abs(head[1] - cube[1]) < 0.04 and head[0] > cube[0] - 0.07:
                self.things["cube"] = np.array([max(cube[0], head[0] + 0.02), cube[1]])

    def _snapshot(self) -> Snapshot:
        places = {name: pose(*place) for name, place in self.things.items()}
        first = next(iter(self.things.values()))
        return Snapshot(
            joints=np.resize(self.tool, len(self.robot.joints)),
            tool=np.append(self.tool, [0.0, 1.0, 0.0, 0.0]),
            objects=places,
            goal=pose(*self.goal) if self.task.goal else None,
            success=bool(np.linalg.norm(first - self.goal) < GOAL_RADIUS[self.task.name]),
        )
