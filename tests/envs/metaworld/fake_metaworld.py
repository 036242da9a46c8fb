"""A small stand-in for MetaWorld and MuJoCo, with their habits: poses that wait for `mj_forward`, an upside-down camera, greedy experts."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import numpy as np
from gymnasium.spaces import Box


class FakeArm:
    """MetaWorld's environment of any task."""

    def __init__(self) -> None:
        self.model = SimpleNamespace(
            site_rgba=np.ones((2, 4)),
            mat_reflectance=np.ones(2),
            light_castshadow=np.ones(2),
            vis=SimpleNamespace(quality=SimpleNamespace(offsamples=4)),
        )
        self.data = SimpleNamespace(
            target=np.zeros(3), thing=np.zeros(3), seen=np.zeros(3), mocap_pos=np.zeros((1, 3)), time=0.0
        )
        self._freeze_rand_vec, self.seeded_rand_vec, self._set_task_called = True, False, False
        self.max_path_length, self.curr_path_length = 500, 0
        self._random_reset_space = Box(np.zeros(3), np.ones(3), dtype=np.float64)

    def seed(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def reset(self) -> tuple[np.ndarray, dict]:
        assert self.seeded_rand_vec, "the layout follows the global generator"
        assert not self._freeze_rand_vec, "the layout never changes"
        low, high = self._random_reset_space.low, self._random_reset_space.high
        self.data.thing, self.data.mocap_pos[:], self.data.time = self._rng.uniform(low, high), 0.0, 0.0
        self.curr_path_length = 0
        return self._get_obs(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert self._set_task_called
        if self.curr_path_length >= self.max_path_length:
            raise ValueError("You must reset the env manually once truncate==True")
        self.curr_path_length += 1
        self.data.mocap_pos += 0.01 * np.clip(action[:3], -1, 1)
        self.data.time += 0.0125
        forward(self.model, self.data)
        return self._get_obs(), 1.0, False, False, {"success": self.data.mocap_pos[0, 0] > 0.5}

    def _get_obs(self) -> np.ndarray:
        return np.concatenate([self.data.mocap_pos[0], [1.0], self.data.seen, np.zeros(32)])

    def close(self) -> None:
        self.model = None


class FakeRenderer:
    """Draws the sky where MuJoCo's picture of that camera has it: below."""

    def __init__(self, model: SimpleNamespace, height: int, width: int) -> None:
        self.picture = np.full((height, width, 3), 60, np.uint8)
        self.picture[-height // 4 :] = 125

    def update_scene(self, data: SimpleNamespace, camera: str) -> None:
        assert camera == "corner4"
        self.picture[0, 0] = 200 * data.seen

    def render(self) -> np.ndarray:
        return self.picture

    def close(self) -> None:
        pass


class FakeExpert:
    """Asks for more than an action may be."""

    def get_action(self, seen: np.ndarray) -> np.ndarray:
        return np.array([19.0, -2.0, 0.3, 1.0], np.float32)


def forward(model: SimpleNamespace, data: SimpleNamespace) -> None:
    """What was moved is now seen to be there."""
    data.seen = data.thing.copy()


class _Always(dict):
    """The same for every key."""

    def __init__(self, value: type) -> None:
        self.value = value

    def __missing__(self, key: str) -> type:
        return self.value


def modules() -> dict[str, ModuleType]:
    """What stands in `sys.modules` instead of the real ones."""
    names = {
        "mujoco": {"mj_forward": forward, "Renderer": FakeRenderer},
        "metaworld": {},
        "metaworld.env_dict": {"ALL_V3_ENVIRONMENTS": _Always(FakeArm)},
        "metaworld.policies": {"ENV_POLICY_MAP": _Always(FakeExpert)},
    }
    made = {name: ModuleType(name) for name in names}
    for name, values in names.items():
        vars(made[name]).update(values)
    return made
