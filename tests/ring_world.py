"""A world that costs nothing: a dot that goes where its actions send it, and a ring that it is to reach."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from foreact.data.writer import LeRobotWriter
from foreact.envs.world import EnvCard, Outcome, PlaceableWorld, WorldSpec

CAMERA, STATE, RING = "observation.images.top", "observation.state", "observation.ring"
SIDE, NEAR, STRIDE, MOST = 32, 3.0, 2.0, 40


class RingWorld(PlaceableWorld):
    """Positions are pixels; an action is a step of at most 2 pixels along each axis."""

    def __init__(
        self, image_size: int, *, crash_at: int | None = None, die_at: int | None = None, fps: float = 10.0
    ) -> None:
        self._size, self._crash_at, self._die_at, self.drawn = image_size, crash_at, die_at, 0
        self.spec = WorldSpec(
            robot="dot",
            cameras={CAMERA: (image_size, image_size)},
            state=("x", "y"),
            action=("dx", "dy"),
            low=np.full(2, -STRIDE),
            high=np.full(2, STRIDE),
            fps=fps,
            max_steps=MOST,
            phrasings=("go to the ring", "reach the ring"),
        )

    def start(self, seed: int) -> None:
        if seed == self._die_at:
            os._exit(3)
        if seed == self._crash_at:
            raise RuntimeError("the ring is lost")
        self.dot, self.ring = np.random.default_rng(seed).uniform(4, SIDE - 4, (2, 2))

    def act(self, action: np.ndarray) -> Outcome:
        self.dot = np.clip(self.dot + action, 1, SIDE - 1)
        distance = float(np.linalg.norm(self.ring - self.dot))
        return Outcome(reward=-distance, success=distance < NEAR, measures={"nearness": -distance})

    def pictures(self) -> dict[str, np.ndarray]:
        self.drawn += 1
        y, x = np.mgrid[: self._size, : self._size] * (SIDE / self._size)
        picture = np.full((self._size, self._size, 3), 40, np.uint8)
        away = np.hypot(x - self.ring[0], y - self.ring[1])
        picture[(away < 4) & (away > 2)] = (40, 220, 40)
        picture[np.hypot(x - self.dot[0], y - self.dot[1]) < 2.5] = (230, 60, 60)
        return {CAMERA: picture}

    def state(self) -> np.ndarray:
        return self.dot

    def hidden(self) -> dict[str, np.ndarray]:
        return {RING: self.ring}

    def snapshot(self) -> dict[str, np.ndarray]:
        return {STATE: self.dot, RING: self.ring}

    def place(self, columns) -> None:
        self.dot, self.ring = columns[STATE], columns[RING]

    def finished(self) -> dict[str, np.ndarray]:
        return {STATE: self.ring, RING: self.ring}

    def apart(self, columns) -> tuple[float, float]:
        return float(np.linalg.norm(self.dot - columns[STATE])), 0.0


class Expert:
    """Goes straight to the ring."""

    def __init__(self, world: RingWorld) -> None:
        self._world = world

    def reset(self, seeds=None) -> None:
        self._rng = np.random.default_rng(seeds[0] if seeds else None)

    def act(self, observation) -> np.ndarray:
        way = self._world.ring - self._world.dot + self._rng.normal(0, 0.3, 2)
        return np.clip(way, -STRIDE, STRIDE)[None]


CARD = EnvCard(
    name="ring",
    label="a dot and a ring",
    robot="dot",
    cameras=(CAMERA,),
    fps=10.0,
    make=lambda task, image_size, crash_at=None, die_at=None, fps=10.0: RingWorld(
        image_size, crash_at=crash_at, die_at=die_at, fps=fps
    ),
    packages=("numpy",),
    install="pip install numpy",
    policies={"expert": Expert},
    hidden={RING: ("x", "y")},
)


def still(world):
    """A policy of the user's own."""
    return Still()


class Still:
    """Never moves."""

    def reset(self, seeds=None) -> None:
        """Nothing."""

    def act(self, observation) -> np.ndarray:
        return np.zeros((1, 2))


def demonstrate(
    root: Path,
    episodes: int,
    *,
    actionless: tuple[int, ...] = (),
    seed: int = 1000,
    side: int = SIDE,
    linger: int = 4,
    told: bool = False,
    ring: bool = False,
    fps: int = 10,
    robot: str = "dot",
    words: str = "go to the ring",
) -> Path:
    """Record the expert, and how it lingers for some frames."""
    world = RingWorld(side)
    columns = {STATE: ("x", "y"), "action": ("dx", "dy")} | ({"next.success": ("success",)} if told else {})
    columns |= {RING: ("x", "y")} if ring else {}
    with LeRobotWriter(root, fps=fps, cameras={"top": (side, side)}, columns=columns, robot_type=robot) as writer:
        for number in range(episodes):
            world.start(seed + number)
            expert = Expert(world)
            expert.reset([seed + number])
            frames, states, actions, successes, done, after = [], [], [], [], False, 0
            while after < linger and len(actions) < MOST:
                frames.append(world.pictures()[CAMERA])
                states.append(world.dot.copy())
                actions.append(expert.act({})[0])
                done = world.act(actions[-1]).success or done
                successes.append(done)
                after += done
            rows = {STATE: np.array(states, np.float32), "action": np.array(actions, np.float32)}
            if told:
                rows["next.success"] = np.array(successes, np.float32)[:, None]
            if ring:
                rows[RING] = np.tile(world.ring, (len(actions), 1)).astype(np.float32)
            if number in actionless:
                del rows["action"]
            writer.add_episode({"top": np.stack(frames)}, rows, words)
    return root
