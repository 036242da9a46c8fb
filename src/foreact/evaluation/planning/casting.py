"""Who acts towards goals, in which environments: the planner and what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foreact.core.contracts import Policy
from foreact.core.errors import ForeactError
from foreact.core.pretrained import read_config
from foreact.core.registry import card
from foreact.data.lerobot import ACTION, LeRobotDataset
from foreact.dreams.dream import Dream
from foreact.dreams.imagination import load
from foreact.envs.env import RobotEnv
from foreact.envs.registry import find_env, make_env
from foreact.envs.world import PlaceableWorld
from foreact.evaluation.acting.choosing import PerEnvironment, load_policy, spec_names
from foreact.evaluation.acting.crew import Wave
from foreact.evaluation.planning.controls import InSimulator, Persistence, Recorded
from foreact.evaluation.planning.goals import Goal, PictureEnv, RecordedGoalEnv, choose_goals
from foreact.planning.bounds import Bounds
from foreact.planning.config import PlannerConfig
from foreact.planning.familiar import Familiar
from foreact.recordings.splits import Split, split_episodes, split_of_run

TASK = "task"
PLANNER, RECORDED, SIMULATOR, PERSISTENCE = "planner", "recorded", "simulator", "persistence"
PLANNING = (PLANNER, SIMULATOR, PERSISTENCE)
_LOOKED_AT, _STRANGE = 64, 2.0  # recorded frames; times farther from them than any of them is from the others


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Recordings, simulator and world model that plans are made with.

    Attributes:
        run: folder of a world model.
        data: the dataset that goals and the bounds of actions come from.
        env: id of the environment.
        options: of the simulator.
        planner: what plans.
        episodes: goals of each distance.
        seed: of the choice of goals.

    Raises:
        ForeactError: on use, where the parts do not fit together.
    """

    run: str
    data: str
    env: str
    options: tuple[tuple[str, Any], ...]
    planner: PlannerConfig
    episodes: int
    seed: int

    def __getstate__(self) -> dict[str, Any]:
        """For other processes, which open and load themselves."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def dataset(self) -> LeRobotDataset:
        """The recordings, which must have actions."""
        dataset = LeRobotDataset(self.data)
        if dataset.action_dim is None:
            raise ForeactError(f"{self.data} has no actions: there are no bounds to plan within")
        return dataset

    @cached_property
    def split(self) -> Split:
        """Which episodes the run was trained on, and which it was not."""
        return split_of_run(Path(self.run), self.dataset) or split_episodes(self.dataset)

    @cached_property
    def dream(self) -> Dream:
        """The world model, frozen."""
        require_world_model(self.run)
        dream: Dream = load(self.run)
        model: Any = dream.world_model
        model.requires_grad_(False)
        return dream

    @cached_property
    def bounds(self) -> Bounds:
        """Of the actions in the training episodes that the simulator takes."""
        spec = self.bare.world.spec
        recorded = [self.dataset.actions(e) for e in self.split.train if self.dataset.has_actions(e)]
        return Bounds.of(np.concatenate(recorded or [np.empty((0, len(spec.low)))]), spec.low, spec.high)

    @cached_property
    def bare(self) -> RobotEnv:
        """An environment without goals, checked against recordings and model."""
        env = self._make()
        self._require_fit(env)
        return env

    def goals(self, steps: int) -> list[Goal]:
        """Those so many actions ahead."""
        return choose_goals(
            self.dataset, self.split.validation, find_env(self.env)[0], steps=steps, count=self.episodes, seed=self.seed
        )

    def make_env(self, goal: str) -> RobotEnv:
        """An environment with a goal: `task`, a number of actions, or a picture's path."""
        world = self._make().world
        if goal.isdecimal():
            return RecordedGoalEnv(require_placeable(world, self.env), self.goals(int(goal)))
        picture = None if goal == TASK else self._picture(goal)
        if picture is None:
            require_placeable(world, self.env)
        return PictureEnv(world, max_steps=world.spec.max_steps, picture=picture)

    def make_policy(self, name: str, envs: Sequence[RobotEnv]) -> Policy:
        """The planner, one of its controls, or a policy as `foreact act` knows it."""
        camera = self.dataset.camera
        if name == PLANNER:
            return self.planner.planner(self.dream, self.bounds, camera=camera)
        if name == PERSISTENCE:
            model: Any = self.dream.world_model
            still = Dream(Persistence(model.config), self.dream.encoder)
            return self._certain.planner(still, self.bounds, camera=camera)
        if name == RECORDED:
            return PerEnvironment([Recorded(env) for env in envs])
        if name == SIMULATOR:
            judging = self._certain.judging(self.dream)
            judges = [InSimulator(**judging, world=require_placeable(e.world, self.env), camera=camera) for e in envs]
            return PerEnvironment(
                [self._certain.planner(self.dream, self.bounds, judge=j, camera=camera) for j in judges]
            )
        return load_policy(name, find_env(self.env)[0], envs)

    @property
    def _certain(self) -> PlannerConfig:
        """The planner for worlds of a single future."""
        return replace(self.planner, futures=1, worst=False, spread=0.0)

    def _make(self) -> RobotEnv:
        height, width = self.dataset.image_shape
        if height != width:
            raise ForeactError(f"{self.data} has pictures of {height} x {width} pixels; environments draw square ones")
        return make_env(self.env, image_size=height, **dict(self.options))

    def _picture(self, path: str) -> np.ndarray:
        """The user's own goal.

        Raises:
            ForeactError: no picture, or one of another size than the recordings'.
        """
        try:
            picture = np.array(Image.open(path).convert("RGB"))
        except OSError as error:
            raise ForeactError(
                f"{path} is no goal: write task, a number of actions, or the path of a picture"
            ) from error
        if picture.shape[:2] != self.dataset.image_shape:
            raise ForeactError(
                f"{path} has {picture.shape[0]} x {picture.shape[1]} pixels, the recordings {' x '.join(map(str, self.dataset.image_shape))}: "
                "take a picture of the same camera in the same size"
            )
        strange = self._familiar.strangeness(picture)
        if strange > _STRANGE:
            raise ForeactError(
                f"nothing in the recordings is near {path}: it is {strange:.1f} times farther from all of them than any of them is from "
                "the others; take a picture of the same scene"
            )
        return picture

    @cached_property
    def _familiar(self) -> Familiar:
        """Frames of the training episodes."""
        rng, train = np.random.default_rng(self.seed), np.array(self.split.train)
        episodes = rng.choice(train, _LOOKED_AT)
        frames = np.array([rng.integers(self.dataset.episode(int(e)).length) for e in episodes])
        return Familiar(self.dream, self.dataset.gather_frames(episodes, frames))

    def _require_fit(self, env: RobotEnv) -> None:
        """See that environment, recordings and model speak of the same actions.

        Raises:
            ForeactError: they do not; says which.
        """
        config, spec, mine = _config(self.run), env.world.spec, self.dataset.names_of(ACTION)
        if mine != spec_names(spec.action, mine):
            raise ForeactError(
                f"{self.data} has the actions ({', '.join(mine)}), {self.env} ({', '.join(spec.action)})"
            )
        if config.action_dim != len(spec.action):
            raise ForeactError(
                f"{self.run} takes {config.action_dim} numbers as an action, {self.env} {len(spec.action)} ({', '.join(spec.action)})"
            )
        if self.dataset.fps != spec.fps:
            raise ForeactError(f"{self.data} has {self.dataset.fps:g} actions per second, {self.env} {spec.fps:g}")
        if self.dataset.camera not in spec.cameras:
            raise ForeactError(
                f"{self.data} was seen by {self.dataset.camera}, {self.env} has {', '.join(spec.cameras)}"
            )


