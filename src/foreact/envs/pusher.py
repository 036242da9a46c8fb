"""A scripted pusher for Push-T: it walks around the block, pushes it, retreats, wanders and plays.

Positions are window pixels (x right, y down, 512 x 512), angles radians. The pusher never sees a picture. In one of its
manners it brings the block to its goal, in the others it makes recordings varied.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np

from foreact.envs.block import BLOCK_BOXES, Array, centre_of, distance_to_block
from foreact.envs.push_planning import PushPlanner

Manner = Literal["solve", "goal", "push", "play"]

AGENT_RADIUS = 15.0
ARENA = (22.0, 489.0)  # where the agent's centre may be sent without reaching into the walls
BLOCK_ROOM = (105.0, 406.0)  # where a push should leave the block's centre, so that it stays free of the walls
ORBIT = 104.0  # at this distance from the centre of gravity the agent passes the block in any pose
Manners = tuple[tuple[Manner, float], ...]  # each with its share of the episodes
MANNERS: Manners = (("goal", 0.4), ("push", 0.45), ("play", 0.15))
GAP = 20.0  # room between the block and the agent where a planned push begins, and after it
BEYOND = 3.0  # what a planned push is sent further: the agent comes to rest before its target


class ScriptedPusher:
    """Chooses the target (x, y) of the agent step by step, for one episode.

    Args:
        rng: the only source of chance.
        agent: (2,) where the agent stands at the start.
        goal: (3,) the block pose to push to or towards in the manners "solve" and "goal".
        boxes: the block's shape, as `BLOCK_BOXES`.
        radius: of the agent, for planned pushes.
        manners: to choose from, with shares that add up to 1.

    Attributes:
        manner: "solve" plans the push that brings the block nearest to the goal pose, "goal" pushes roughly towards it,
            "push" in free directions, "play" follows smooth random ways.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        agent: Array,
        goal: Array,
        *,
        boxes: Array = BLOCK_BOXES,
        radius: float = AGENT_RADIUS,
        manners: Manners = MANNERS,
    ) -> None:
        self.rng = rng
        self._boxes = boxes
        names, shares = zip(*manners, strict=True)
        self.manner: Manner = names[rng.choice(len(names), p=shares)]
        self._goal = goal
        self._planner = PushPlanner(boxes, radius, ARENA, gap=GAP)
        self._noise = rng.uniform(0.0, 0.5 if self.manner == "solve" else 6.0)
        self._momentum = 0.6 if self.manner == "play" else 0.0
        self._cursor = np.array(agent, dtype=np.float64)
        self._velocity = np.zeros(2)
        self._way: deque[tuple[Array, float]] = deque()

    def act(self, agent: Array, block: Array) -> Array:
        """The target (2,) for the next step, given the agent's position (2,) and the block's pose (3,)."""
        if not self._way:
            self._plan(agent, block)
        point, speed = self._way[0]
        step = point - self._cursor
        distance = float(np.linalg.norm(step))
        pace = speed * float(np.exp(self.rng.normal(0.0, 0.2)))
        wanted = step * min(1.0, pace / max(distance, 1e-9))
        self._velocity = self._momentum * self._velocity + (1.0 - self._momentum) * wanted
        self._cursor = self._cursor + self._velocity
        if distance <= pace:
            self._way.popleft()
        return np.clip(self._cursor + self.rng.normal(0.0, self._noise, 2), *ARENA)

    def _plan(self, agent: Array, block: Array) -> None:
        mood = self.rng.random()
        if self.manner == "play":
            self._wander(block, legs=3)
        elif self.manner == "solve":
            self._push_home(agent, block)
        elif mood < 0.08:  # linger
            self._go(agent + self.rng.normal(0.0, 12.0, 2), self.rng.uniform(2.0, 5.0))
        elif mood < 0.18:
            self._wander(block, legs=1)
        else:
            self._push(agent, block)

    def _wander(self, block: Array, *, legs: int) -> None:
        for _ in range(legs):
            near = self.rng.random() < 0.4
            point = centre_of(block) + self.rng.normal(0.0, 90.0, 2) if near else self.rng.uniform(*ARENA, 2)
            self._go(point, self.rng.uniform(8.0, 26.0))

    def _push(self, agent: Array, block: Array) -> None:
        centre = centre_of(block)
        direction, offset, length = self._choose_push(block)
        line = centre + offset * np.array([-direction[1], direction[0]])
        touch = _first_touch(line, direction, block, self._boxes)
        start = line + (touch - self.rng.uniform(6.0, 24.0)) * direction
        end = line + (touch + length) * direction
        travel = self.rng.uniform(16.0, 32.0)
        for point in _around(agent, start, block, self._boxes):
            self._go(point, travel)
        self._go(end, self.rng.uniform(7.0, 20.0))
        if self.rng.random() < 0.5:
            self._go(end - self.rng.uniform(15.0, 60.0) * direction, travel)

    def _push_home(self, agent: Array, block: Array) -> None:
        push = self._planner.best(block, self._goal)
        end = push.touch + (push.length + BEYOND) * push.direction
        for point in _around(agent, push.touch - GAP * push.direction, block, self._boxes):
            self._go(point, self.rng.uniform(20.0, 32.0))
        self._go(end, self.rng.uniform(7.0, 14.0))
        self._go(end - GAP * push.direction, 16.0)

    def _choose_push(self, block: Array) -> tuple[Array, float, float]:
        """Direction (2,), sideways offset of the contact line from the centre of gravity, and how far to push."""
        centre = centre_of(block)
        for attempt in range(12):
            length = self.rng.uniform(30.0, 150.0)
            if self.manner == "goal" and attempt < 6:
                direction, offset, length = self._towards_goal(block, length)
            else:
                direction = _unit(self.rng.uniform(-np.pi, np.pi))
                offset = self.rng.normal(0.0, 12.0) if self.rng.random() < 0.5 else self.rng.uniform(-58.0, 58.0)
            start, end = centre - 0.9 * ORBIT * direction, centre + length * direction
            if _inside(start, ARENA) and _inside(end, BLOCK_ROOM):
                return direction, offset, length
        middle = np.full(2, np.mean(ARENA)) - centre
        return middle / max(float(np.linalg.norm(middle)), 1e-9), self.rng.normal(0.0, 12.0), 60.0

    def _towards_goal(self, block: Array, length: float) -> tuple[Array, float, float]:
        way = centre_of(self._goal) - centre_of(block)
        distance = float(np.linalg.norm(way))
        turn = (self._goal[2] - block[2] + np.pi) % (2 * np.pi) - np.pi
        heading = float(np.arctan2(way[1], way[0])) + self.rng.normal(0.0, 0.25 + 20.0 / (distance + 20.0))
        if abs(turn) > 0.3 and self.rng.random() < 0.6:  # a push to one side of the centre turns the block to the other
            return _unit(heading), -float(np.sign(turn)) * self.rng.uniform(20.0, 55.0), min(length, 80.0)
        return _unit(heading), self.rng.normal(0.0, 8.0), min(length, distance + 20.0)

    def _go(self, point: Array, speed: float) -> None:
        self._way.append((np.clip(point, *ARENA), float(speed)))


