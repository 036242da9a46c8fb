"""Push-T as an environment: gym-pusht's dynamics, starts, reward and success (95 % of the goal covered), 10 actions a second."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from foreact.core.contracts import Observation
from foreact.envs.pusher import Manner, ScriptedPusher
from foreact.envs.pusht.look import LOOKS, WINDOW
from foreact.envs.pusht.recording import CAMERA, COLUMNS, FPS, TASKS, LookName, make_pusht
from foreact.envs.world import EnvCard, Floats, Frame, Outcome, World, WorldSpec

BLOCK = "observation.environment_state"


class PushTWorld(World):
    """The agent's targets lead a block onto its goal; window pixels (512 x 512), y down.

    Args:
        image_size: side of the pictures.
        look: "unseen" has other colours and an L for a block.
    """

    def __init__(self, image_size: int, look: LookName = "default") -> None:
        self._env = make_pusht(image_size, LOOKS[look], draws=False)
        self.spec = WorldSpec(
            robot="pusht",
            cameras={CAMERA: (image_size, image_size)},
            state=COLUMNS["observation.state"],
            action=COLUMNS["action"],
            low=np.zeros(2),
            high=np.full(2, float(WINDOW)),
            fps=FPS,
            max_steps=300,
            phrasings=(
                TASKS["goal"],
                "move the T onto the green target",
                "bring the T-shaped block to the green goal",
            ),
        )

    def start(self, seed: int) -> None:
        """See `World`; agent and block stand where gym-pusht puts them for this seed."""
        self._info = self._env.reset(seed=seed)[1]

    def act(self, action: Floats) -> Outcome:
        """See `World`; the reward is the covered share of the goal over 0.95, at most 1."""
        _, reward, success, _, self._info = self._env.step(action)
        return Outcome(
            reward=float(reward), success=bool(success), measures={"coverage": float(self._info["coverage"])}
        )

    def pictures(self) -> dict[str, Frame]:
        """See `World`."""
        return {CAMERA: self._env.picture()}

    def state(self) -> Floats:
        """Where the agent is, (2,)."""
        return self._info["pos_agent"]

    def hidden(self) -> dict[str, Floats]:
        """Pose of the block, (3,)."""
        return {BLOCK: self._info["block_pose"]}

    def close(self) -> None:
        """See `World`."""
        self._env.close()

    def pusher(self, rng: np.random.Generator, manner: Manner) -> ScriptedPusher:
        """A pusher for the episode that has just begun."""
        info, boxes = self._info, self._env.look.boxes
        return ScriptedPusher(rng, info["pos_agent"], info["goal_pose"], boxes=boxes, manners=((manner, 1.0),))


class Pusher:
    """The scripted pusher as a policy: it sees where agent and block are, and gives one action at a time.

    Args:
        world: of which it reads the poses.
        manner: of `pusher.ScriptedPusher`.
    """

    def __init__(self, world: World, manner: Manner) -> None:
        self._world: Any = world
        self._manner = manner

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """For the episode that has just begun."""
        rng = np.random.default_rng(seeds[0] if seeds else None)
        self._pusher: ScriptedPusher = self._world.pusher(rng, self._manner)

    def act(self, observation: Observation) -> Floats:
        """The next target, (1, 2)."""
        block = self._world.hidden()[BLOCK]
        return self._pusher.act(self._world.state(), block)[None]


CARD = EnvCard(
    name="pusht",
    label="Push-T (gym-pusht)",
    make=lambda task, image_size, **options: PushTWorld(image_size, **options),
    packages=("gym-pusht", "pymunk"),
    install="pip install 'foreact[pusht]'",
    policies={
        "expert": partial(Pusher, manner="solve"),
        "push": partial(Pusher, manner="push"),
        "play": partial(Pusher, manner="play"),
    },
    hidden={BLOCK: COLUMNS[BLOCK]},
)
