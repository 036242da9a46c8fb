"""A dataset folder made ready for training or evaluation: read, split, encoded."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from accelerate import PartialState

from foreact.core.progress import Bar
from foreact.data.lerobot import LeRobotDataset
from foreact.encoders.loading import load_encoder
from foreact.recordings.recordings import Recordings
from foreact.recordings.splits import split_episodes
from foreact.recordings.token_cache import LiveTokens, TokenCache


def open_recordings(
    data: Path,
    *,
    camera: str | None,
    encoder: str,
    image_size: int,
    cache: Path | None,
    live: bool = False,
    frames: bool = False,
    bar: Bar,
) -> Recordings:
    """Read a dataset, split it and make its tokens available.

    Args:
        data: a LeRobot dataset.
        camera: which one; the first if None.
        encoder: name, Hub id or folder.
        image_size: side of the frames that the encoder sees.
        cache: folder of caches; see `cache_root`.
        live: encode when asked instead of caching.
        frames: also cache the resized frames.
        bar: shows the encoding's progress.
    """
    dataset = LeRobotDataset(data, camera=camera)
    split = split_episodes(dataset)
    model = load_encoder(encoder, image_size=image_size)
    if isinstance(model, torch.nn.Module):
        model.to(PartialState().device)
    if live:
        return Recordings(dataset=dataset, split=split, cache=LiveTokens(dataset, model))
    with PartialState().main_process_first(), bar("encode frames", "frames") as on_progress:
        tokens = TokenCache.open(dataset, model, cache_root(cache), frames=frames, on_progress=on_progress)
    return Recordings(dataset=dataset, split=split, cache=tokens)


def cache_root(chosen: Path | None) -> Path:
    """The folder of caches: the chosen one, else $FOREACT_CACHE, else `foreact` in the user's cache folder."""
    if chosen is not None:
        return chosen
    if "FOREACT_CACHE" in os.environ:
        return Path(os.environ["FOREACT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "foreact"
