"""Samples per second of every way to feed a trainer: decoding in order, decoding at random, the token cache, LeRobot's way.

    python benchmarks/loading.py DATASET [--seconds 20] [--out loading.json]

A sample is a pair of frames that lie `horizon` apart, and the actions between them. One process, shuffled samples (but for
decoding in order), batches of 64. Each way is measured three times: cold, after the operating system was asked to forget the
files, and warm, the same samples once more. LeRobot itself takes part where it can be imported (`lerobot_interop.py` says
how to install it); its way of reading, one open, seek and decode per sample, is done here with PyAV in any case.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import record
import torch
from lerobot_interop import mend_torchvision
from rich.console import Console
from rich.table import Table
from torch import Tensor

from foreact.core.token_spec import TokenSpec
from foreact.data.lerobot import LeRobotDataset
from foreact.recordings.pairs import Pairs, gather_actions
from foreact.recordings.token_cache import TokenCache

BATCH, REPEATS, PATCH, CHANNELS = 64, 3, 16, 192

Batch = tuple[Any, Any, Any]
Way = Callable[[Pairs], Batch]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all ways share: the dataset, its actions in memory, the side of the frames, h, and where caches go."""

    dataset: LeRobotDataset
    actions: dict[int, np.ndarray]
    image_size: int
    horizon: int
    folder: Path

    def files(self) -> list[Path]:
        """All files that any way reads while it is measured."""
        videos = {self.dataset.video_of(episode.index).path for episode in self.dataset.episodes}
        return [*videos, *self.folder.rglob("*.bin"), *(self.dataset.root / "data").rglob("*.parquet")]

    def pairs(self, repeat: int) -> Iterator[Pairs]:
        """Endless shuffled batches."""
        rng = np.random.default_rng(repeat)
        starts = [(e.index, t) for e in self.dataset.episodes for t in range(e.length - self.horizon)]
        rows = np.array(starts, dtype=np.int64)
        while True:
            episode, start = rows[rng.integers(len(rows), size=BATCH)].T
            yield Pairs(episode=episode, start=start, horizon=np.full(BATCH, self.horizon))


class PatchMeans:
    """Stands in for an encoder: the mean colour of each patch, spread over the channels of the bundled one."""

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size
        side = image_size // PATCH
        self.spec = TokenSpec(
            grid=(side, side), channels=CHANNELS, fingerprint="means", encoder="means", image_size=image_size
        )
        self._spread = torch.randn(3, CHANNELS, generator=torch.Generator().manual_seed(0))

    def encode(self, frames: Tensor) -> Tensor:
        """uint8 (B, height, width, 3) -> (B, N, C)."""
        means = torch.nn.functional.avg_pool2d(frames.permute(0, 3, 1, 2).float() / 255, PATCH)
        return means.flatten(2).transpose(1, 2) @ self._spread


def random_access(setting: Setting) -> Way:
    """foreact without a cache: the batch's frames, each video opened once."""

    def read(pairs: Pairs) -> Batch:
        episodes = np.concatenate([pairs.episode, pairs.episode])
        indices = np.concatenate([pairs.start, pairs.start + pairs.horizon])
        frames = setting.dataset.gather_frames(episodes, indices, size=setting.image_size)
        return frames[:BATCH], frames[BATCH:], gather_actions(setting.actions, pairs, setting.horizon)

    return read


def token_cache(setting: Setting) -> Way:
    """foreact's memory-mapped tokens."""
    cache = TokenCache.open(setting.dataset, PatchMeans(setting.image_size), setting.folder)

    def read(pairs: Pairs) -> Batch:
        first = cache.gather(pairs.episode, pairs.start)
        second = cache.gather(pairs.episode, pairs.start + pairs.horizon)
        return first, second, gather_actions(setting.actions, pairs, setting.horizon)

    return read


