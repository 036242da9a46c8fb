"""A simulator as a Gymnasium environment that speaks as recordings do.

Observations have LeRobot's feature names, actions are in the recordings' units, `info["success"]` says whether the task is
done. An episode ends at success (terminated) or after `max_steps` (truncated). `step` draws a picture each time; who executes
a chunk of actions before looking again calls `advance` for each of them and `observe` at the end, which costs less.
"""

from __future__ import annotations

import string
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from foreact.core.errors import ForeactError
from foreact.envs.world import Floats, Frame, World

STATE, TASK = "observation.state", "task"


class RobotEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """One world, episode by episode.

    Args:
        world: the simulator.
        max_steps: after which an episode is cut.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012, Gymnasium's own attribute

    def __init__(self, world: World, *, max_steps: int, render_mode: str | None = "rgb_array") -> None:
        self.world, self.max_steps, self.render_mode = world, max_steps, render_mode
        spec = world.spec
        self.metadata = {**self.metadata, "render_fps": spec.fps}
        words = spaces.Text(max(map(len, spec.phrasings)), charset=string.printable)
        self.observation_space = spaces.Dict(
            {camera: spaces.Box(0, 255, (*shape, 3), np.uint8) for camera, shape in spec.cameras.items()}
            | {STATE: spaces.Box(-np.inf, np.inf, (len(spec.state),), np.float32), TASK: words}
        )
        self.action_space = spaces.Box(spec.low.astype(np.float32), spec.high.astype(np.float32), dtype=np.float32)
        self._steps, self._seen = 0, False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the same seed gives the same one, whatever went before."""
        super().reset(seed=seed)
        self.world.start(int(self.np_random.integers(2**31)) if seed is None else seed)
        self._steps = 0
        return self.observe(), {"success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One action, and a look at what came of it."""
        reward, terminated, truncated, info = self.advance(action)
        return self.observe(), reward, terminated, truncated, info

    def advance(self, action: np.ndarray) -> tuple[float, bool, bool, dict[str, Any]]:
        """One action (A,), drawn into its bounds, without a picture: reward, terminated, truncated, info.

        Raises:
            ForeactError: an action of another shape, or not finite.
        """
        outcome = self.world.act(self.clipped(action))
        self._steps += 1
        info = {"success": outcome.success, **outcome.measures}
        return outcome.reward, outcome.success, not outcome.success and self._steps >= self.max_steps, info

    def clipped(self, action: np.ndarray) -> Floats:
        """The action (A,) that is carried out: drawn into the bounds; raises as `advance`."""
        spec = self.world.spec
        action = np.asarray(action, dtype=np.float64)
        if action.shape != spec.low.shape:
            raise ForeactError(
                f"an action of shape {action.shape} for {len(spec.action)} numbers: {', '.join(spec.action)}"
            )
        if not np.isfinite(action).all():
            raise ForeactError(f"the action at step {self._steps} is not finite: {action.tolist()}")
        return np.clip(action, spec.low, spec.high)

    def observe(self) -> dict[str, Any]:
        """What the policy sees now."""
        state = self.world.state().astype(np.float32)
        return {**self.world.pictures(), STATE: state, TASK: self.world.spec.phrasings[0]}

    def render(self) -> Frame:
        """What the first camera sees now."""
        return next(iter(self.world.pictures().values()))

    def close(self) -> None:
        """Free what the simulator holds."""
        self.world.close()
