"""LeRobot datasets at a lower rate: every k-th frame, with one action in the place of k.

Of absolute actions (targets) the last of the k leads to the next frame that is kept; changes are summed. Nothing in a dataset says
which its actions are, so the user does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foreact.core.errors import ForeactError
from foreact.data.importers.episodes import EpisodeSource, ImportOptions, RawEpisode
from foreact.data.lerobot import ACTION, LeRobotDataset
from foreact.data.video import scale_frames

MERGED = ("last", "sum")


def is_lerobot(source: Path) -> bool:
    """Whether `source` is a LeRobot dataset."""
    return (source / "meta" / "info.json").is_file()


def open_lerobot(source: Path, options: ImportOptions) -> EpisodeSource:
    """The episodes, every `options.stride`-th frame of them.

    Raises:
        ForeactError: no stride, or one that leaves no two frames or no whole rate; actions without a word on how they add up.
    """
    options.refuse("actor", "fps", format="lerobot")
    dataset, stride = LeRobotDataset(source, camera=options.camera), options.stride
    if stride is None or stride < 2:
        raise ForeactError(
            f"{source} is a LeRobot dataset already: use it as it is, or take every second frame, or fewer, with --stride 2 or more"
        )
    if options.actions not in (None, *MERGED) or (dataset.action_dim is not None and options.actions is None):
        raise ForeactError(
            "say with --actions what becomes of the actions between two frames that are kept: last, for targets, or sum, for changes"
        )
    shortest = min(episode.length for episode in dataset.episodes)
    if shortest <= stride:
        raise ForeactError(f"--stride {stride} leaves one frame of {shortest}: take a smaller one")
    cameras = dataset.cameras if options.camera is None else (dataset.camera,)
    columns = {k: dataset.names_of(k) for k in dataset.features if _is_kept(dataset, k)}
    episodes = [episode.index for episode in dataset.episodes]

    def read(number: int) -> RawEpisode:
        index = episodes[number]
        frames = {c: _thinned(dataset, index, c, stride, options.scaled(dataset.shape_of(c))) for c in cameras}
        rows = {k: dataset.column(k, index).astype(np.float32) for k in columns}
        thin = {
            k: _merged(values, stride, options.actions) if k == ACTION else values[::stride]
            for k, values in rows.items()
        }
        return RawEpisode(frames=frames, columns=thin, task=options.task or dataset.episode(index).task)

    rate = dataset.fps / stride
    note = f"{dataset.fps:g} frames per second become {rate:g}" + f", written as {max(1, round(rate))}" * (
        rate % 1 != 0
    )
    return EpisodeSource(
        count=len(episodes),
        read=read,
        fps=max(1, round(rate)),
        cameras={camera: options.scaled(dataset.shape_of(camera)) for camera in cameras},
        columns=columns,
        robot_type=dataset.robot_type,
        notes=(note,),
    )


def _is_kept(dataset: LeRobotDataset, key: str) -> bool:
    known = key == ACTION or (key.startswith("observation.") and key not in (*dataset.cameras, *dataset.depth_maps))
    return known and str(dataset.features[key].get("dtype")).startswith("float")


def _thinned(dataset: LeRobotDataset, index: int, camera: str, stride: int, shape: tuple[int, int]) -> np.ndarray:
    return scale_frames(dataset.frames(index, camera=camera)[::stride], shape)


def _merged(actions: np.ndarray, stride: int, how: str | None) -> np.ndarray:
    """Rows (T, A) -> (ceil(T / stride), A): what each kept frame's actions come to; the last row may stand for fewer."""
    starts = np.arange(0, len(actions), stride)
    if how == "sum":
        return np.add.reduceat(actions, starts, axis=0)
    return actions[np.minimum(starts + stride - 1, len(actions) - 1)]