def one_access_per_sample(setting: Setting) -> Way:
    """As LeRobot's PyAV reader does it: per sample open, seek to the first time, decode and convert up to the last."""
    dataset = setting.dataset

    def frames(episode: int, start: int) -> Tensor:
        video, first = dataset.place_of(episode)
        times = [video.time_of(first + t) for t in (start, start + setting.horizon)]
        loaded: list[tuple[float, np.ndarray]] = []
        with av.open(str(video.path)) as container:
            stream = container.streams.video[0]
            container.seek(int(times[0] / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                loaded.append((float(frame.time), frame.to_ndarray(format="rgb24")))
                if frame.time >= times[1] - 1e-4:
                    break
        nearest = [min(loaded, key=lambda pair: abs(pair[0] - wanted))[1] for wanted in times]
        return torch.from_numpy(np.stack(nearest)).permute(0, 3, 1, 2).float() / 255

    def read(pairs: Pairs) -> Batch:
        both = torch.stack([frames(int(e), int(t)) for e, t in zip(pairs.episode, pairs.start)])
        return both[:, 0], both[:, 1], gather_actions(setting.actions, pairs, setting.horizon)

    return read


def lerobot_itself(setting: Setting) -> Way:
    """LeRobot's dataset, item by item, as a `DataLoader` without workers would ask for them."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset as Theirs

    dataset = setting.dataset
    times = [t / dataset.fps for t in range(setting.horizon)]
    deltas = {dataset.camera: [0.0, setting.horizon / dataset.fps], "action": times}
    theirs = Theirs("local/loading", root=dataset.root, delta_timestamps=deltas, video_backend="torchcodec")
    offsets = np.array([episode.offset for episode in dataset.episodes])

    def read(pairs: Pairs) -> Batch:
        items = torch.utils.data.default_collate([theirs[int(i)] for i in offsets[pairs.episode] + pairs.start])
        return items[dataset.camera][:, 0], items[dataset.camera][:, 1], items["action"]

    return read


def in_order(setting: Setting) -> Iterator[Batch]:
    """foreact, whole episodes one after the other: each frame is decoded once and serves two samples."""
    while True:
        for episode in setting.dataset.episodes:
            frames = setting.dataset.frames(episode.index, size=setting.image_size)
            for first in range(0, episode.length - setting.horizon, BATCH):
                start = np.arange(first, min(first + BATCH, episode.length - setting.horizon))
                pairs = Pairs(
                    episode=np.full(len(start), episode.index),
                    start=start,
                    horizon=np.full(len(start), setting.horizon),
                )
                actions = gather_actions(setting.actions, pairs, setting.horizon)
                yield frames[start], frames[start + setting.horizon], actions


def forget(files: list[Path]) -> None:
    """Ask the operating system to drop the files from its page cache (Linux)."""
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rate(batches: Iterator[Batch], seconds: float) -> tuple[float, int]:
    """Samples per second, and the batches read, until `batches` end or `seconds` are over."""
    samples = count = 0
    begin = time.perf_counter()
    for batch in batches:
        samples, count = samples + len(batch[2]), count + 1
        if time.perf_counter() - begin > seconds:
            break
    return samples / (time.perf_counter() - begin), count


def measure(setting: Setting, make: Callable[[Setting], Way] | None, seconds: float) -> dict[str, list[float]]:
    """Cold and warm rates of one way, `REPEATS` times; None stands for decoding in order.

    Cold is one pass (as many samples as frames) at most, warm goes over the same batches again and again.
    """
    rates: dict[str, list[float]] = {"cold": [], "warm": []}
    if make:
        make(setting)  # Builds what it needs, outside the measurement.
    for repeat in range(REPEATS):
        forget(setting.files())
        way = make(setting) if make else None
        one_pass = list(itertools.islice(setting.pairs(repeat), setting.dataset.total_frames // BATCH))
        cold, count = rate(map(way, one_pass) if way else in_order(setting), seconds)
        warm, _ = rate(map(way, itertools.cycle(one_pass[:count])) if way else in_order(setting), seconds)
        rates["cold"].append(cold)
        rates["warm"].append(warm)
    return rates


def show(results: dict[str, Any]) -> None:
    table = Table("samples per second", "cold", "of three", "warm", "of three", "factor")
    base = statistics.mean(results["ways"]["LeRobot's way, with PyAV"]["warm"])
    for name, rates in results["ways"].items():
        cells = []
        for kind in ("cold", "warm"):
            cells += [f"{statistics.mean(rates[kind]):,.0f}", f"{min(rates[kind]):,.0f} to {max(rates[kind]):,.0f}"]
        table.add_row(name, *cells, f"{statistics.mean(rates['warm']) / base:.1f}")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--horizon", type=int, default=8)
    parser.add_argument("--out", type=Path, help="write the results there as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    packages = ("av", "numpy", "pyarrow", "lerobot", "torchcodec")
    results: dict[str, Any] = {"benchmark": "loading", **record.about(torch.device("cpu"), *packages)}
    dataset = LeRobotDataset(arguments.dataset)
    ways: dict[str, Callable[[Setting], Way] | None] = {
        "decoding in order": None,
        "decoding at random": random_access,
        "token cache": token_cache,
        "LeRobot's way, with PyAV": one_access_per_sample,
    }
    mended = None
    if importlib.util.find_spec("lerobot"):
        ways["LeRobot itself"] = lerobot_itself
        mended = None if torch.cuda.is_available() else mend_torchvision()
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(
            dataset=dataset,
            actions={episode.index: dataset.actions(episode.index) for episode in dataset.episodes},
            image_size=arguments.image_size,
            horizon=arguments.horizon,
            folder=Path(folder),
        )
        rates = {name: measure(setting, make, arguments.seconds) for name, make in ways.items()}
    results |= {
        "dataset": {"name": dataset.root.name, "frames": dataset.total_frames, "stored": dataset.image_shape},
        "setting": {k: getattr(arguments, k) for k in ("seconds", "image_size", "horizon")} | {"batch": BATCH},
        "ways": rates,
    }
    show(results)
    record.write(results, arguments.out)
    del mended


if __name__ == "__main__":
    main()
