"""Tiny datasets, written once per test session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from foreact.data.writer import LeRobotWriter

LENGTHS = (37, 41, 43, 47, 53, 37)
WINDOW = 512.0
STATE = ("agent_x", "agent_y")
BLOCK = ("block_x", "block_y", "block_angle")
ACTION = ("target_x", "target_y")


def simulate(length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """An agent that runs after its target and drags a block along where it comes near; (T, D) columns."""
    agent, block = rng.uniform(100, 400, 2), np.array([*rng.uniform(150, 350, 2), rng.uniform(-3, 3)])
    target = rng.uniform(50, 460, 2)
    rows: dict[str, list[np.ndarray]] = {"action": [], "observation.state": [], "observation.environment_state": []}
    for t in range(length):
        if t % 7 == 0:
            target = block[:2] + rng.normal(0, 90, 2)
        rows["action"].append(target.copy())
        rows["observation.state"].append(agent.copy())
        rows["observation.environment_state"].append(block.copy())
        step = 0.4 * (target - agent)
        if np.abs(agent - block[:2]).max() < 80:
            block[:2] = np.clip(block[:2] + step, 40, 470)
            block[2] += 0.004 * step[0]
        agent = np.clip(agent + step, 20, 490)
    return {key: np.array(values, dtype=np.float32) for key, values in rows.items()}


def draw(columns: dict[str, np.ndarray], height: int, width: int, *, shade: int = 230) -> np.ndarray:
    """Pictures of the agent (blue) and the block (red), uint8 (T, height, width, 3)."""
    agent, block = columns["observation.state"], columns["observation.environment_state"][:, :2]
    frames = np.full((len(agent), height, width, 3), shade, dtype=np.uint8)
    for places, half, colour in ((block, 5, (200, 40, 40)), (agent, 3, (40, 60, 200))):
        for frame, (x, y) in zip(frames, places):
            column, row = round(float(x / WINDOW * width)), round(float(y / WINDOW * height))
            frame[max(row - half, 0) : row + half, max(column - half, 0) : column + half] = colour
    return frames


def write_dataset(
    root: Path,
    *,
    lengths: Sequence[int] = LENGTHS,
    cameras: Sequence[str] = ("top",),
    height: int = 48,
    width: int = 64,
    actions: bool = True,
    actionless: Sequence[int] = (),
    tasks: Sequence[str] = ("push the block",),
    seed: int = 0,
) -> Path:
    """Write a dataset of moving squares.

    Args:
        root: where.
        lengths: frames of each episode.
        cameras: short names; the pictures of each have another background.
        height, width: of the pictures.
        actions: whether the dataset has an action column.
        actionless: episodes whose actions are left out (where the dataset has the column).
        tasks: given to the episodes in turn.
        seed: of the scenes.
    """
    rng = np.random.default_rng(seed)
    columns = {"observation.state": STATE, "observation.environment_state": BLOCK} | (
        {"action": ACTION} if actions else {}
    )
    shapes = dict.fromkeys(cameras, (height, width))
    with LeRobotWriter(root, fps=10, cameras=shapes, columns=columns, robot_type="square") as writer:
        for index, length in enumerate(lengths):
            rows = simulate(length, rng)
            frames = {name: draw(rows, height, width, shade=230 - 60 * k) for k, name in enumerate(cameras)}
            if not actions or index in actionless:
                del rows["action"]
            writer.add_episode(frames, rows, tasks[index % len(tasks)])
    return root


@contextmanager
def scaled_down() -> Iterator[None]:
    """Inside, the `tiny` preset's networks are narrow, statistics are fitted on a few pairs, and probes for a few steps: these
    are most of the seconds of a training of three steps, and of its evaluation.
    """
    from foreact.core import presets
    from foreact.decoders import unet
    from foreact.evaluation.state_probe import ProbeConfig
    from foreact.policies import bc_training, lawam_training
    from foreact.recordings import batches
    from foreact.world_models import rae, video_diffusion

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "tiny", partial(replace, presets.tiny(), dim=48, heads=3))
        patch.setitem(rae._HEAD, "tiny", 64)
        sizes = {"channels": 4, "dim": 16, "depth": 1, "heads": 2, "queries": 2, "hidden": (16,)}
        patch.setitem(bc_training._SIZES, "tiny", sizes)
        small = {"hidden": 32, "layers": 2, "heads": 2, "vision_depth": 1, "patch": 8}
        patch.setitem(lawam_training._QWENS, "tiny", small)
        narrow = {"dim": 16, "depth": 4, "heads": 2, "language_dim": 16}
        patch.setitem(lawam_training._EXPERTS, "tiny", lawam_training._EXPERTS["tiny"] | narrow)
        patch.setitem(video_diffusion._WIDTHS, "tiny", (16, 32))
        patch.setitem(unet._CHANNELS, "tiny", (16, 8, 8, 8))
        patch.setattr(batches, "_STATISTICS_PAIRS", 64)
        patch.setitem(ProbeConfig.__init__.__kwdefaults__, "steps", 100)
        yield


@pytest.fixture(scope="session")
def in_small() -> Callable[[], AbstractContextManager[None]]:
    """`with in_small():` makes trainings small, for fixtures that several tests share; see `scaled_down`."""
    return scaled_down


@pytest.fixture
def small_scale() -> Iterator[None]:
    """Makes the trainings of a test small; see `scaled_down`."""
    with scaled_down():
        yield


@pytest.fixture(scope="session")
def make_dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make_dataset(**options) -> Path`: see `write_dataset`. Each call writes a new folder."""
    return lambda **options: write_dataset(tmp_path_factory.mktemp("dataset") / "data", **options)