@dataclass(frozen=True, kw_only=True)
class PlanWave(Wave):
    """Episodes towards goals of one kind; see `Stage`."""

    stage: Stage
    policy: str
    goal: str

    def cast(self, count: int) -> tuple[list[RobotEnv], Policy]:
        """See `Wave`."""
        _ = self.stage.bare
        envs = [self.stage.make_env(self.goal) for _ in range(count)]
        return envs, self.stage.make_policy(self.policy, envs)


def require_world_model(run: str) -> None:
    """See what a folder holds before anything is loaded.

    Raises:
        ForeactError: no model, or one that imagines nothing.
    """
    config = _config(run)
    if card(config.kind).role != "world_model":
        raise ForeactError(
            f"{run} holds a {config.kind}, not a world model: plan with a run of rla-wm, dino-wm or another"
        )


def _config(run: str) -> Any:
    return read_config(Path(run))


def require_placeable(world: Any, env: str) -> PlaceableWorld:
    """A world as one that can be put into a recorded state.

    Raises:
        ForeactError: it cannot.
    """
    if not isinstance(world, PlaceableWorld):
        raise ForeactError(
            f"{env} cannot be put into a recorded state, so it has no goals of recordings or of the task, and drives nothing: plan "
            "with the path of a picture in --goals, or take pusht"
        )
    return world
