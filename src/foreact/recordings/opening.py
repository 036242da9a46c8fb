"""Dataset folders made ready for training or evaluation: read, split, encoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from foreact.core.contracts import Encoder
from foreact.core.progress import ProgressFactory
from foreact.data.lerobot import LeRobotDataset
from foreact.encoders.loading import load_encoder
from foreact.recordings.choosing import choose_episodes
from foreact.recordings.recording import HUMAN, ROBOT, Recording
from foreact.recordings.recordings import Recordings
from foreact.recordings.sources import EpisodeChoice, Source, as_sources
from foreact.recordings.splits import Split, split_episodes
from foreact.recordings.token_cache import LiveTokens, TokenCache


def open_recordings(
    data: Path | str | Source | Sequence[Path | str | Source],
    *,
    camera: str | None = None,
    encoder: str,
    image_size: int,
    cache: Path | None,
    live: bool = False,
    tokens: bool = True,
    frames: bool = False,
    episodes: EpisodeChoice | None = None,
    skip_defective: bool = False,
    skip_missing: bool = False,
    splits: Sequence[Split | None] | None = None,
    progress: ProgressFactory,
) -> Recordings:
    """Read datasets, split them and make their tokens available.

    Args:
        data: LeRobot datasets: folders, or what `parse_source` takes.
        camera: which one of sources that name none; the first if None.
        encoder: name, Hub id or folder.
        image_size: side of the frames that the encoder sees.
        cache: folder of caches; see `cache_root`.
        live: encode when asked instead of caching.
        tokens: cache tokens.
        frames: cache the resized frames.
        episodes: those that are used; all if None.
        skip_defective: leave out episodes in which inspection finds something broken, and say which.
        skip_missing: leave out episodes whose files are missing, and say which.
        splits: of each source, instead of the one that is drawn; None draws it.
        progress: shows the encoding's progress.

    Raises:
        ForeactError: unreadable data, files that are missing, nothing left to train on or to hold out.
    """
    sources = as_sources(data, camera=camera)
    datasets = [LeRobotDataset(source.path, camera=source.camera) for source in sources]
    left_out = {"skip_defective": skip_defective, "skip_missing": skip_missing}
    chosen = choose_episodes(datasets, choice=episodes, **left_out, progress=progress)
    given = splits or [None] * len(datasets)
    parts = [
        split or split_episodes(dataset, episodes=some)
        for dataset, some, split in zip(datasets, chosen, given, strict=True)
    ]
    model = load_encoder(encoder, image_size=image_size)
    if isinstance(model, torch.nn.Module):
        model.to(PartialState().device)
    root = None if live else cache_root(cache)
    made = []
    for source, dataset, split, number in zip(sources, datasets, parts, number_embodiments(datasets), strict=True):
        opened = partial(
            _tokens, encoder=model, root=root, split=split, tokens=tokens, frames=frames, progress=progress
        )
        about: dict[str, Any] = {"dataset": dataset, "weight": source.weight, "embodiment": number}
        made.append(Recording(**about, split=split, cache=opened(dataset), open_cache=opened))
    return Recordings(sources=tuple(made))


def number_embodiments(datasets: Sequence[LeRobotDataset]) -> list[int]:
    """Who is seen: 0 for humans, and from 1 on a number for each type of robot; who is not named is someone of their own."""
    known: dict[str, int] = {"human": HUMAN}
    names = (dataset.robot_type or f"of {dataset.root.resolve()}" for dataset in datasets)
    return [known.setdefault(name.lower(), ROBOT + len(known) - 1) for name in names]


def cache_root(chosen: Path | None) -> Path:
    """The folder of caches: the chosen one, else $FOREACT_CACHE, else `foreact` in the user's cache folder."""
    if chosen is not None:
        return chosen
    if "FOREACT_CACHE" in os.environ:
        return Path(os.environ["FOREACT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "foreact"


def _tokens(
    dataset: LeRobotDataset,
    *,
    encoder: Encoder,
    root: Path | None,
    split: Split,
    tokens: bool,
    frames: bool,
    progress: ProgressFactory,
) -> TokenCache:
    """The tokens of the episodes in a split; encoded when asked without a folder of caches."""
    if root is None:
        return LiveTokens(dataset, encoder)
    with (
        PartialState().main_process_first(),
        progress("encode frames" if tokens else "read frames", "frames") as on_progress,
    ):
        episodes = sorted((*split.train, *split.validation))
        return TokenCache.open(
            dataset, encoder, root, episodes=episodes, tokens=tokens, frames=frames, on_progress=on_progress
        )
