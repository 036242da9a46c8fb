"""MetaWorld as an environment: a hand that is led by steps of at most a centimetre, twenty a second.

MetaWorld itself takes 80 actions a second, each of which may move the hand's target by a centimetre, and is done after one
second. Here an action has the same bounds and is **spread** over the four control steps of its period: their movements add up to
it, and the fingers' effort is the same in all four. So an episode has as many actions as MetaWorld's own, and lasts four times
as long: the hand moves at 0.2 m/s at most.
"""

from __future__ import annotations

import os
import sys
from functools import cached_property, partial
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError
from foreact.envs.metaworld.policies import Expert, Play
from foreact.envs.metaworld.tasks import TASKS
from foreact.envs.world import EnvCard, Floats, Frame, Outcome, World, WorldSpec

CAMERA = "observation.images.corner"
OBJECT = "observation.object_pose"
CONTROL_RATE, FPS = 80, 20
INSTALL = "pip install 'foreact[metaworld]'"
_FAUCETS = ((-0.1, 0.8, 0.0), (0.1, 0.85, 0.0))  # where faucets stand, for both of their tasks: only the words differ


class MetaWorld(World):
    """A Sawyer arm whose hand is led, fingers down, by its target.

    An action is the movement of the target within one period, centimetres along x, y and z, and the effort of the fingers
    (1 closes); all within [-1, 1]. Goal markers are hidden, since they give the answer away, and so are shadows and
    reflections, which cost more than the rest of a picture.

    Args:
        task: one of `TASKS`.
        image_size: side of the pictures.

    Attributes:
        task: its name.
        seen: MetaWorld's own observation (39,), of which scripted experts see the object.
    """

    seen: Floats

    def __init__(self, task: str, image_size: int) -> None:
        self.task = task
        self._image_size = image_size
        self._env = make_simulator(task)
        self.spec = WorldSpec(
            robot="sawyer",
            cameras={CAMERA: (image_size, image_size)},
            state=("hand_x", "hand_y", "hand_z", "finger_opening"),
            action=("target_dx_cm", "target_dy_cm", "target_dz_cm", "finger_effort"),
            low=-np.ones(4),
            high=np.ones(4),
            fps=FPS,
            max_steps=TASKS[task].max_steps,
            phrasings=TASKS[task].phrasings,
        )

    def start(self, seed: int) -> None:
        """See `World`."""
        import mujoco

        self._env.seed(seed)  # `reset` ignores its own
        self._env.reset()
        mujoco.mj_forward(self._env.model, self._env.data)  # until then, poses and pictures are those before the layout
        self.seen = self._env._get_obs()

    def act(self, action: Floats) -> Outcome:
        """See `World`; reward (0 to 10) and success are those of the period's last control step."""
        steps = CONTROL_RATE // FPS
        share = np.append(action[:3] / steps, action[3])
        for _ in range(steps):
            self.seen, reward, _, _, info = self._env.step(share)
        return Outcome(reward=float(reward), success=bool(info["success"]))

    def pictures(self) -> dict[str, Frame]:
        """See `World`; the camera hangs upside down."""
        self._renderer.update_scene(self._env.data, camera="corner4")
        return {CAMERA: np.ascontiguousarray(self._renderer.render()[::-1, ::-1])}

    def state(self) -> Floats:
        """Where the hand is, metres, and how far its fingers are apart, 0 to 1: (4,)."""
        return self.seen[:4]

    def hidden(self) -> dict[str, Floats]:
        """Where the handle or button is, metres, (3,)."""
        return {OBJECT: self.seen[4:7]}

    def close(self) -> None:
        """See `World`."""
        if "_renderer" in self.__dict__:
            self._renderer.close()
        self._env.close()

    @cached_property
    def _renderer(self) -> Any:
        import mujoco

        try:
            return mujoco.Renderer(self._env.model, self._image_size, self._image_size)
        except Exception as error:
            raise _cannot_draw(error) from error


def make_simulator(task: str) -> Any:
    """MetaWorld's environment of a task, whose layout follows its seed, and which shows no goal.

    Raises:
        ForeactError: MetaWorld, or the library that it draws with, is not installed.
    """
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")  # draws without a display
    try:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    except ModuleNotFoundError as error:
        raise ForeactError(f"MetaWorld needs {error.name}: {INSTALL}") from error
    except (ImportError, AttributeError) as error:
        raise _cannot_draw(error) from error
    env = ALL_V3_ENVIRONMENTS[f"{task}-v3"]()
    env._freeze_rand_vec, env.seeded_rand_vec, env._set_task_called = False, True, True
    env._partially_observable = False  # experts need the goal
    env.max_path_length = sys.maxsize  # ours are shorter, and cut elsewhere
    if task.startswith("faucet"):
        env._random_reset_space = type(env._random_reset_space)(*map(np.array, _FAUCETS), dtype=np.float64)
    env.model.site_rgba[:, 3] = 0.0
    env.model.mat_reflectance[:] = 0.0
    env.model.light_castshadow[:] = 0
    env.model.vis.quality.offsamples = 0
    return env


def _cannot_draw(error: Exception) -> ForeactError:
    return ForeactError(
        f"MuJoCo cannot draw with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')} ({error}): take MUJOCO_GL=egl, which needs "
        "no display but, on Debian and Ubuntu, apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri"
    )


CARD = EnvCard(
    name="metaworld",
    label="MetaWorld",
    tasks=tuple(TASKS),
    robot="sawyer",
    cameras=(CAMERA,),
    fps=FPS,
    make=MetaWorld,
    packages=("metaworld", "mujoco"),
    install=INSTALL,
    policies={"expert": Expert, "noisy": partial(Expert, noise=0.5), "play": Play},
    hidden={OBJECT: ("x", "y", "z")},
)
