"""Push-T as an environment: gym-pusht's dynamics, starts, reward and success (95 % of the goal covered), 10 actions a second."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import numpy as np

from foreact.core.errors import ForeactError
from foreact.envs.block import BLOCK_CENTRE, centre_of
from foreact.envs.env import STATE
from foreact.envs.pusher import AGENT_RADIUS, ORBIT
from foreact.envs.pusht.look import LOOKS, WINDOW
from foreact.envs.pusht.policies import BLOCK, Expert, Pusher
from foreact.envs.pusht.recording import CAMERA, COLUMNS, FPS, TASKS, LookName, make_pusht
from foreact.envs.pusht.sliding import Sliding
from foreact.envs.world import EnvCard, Floats, Frame, Outcome, PlaceableWorld, WorldSpec

Start = Literal["anywhere", "near", "behind"]
MAX_STEPS: dict[str, int] = {"anywhere": 190, "near": 130, "behind": 100}
NEAR, TURNS = (
    (60.0, 120.0),
    {"near": np.pi / 4, "behind": np.pi / 12},
)  # pixels between block's and goal's centres; radians
BEHIND = np.pi / 8  # radians, seen from the block, that the agent is away from straight behind it
COVERED = 0.95
WALLS = (7.0, 504.0)  # where they begin
_SPEEDS = "speeds"  # of agent (2) and block (3), which recordings do not have


class PushTWorld(PlaceableWorld):
    """The agent's targets lead a block onto its goal; window pixels (512 x 512), y down.

    Args:
        image_size: side of the pictures.
        look: "unseen" has other colours and an L for a block.
        start: "anywhere" is where gym-pusht puts agent and block; "near", for quicker studies, has the block 60 to 120 pixels
            from its goal and turned by 45 degrees at most; "behind", which is easier still, turned by 15 at most and with the agent
            on its far side.
        covered: share of the goal that is success; 0.95 is gym-pusht's.

    Attributes:
        done: whether the goal is covered.
    """

    done = False

    def __init__(
        self, image_size: int, look: LookName = "default", start: Start = "anywhere", covered: float = COVERED
    ) -> None:
        if look not in LOOKS or start not in MAX_STEPS:
            raise ForeactError(f"no look {look!r} with start {start!r}: {', '.join(LOOKS)}; {', '.join(MAX_STEPS)}")
        if not 0 < covered <= COVERED:
            raise ForeactError(
                f"covered is the share of the goal that is success, above 0 and at most {COVERED}, not {covered}"
            )
        self.look, self._start, self._covered = LOOKS[look], start, covered
        self._env = make_pusht(image_size, self.look, draws=False)
        self.spec = WorldSpec(
            robot="pusht",
            cameras={CAMERA: (image_size, image_size)},
            state=COLUMNS["observation.state"],
            action=COLUMNS["action"],
            low=np.zeros(2),
            high=np.full(2, float(WINDOW)),
            fps=FPS,
            max_steps=MAX_STEPS[start],
            phrasings=(
                TASKS["goal"],
                "move the T onto the green target",
                "bring the T-shaped block to the green goal",
            ),
        )

    def start(self, seed: int) -> None:
        """See `World`."""
        near = {"reset_to_state": self._near(np.random.default_rng(seed))} if self._start != "anywhere" else None
        self._info = self._env.reset(seed=seed, options=near)[1]
        self.done = False

    def act(self, action: Floats) -> Outcome:
        """See `World`; the reward is the covered share of the goal over 0.95, at most 1."""
        _, reward, _, _, self._info = self._env.step(action)
        self.done = bool(self._info["coverage"] > self._covered)
        return Outcome(reward=float(reward), success=self.done, measures={"coverage": float(self._info["coverage"])})

    def pictures(self) -> dict[str, Frame]:
        """See `World`."""
        return {CAMERA: self._env.picture()}

    def state(self) -> Floats:
        """Where the agent is, (2,)."""
        return self._info["pos_agent"]

    def hidden(self) -> dict[str, Floats]:
        """Pose of the block, (3,)."""
        return {BLOCK: self._info["block_pose"]}

    def snapshot(self) -> dict[str, Floats]:
        """See `PlaceableWorld`."""
        agent, block = self._env.agent, self._env.block
        speeds = np.array([*agent.velocity, *block.velocity, block.angular_velocity])
        return {STATE: self.state(), **self.hidden(), _SPEEDS: speeds}

    def place(self, columns: Mapping[str, Floats]) -> None:
        """See `PlaceableWorld`; the physics begins anew, so that nothing of earlier contacts is left."""
        env, (x, y, angle) = self._env, (float(n) for n in columns[BLOCK])
        speeds = [float(n) for n in columns.get(_SPEEDS, np.zeros(5))]
        env._setup()
        env.agent.position, env.agent.velocity = tuple(float(n) for n in columns[STATE]), tuple(speeds[:2])
        env.block.angle = angle  # before the position, which it would move: the block turns about its centre of gravity
        env.block.position = (x, y)
        env.block.velocity, env.block.angular_velocity = tuple(speeds[2:4]), speeds[4]
        for body in (env.agent, env.block):
            env.space.reindex_shapes_for_body(body)  # else pictures show them where they were made, until the next step
        self._info, self.done = env._get_info(), False

    def finished(self) -> dict[str, Floats]:
        """See `PlaceableWorld`."""
        return {**self.snapshot(), BLOCK: self.goal}

    def apart(self, columns: Mapping[str, Floats]) -> tuple[float, float]:
        """Pixels, over the places of agent and block together, and the block's turn in degrees: DINO-WM's measure of success."""
        block, wanted = self.hidden()[BLOCK], columns[BLOCK]
        places = np.concatenate([self.state() - columns[STATE], block[:2] - wanted[:2]])
        turn = (block[2] - wanted[2] + np.pi) % (2 * np.pi) - np.pi
        return float(np.linalg.norm(places)), float(np.degrees(abs(turn)))

    def close(self) -> None:
        """See `World`."""
        self._env.close()

    @property
    def goal(self) -> Floats:
        """Pose of the block when all of the goal is covered, (3,)."""
        return self._info["goal_pose"]

    @property
    def model(self) -> Sliding:
        """The block as planning sees it, once an episode has begun."""
        block = self._env.block
        return Sliding(
            boxes=self.look.boxes,
            centre=np.array(block.center_of_gravity),
            gyration=block.moment / block.mass,
            radius=AGENT_RADIUS,
            walls=WALLS,
        )

    def _near(self, rng: np.random.Generator) -> Floats:
        """Agent and block as gym-pusht sets them, (5,): the block is put down upright and then turned about its centre."""
        most = TURNS[self._start]
        turn, way = rng.uniform(-most, most), rng.uniform(-np.pi, np.pi)
        goal = np.array([256.0, 256.0, np.pi / 4])
        centre = centre_of(goal) + rng.uniform(*NEAR) * np.array([np.cos(way), np.sin(way)])
        agent = centre
        while np.linalg.norm(agent - centre) < ORBIT:
            agent = rng.uniform(50, 450, 2)
        if self._start == "behind":
            way += rng.uniform(-BEHIND, BEHIND)
            agent = centre + (ORBIT + rng.uniform(5, 25)) * np.array([np.cos(way), np.sin(way)])
        return np.concatenate([agent, centre - BLOCK_CENTRE, [goal[2] + turn]])


def _make(
    task: str, image_size: int, look: LookName = "default", start: Start = "anywhere", covered: float = COVERED
) -> PushTWorld:
    return PushTWorld(image_size, look, start, covered)


CARD = EnvCard(
    name="pusht",
    label="Push-T (gym-pusht)",
    robot="pusht",
    cameras=(CAMERA,),
    fps=FPS,
    make=_make,
    packages=("gym-pusht", "pymunk"),
    install="pip install 'foreact[pusht]'",
    policies={
        "expert": Expert,
        "noisy": partial(Expert, noise=8.0),
        "push": partial(Pusher, manner="push"),
        "play": partial(Pusher, manner="play"),
    },
    hidden={BLOCK: COLUMNS[BLOCK]},
)
