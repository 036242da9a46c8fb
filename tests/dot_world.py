"""A simulator for tests, found through an entry point: a dot that is to go to the middle of a tiny picture."""

from __future__ import annotations

import numpy as np

from foreact.envs.world import EnvCard, Outcome, World, WorldSpec

PLACE = "observation.environment_state"


class Dot(World):
    """Actions shift the dot; `drawn` counts pictures. Episodes depend on the seed alone."""

    def __init__(self, size: int, fps: int) -> None:
        self.size, self.drawn = size, 0
        self.spec = WorldSpec(
            robot="dot",
            cameras={"observation.images.top": (size, size), "observation.images.dark": (size, size)},
            state=("x", "y"),
            action=("dx", "dy"),
            low=-np.ones(2),
            high=np.ones(2),
            fps=fps,
            max_steps=30,
            phrasings=("go to the middle", "move the dot to the middle"),
        )

    def start(self, seed):
        self._rng = np.random.default_rng(seed)
        self._at = self._rng.uniform(0, self.size / 3, 2)

    def act(self, action):
        self._at = np.clip(self._at + action + self._rng.normal(0, 0.05, 2), 0, self.size - 1)
        away = float(np.abs(self._at - self.size / 2).max())
        return Outcome(reward=-away, success=away < 1.0, measures={"away": away})

    def pictures(self):
        self.drawn += 1
        frame = np.zeros((self.size, self.size, 3), np.uint8)
        x, y = self._at.astype(int)
        frame[y, x] = 255
        return {"observation.images.top": frame, "observation.images.dark": frame // 2}

    def state(self):
        return self._at

    def hidden(self):
        return {PLACE: self._at / self.size}


class Goes:
    """Goes to the middle in chunks of four, or away from it."""

    def __init__(self, world: Dot, sign: float = 1.0, luck: float = 1.0) -> None:
        self._world, self._sign, self._luck = world, sign, luck

    def reset(self, seeds=None):
        rng = np.random.default_rng(seeds)
        self._goes = self._sign if rng.random() < self._luck else 0.0

    def act(self, observation):
        way = self._world.size / 2 - observation["observation.state"]
        return np.tile(self._goes * way / 4, (4, 1))


class Flees(Goes):
    """Goes away from the middle."""

    def __init__(self, world: Dot) -> None:
        super().__init__(world, sign=-8.0)


class Breaks(Goes):
    """Gives what is no number."""

    def act(self, observation):
        return np.full((1, 2), np.nan)


CARD = EnvCard(
    name="dot",
    label="Dot",
    tasks=("middle",),
    robot="dot",
    cameras=("observation.images.top", "observation.images.dark"),
    fps=5,
    make=lambda task, image_size, fps=5: Dot(image_size, fps),
    packages=("numpy",),
    install="pip install dot",
    policies={
        "expert": Goes,
        "lucky": lambda world: Goes(world, luck=0.6),
        "play": Flees,
    },
    hidden={PLACE: ("x", "y")},
)