def _first_touch(line: Array, direction: Array, block: Array, boxes: Array) -> float:
    """How far along `direction` from `line` an agent coming from behind first touches the block."""
    along = np.arange(-ORBIT - 10.0, 10.0, 2.0)
    touching = distance_to_block(line + along[:, None] * direction, block, boxes) <= AGENT_RADIUS
    return float(along[int(np.argmax(touching))]) if touching.any() else 0.0


def _around(agent: Array, start: Array, block: Array, boxes: Array) -> list[Array]:
    """Points on the way from `agent` to `start`: straight where the block is not in the way, else around it."""
    straight = agent + np.linspace(0.0, 1.0, 24)[:, None] * (start - agent)
    if distance_to_block(straight, block, boxes)[4:].min() > AGENT_RADIUS + 2.0:
        return [start]
    centre = centre_of(block)
    first, last = (float(np.arctan2(*(point - centre)[::-1])) for point in (agent, start))
    turn = (last - first + np.pi) % (2 * np.pi) - np.pi
    arcs = max(1, int(np.ceil(abs(turn) / 0.5)))
    return [centre + ORBIT * _unit(first + turn * i / arcs) for i in range(1, arcs + 1)] + [start]


def _inside(point: Array, room: tuple[float, float]) -> bool:
    return bool(np.all((point >= room[0]) & (point <= room[1])))


def _unit(angle: float) -> Array:
    return np.array([np.cos(angle), np.sin(angle)])
