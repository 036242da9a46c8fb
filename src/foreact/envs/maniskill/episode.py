"""One recorded episode: an arm that follows a script or a plan, not quite precisely, and what the camera saw."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from foreact.data.importers.maniskill import POSE
from foreact.envs.maniskill.contract import Array, Simulator, Snapshot
from foreact.envs.maniskill.drivers import follow, obey
from foreact.envs.maniskill.robots import Robot
from foreact.envs.maniskill.scripts import POLICIES
from foreact.envs.maniskill.tasks import Task
from foreact.envs.recording import Recorded

CLUMSY = 1 / 3  # share of episodes with a badly calibrated arm; the papers keep one failure for two successes
OFF = {False: 0.004, True: 0.1}  # how far the first joint is off, standard deviation in radians, by clumsiness
JITTER = 0.002  # of every joint target, radians
SHORTEST, LINGER = 45, 10  # frames: a 30-step rollout and a choice of starts; after success or the script's end
SHOVES = (15, 45)  # frames from one unseen push to the next

STATE, OBJECT, TOOL, ACTION = "observation.state", "observation.object_pose", "observation.tcp_pose", "action"
SUCCESS, SHOVE = "next.success", "hidden.push"


def columns_of(robot: Robot, *, uncertain: bool) -> dict[str, tuple[str, ...]]:
    """Feature -> names of its dimensions. Poses in metres and quaternions, joints in radians, pushes in m/s."""
    columns = {STATE: robot.joints, OBJECT: POSE, TOOL: POSE, ACTION: robot.action_names, SUCCESS: ("success",)}
    return columns | ({SHOVE: ("vx", "vy")} if uncertain else {})


def record_episode(
    simulator: Simulator, task: Task, robot: Robot, rng: np.random.Generator, *, uncertain: bool = False
) -> Recorded:
    """Record one episode.

    `next.success[t]` is whether the task was done after action t. With `uncertain`, an object is given a push every 15 to 45
    frames, in any direction; `hidden.push[t]` is the velocity that it was given between frames t and t + 1, else 0. The
    pushes are in no picture and in no action: the arm makes the moves of the same episode without them, as long as that took.

    Args:
        simulator: the world; it is reset first.
        task: what to do.
        robot: the arm in the simulator.
        rng: the only source of chance.
        uncertain: whether unseen pushes happen.
    """
    seed, unseen = (int(number) for number in rng.integers(2**31, size=2))
    take = _perform(simulator, task, robot, rng, seed, film=not uncertain)
    if uncertain:
        take = _repeat(simulator, task, np.random.default_rng(unseen), seed, take.actions)
    return np.stack(take.frames), _columns(take, task, uncertain=uncertain), task.text


class _Take:
    """What is kept while an episode goes on; lists with one entry per frame."""

    def __init__(self, simulator: Simulator, seed: int) -> None:
        self.simulator, self.now = simulator, simulator.reset(seed)
        self.frames: list[np.ndarray] = []
        self.before: list[Snapshot] = []
        self.actions: list[Array] = []
        self.pushes: list[Array] = []
        self.success: list[bool] = []

    def go(self, action: Array, push: Array, whom: str, *, film: bool = True) -> None:
        """One frame on."""
        if film:
            self.frames.append(self.simulator.frame())
        self.before.append(self.now)
        self.actions.append(action)
        self.pushes.append(push)
        if push.any():
            self.simulator.shove(whom, push)
        self.now = self.simulator.step(action)
        self.success.append(self.now.success)


def _perform(
    simulator: Simulator, task: Task, robot: Robot, rng: np.random.Generator, seed: int, *, film: bool
) -> _Take:
    """Follow the plan or the script, not quite precisely, until a moment after success or its end."""
    plan = simulator.plan(seed) if task.manner(robot) == "planned" else None
    take = _Take(simulator, seed)
    driver = follow(plan) if plan is not None else obey(simulator, POLICIES[task.name](rng, take.now))
    off = rng.normal(0.0, OFF[bool(rng.random() < CLUMSY)])
    action, end = next(driver), task.max_frames
    while len(take.actions) < end:
        take.go(action + _imprecision(rng, off, arm=robot.arm, dims=len(action)), np.zeros(2), "", film=film)
        try:
            action = driver.send(take.now)
            going = not take.now.success and not _fell(task, take.now)
        except StopIteration:
            going = False
        if not going:
            end = min(end, max(len(take.actions) + LINGER, SHORTEST))
    return take


def _repeat(simulator: Simulator, task: Task, rng: np.random.Generator, seed: int, actions: list[Array]) -> _Take:
    """The same episode and actions again, with unseen pushes."""
    pushes = unseen_pushes(rng, task.shove)
    take = _Take(simulator, seed)
    for action in actions:
        take.go(action, next(pushes), _whom(task, take.now, rng))
    return take


def unseen_pushes(rng: np.random.Generator, speeds: tuple[float, float]) -> Iterator[Array]:
    """For each frame the velocity (2,) that an unseen hand gives, m/s: mostly none."""
    while True:
        for _ in range(int(rng.integers(*SHOVES))):
            yield np.zeros(2)
        angle = rng.uniform(-np.pi, np.pi)
        yield rng.uniform(*speeds) * np.array([np.cos(angle), np.sin(angle)])


def _imprecision(rng: np.random.Generator, off: float, *, arm: int, dims: int) -> Array:
    """What a joint target is wrong by: the arm trembles, and its first joint, which turns it about the vertical, is off."""
    wrong = np.zeros(dims)
    wrong[:arm] = rng.normal(0.0, JITTER, arm)
    wrong[0] += off
    return wrong


def _whom(task: Task, now: Snapshot, rng: np.random.Generator) -> str:
    """Which object is pushed: the task's own, in play any."""
    return next(iter(task.objects), None) or str(rng.choice(sorted(now.objects)))


def _fell(task: Task, now: Snapshot) -> bool:
    """Whether the task's object has left the table."""
    return any(now.objects[name][2] < -0.1 for name in task.objects)


def _columns(take: _Take, task: Task, *, uncertain: bool) -> dict[str, np.ndarray]:
    """Columns (T, D) float32 of `columns_of`."""
    columns = {
        STATE: [snapshot.joints for snapshot in take.before],
        OBJECT: _object_poses(take.before, task),
        TOOL: [snapshot.tool for snapshot in take.before],
        ACTION: take.actions,
        SUCCESS: np.array(take.success)[:, None],
    }
    columns |= {SHOVE: take.pushes} if uncertain else {}
    return {key: np.asarray(values, dtype=np.float32) for key, values in columns.items()}


def _object_poses(before: list[Snapshot], task: Task) -> Array:
    """Poses (T, 7) of the task's first object, in play of the one that moves most."""
    tracks = {name: np.array([snapshot.objects[name] for snapshot in before]) for name in before[0].objects}
    travelled = {
        name: float(np.linalg.norm(np.diff(track[:, :3], axis=0), axis=1).sum()) for name, track in tracks.items()
    }
    return tracks[next(iter(task.objects), max(travelled, key=travelled.__getitem__))]