@pytest.fixture(scope="session")
def tiny_dataset(make_dataset: Callable[..., Path]) -> Path:
    """Six episodes of 37 to 53 frames, 48 x 64 pixels, fps 10. Shared: do not change its files."""
    return make_dataset()


@pytest.fixture(scope="session")
def two_camera_dataset(make_dataset: Callable[..., Path]) -> Path:
    """Three episodes seen by the cameras "top" and "side", two tasks. Shared: do not change its files."""
    return make_dataset(lengths=(11, 13, 17), cameras=("top", "side"), tasks=("push", "pull"), seed=1)


@pytest.fixture
def copy(two_camera_dataset: Path, tmp_path: Path) -> Path:
    """A copy of the two-camera dataset that a test may damage."""
    return Path(shutil.copytree(two_camera_dataset, tmp_path / "copy"))


@pytest.fixture(scope="session")
def actionless_dataset(make_dataset: Callable[..., Path]) -> Path:
    """Three episodes without any actions. Shared: do not change its files."""
    return make_dataset(lengths=(11, 13, 17), actions=False, seed=2)


@pytest.fixture(scope="session")
def partly_actionless_dataset(make_dataset: Callable[..., Path]) -> Path:
    """Four episodes, of which 1 and 3 have no actions. Shared: do not change its files."""
    return make_dataset(lengths=(19, 23, 29, 31), actionless=(1, 3), seed=3)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path) -> tuple[Path, list[str]]:
    """A folder with a small encoder, a cache and runs of six models, trained for three steps, and the options of the command
    line that they shared. Shared: do not change its files.
    """
    from foreact.core.progress import progress_bar
    from foreact.core.registry import card
    from foreact.encoders.tiny import TinyEncoderConfig
    from foreact.training.run import TrainRequest, run_training

    root = tmp_path_factory.mktemp("place")
    TinyEncoderConfig(stem=(8, 8, 8), dim=24, depth=1, heads=3).build().save_pretrained(root / "encoder")
    common = ["--data", str(tiny_dataset), "--cache", str(root / "cache"), "--encoder", str(root / "encoder")]
    common += ["--batch-size", "4", "--precision", "no"]
    shared = {"data": tiny_dataset, "cache": root / "cache"}
    overrides = {"batch_size": 4, "precision": "no", "steps": 3}
    with scaled_down():
        for model in ("rla", "rla-wm", "dino-wm", "fm-wm", "rae", "image-decoder"):
            options = card(model).training(encoder=str(root / "encoder"))
            run_training(
                TrainRequest(kind=model, out=root / "runs" / model, options=options, overrides=overrides, **shared),
                progress_bar,
            )
    return root, common


@pytest.fixture
def place(trained: tuple[Path, list[str]], small_scale: None) -> tuple[Path, list[str]]:
    """`trained`, for a test that goes on training or evaluates: what it trains is small, too."""
    return trained


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The world of `ring_world`, which comes from another package by its entry point; other processes find it there as well."""
    from foreact.envs import registry
    from tests.foreign import install

    points = {"ring": "tests.ring_world:CARD"}
    folder = install(tmp_path_factory.mktemp("site"), points, {}, name="rings", group="foreact.envs")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        registry.env_cards.cache_clear()
        yield
    registry.env_cards.cache_clear()
