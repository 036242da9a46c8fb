"""LIBERO as an environment, by the protocol of openpi and LeRobot.

Seed s begins with the initial state s modulo 50 of its task, so that seeds 0 to 49 are the benchmark's fifty episodes; what has no
joints is placed by LIBERO's seed 7. Ten actions pass, in which objects settle, before the first picture. Both cameras are shown as
published policies see them: turned by half a circle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from foreact.envs.libero.expert import Expert
from foreact.envs.libero.simulator import INSTALL, make_simulator, start_states, suite
from foreact.envs.world import EnvCard, Floats, Frame, Outcome, World, WorldSpec

CAMERAS = {"observation.images.agentview": "agentview", "observation.images.wrist": "robot0_eye_in_hand"}
LIMITS = {"spatial": 220, "object": 280, "goal": 300, "10": 520}
"""Suite -> after how many actions an episode is cut; LeRobot gives spatial 280."""
FPS, TASKS, SEED, WAITING = 20, 10, 7, 10
_WAIT = np.array([0.0] * 6 + [-1.0])


class Libero(World):
    """A Panda whose hand is led by changes of its pose.

    An action is the change of the hand's place (1 is 5 cm) and turn (1 is 0.5 rad) within one period, and the gripper: -1 opens,
    1 closes; all within [-1, 1].

    Args:
        task: suite and number, such as spatial/3.
        image_size: side of the pictures; published policies see 256.

    Attributes:
        suite: such as spatial.
        simulator: LIBERO's own environment.
        seen: LIBERO's own observation, which scripted experts look at.
    """

    seen: dict[str, Any]

    def __init__(self, task: str, image_size: int) -> None:
        self.suite, number = task.split("/")
        name = f"libero_{self.suite}"
        self._image_size = image_size
        self.simulator = make_simulator(name, int(number))
        self._starts = start_states(name, int(number))
        self.spec = WorldSpec(
            robot="panda",
            cameras=dict.fromkeys(CAMERAS, (image_size, image_size)),
            state=("x", "y", "z", "turn_x", "turn_y", "turn_z", "finger_1", "finger_2"),
            action=("dx", "dy", "dz", "dturn_x", "dturn_y", "dturn_z", "gripper"),
            low=-np.ones(7),
            high=np.ones(7),
            fps=FPS,
            max_steps=LIMITS[self.suite],
            phrasings=(suite(name).get_task(int(number)).language,),
        )

    def start(self, seed: int) -> None:
        """See `World`."""
        np.random.seed(SEED)
        self.simulator.seed(SEED)
        self.simulator.reset()  # without it, a line that marks places stays in the pictures
        self.seen = self.simulator.set_init_state(self._starts[seed % len(self._starts)])
        for _ in range(WAITING):
            self.act(_WAIT)

    def act(self, action: Floats) -> Outcome:
        """See `World`; the reward is 1 where the task is done."""
        self.seen, _, done, _ = self.simulator.step(action)
        return Outcome(reward=float(done), success=bool(done))

    def pictures(self) -> dict[str, Frame]:
        """See `World`; they come bottom-up, so that turning them is a mirror."""
        size = self._image_size
        return {
            name: np.ascontiguousarray(
                self.simulator.sim.render(camera_name=camera, width=size, height=size)[::-1, ::-1]
            )
            for name, camera in CAMERAS.items()
        }

    def state(self) -> Floats:
        """The hand's place, metres, its turn as axis times angle, radians, and the fingers' places, metres: (8,)."""
        from robosuite.utils.transform_utils import quat2axisangle

        seen = self.seen
        turn = quat2axisangle(seen["robot0_eef_quat"].copy())  # it draws its argument into [-1, 1]
        return np.concatenate([seen["robot0_eef_pos"], turn, seen["robot0_gripper_qpos"]])

    def close(self) -> None:
        """See `World`."""
        self.simulator.close()


CARD = EnvCard(
    name="libero",
    label="LIBERO",
    tasks=tuple(f"{name}/{number}" for name in LIMITS for number in range(TASKS)),
    robot="panda",
    cameras=tuple(CAMERAS),
    fps=FPS,
    make=Libero,
    packages=("hf-libero", "robosuite", "mujoco"),
    install=INSTALL,
    policies={"expert": Expert},
)
