"""Frozen-encoder tokens of a dataset on disk, memory-mapped; and, where asked for, its resized frames.

One folder per (dataset, encoder, image size), which holds a row for every frame of the dataset. Rows are written episode by
episode and noted in a small file: an interrupted build goes on where it was, a full disk costs nothing that was written,
and whoever asks for some episodes pays for these alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from foreact.core.contracts import Encoder
from foreact.core.errors import ForeactError
from foreact.core.files import byte_size, read_json, write_atomically
from foreact.core.precision import bf16_pays
from foreact.data.lerobot import LeRobotDataset

OnProgress = Callable[[int, int], None]
_ENCODE_BATCH = 64


def device_of(encoder: Encoder) -> str:
    """Type of the device that an encoder's weights are on: cpu for one without weights."""
    weights = encoder.parameters() if isinstance(encoder, torch.nn.Module) else iter(())
    return next((w.device.type for w in weights), "cpu")


def encode_frames(encoder: Encoder, pixels: np.ndarray) -> np.ndarray:
    """Tokens (B, N, C) float16 of frames, uint8 (B, height, width, 3), with the precision that caches have."""
    batches = torch.from_numpy(np.ascontiguousarray(pixels)).split(_ENCODE_BATCH)
    device = device_of(encoder)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16_pays(device)):
        return np.concatenate([encoder.encode(b).cpu().float().numpy().astype(np.float16) for b in batches])


class TokenCache:
    """Tokens (and frames) of the frames of a dataset. Open one with `TokenCache.open`.

    Args:
        dataset: whose chosen camera is encoded.
        encoder: gives the tokens.
        folder: of this cache.
        episodes: numbers of those that are needed; all if None.
    """

    def __init__(
        self, dataset: LeRobotDataset, encoder: Encoder, folder: Path, *, episodes: Sequence[int] | None = None
    ) -> None:
        self.dataset = dataset
        self.encoder = encoder
        self.spec = encoder.spec
        self.image_size = encoder.image_size
        self.folder = folder
        self._wanted = [dataset.episode(e) for e in episodes] if episodes is not None else list(dataset.episodes)
        self._tokens: np.ndarray | None = None
        self._frames: np.ndarray | None = None

    @classmethod
    def open(
        cls,
        dataset: LeRobotDataset,
        encoder: Encoder,
        root: Path,
        *,
        episodes: Sequence[int] | None = None,
        tokens: bool = True,
        frames: bool = False,
        on_progress: OnProgress | None = None,
    ) -> TokenCache:
        """Open the cache of `dataset` under `root`, building or completing it first.

        Args:
            dataset: whose chosen camera is encoded.
            encoder: gives the tokens.
            root: folder of all caches.
            episodes: numbers of those that are needed; all if None.
            tokens: keep tokens.
            frames: keep the resized frames, for what trains on pixels.
            on_progress: called with (frames done, frames in all).

        Raises:
            ForeactError: the disk is too small (said before anything is written) or full, or a video cannot be read.
        """
        cache = cls.at(dataset, encoder, root, episodes=episodes)
        cache._require_space(tokens=tokens, frames=frames)
        if tokens:
            cache._complete("tokens", lambda pixels: encode_frames(encoder, pixels), on_progress)
            cache._tokens = cache._map("tokens")
        if frames:
            cache._complete("frames", lambda pixels: pixels, on_progress)
            cache._frames = cache._map("frames")
        return cache

    @classmethod
    def at(
        cls, dataset: LeRobotDataset, encoder: Encoder, root: Path, *, episodes: Sequence[int] | None = None
    ) -> TokenCache:
        """The cache of `dataset` under `root` as it stands, perhaps not built: to see what is missing."""
        key = hashlib.sha256(f"{dataset.fingerprint()}/{dataset.camera}/{encoder.spec.fingerprint}".encode())
        return cls(dataset, encoder, root / key.hexdigest()[:16], episodes=episodes)

    def tokens(self, episode: int) -> np.ndarray:
        """Tokens (T, N, C) float16 of an episode."""
        return self._rows(self._tokens, episode)

    def frames(self, episode: int) -> np.ndarray:
        """Resized frames (T, image_size, image_size, 3) uint8; decoded from the video where they are not cached."""
        if self._frames is None:
            return self.dataset.frames(episode, size=self.image_size)
        return self._rows(self._frames, episode)

    def gather(self, episodes: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Tokens (B, N, C) float16 of single frames, given as (B,) episodes and (B,) frame indices."""
        assert self._tokens is not None
        return self._tokens[self._offsets[episodes] + indices]

    def gather_frames(self, episodes: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Frames (B, image_size, image_size, 3) uint8 of single frames."""
        if self._frames is not None:
            return self._frames[self._offsets[episodes] + indices]
        return self.dataset.gather_frames(episodes, indices, size=self.image_size)

    def on_disk(self, *, frames: bool = False) -> bool:
        """Whether reading tokens, or frames, takes neither encoder nor video."""
        return self._frames is not None if frames else self._tokens is not None

    def required_bytes(self, *, tokens: bool = True, frames: bool) -> int:
        """Bytes still to be written: tokens in float16 and frames in uint8, where asked for."""
        missing, asked = self.missing(), {"tokens": tokens, "frames": frames}
        return sum(missing[name] * self._row_bytes(name) for name, wanted in asked.items() if wanted)

    def missing(self) -> dict[str, int]:
        """Rows of tokens and of frames that are needed and not there yet."""
        done = {name: self._done(name) for name in ("tokens", "frames")}
        return {name: sum(e.length for e in self._wanted if e.index not in done[name]) for name in done}

    def __getstate__(self) -> dict[str, Any]:
        """What another process opens again: no copy of what is on the disk."""
        return vars(self) | {"_tokens": self._tokens is not None, "_frames": self._frames is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._tokens = self._map("tokens") if state["_tokens"] else None
        self._frames = self._map("frames") if state["_frames"] else None

    @cached_property
    def _offsets(self) -> np.ndarray:
        """By number, an episode's first row; far out of range for those that the cache was not asked for."""
        offsets = np.full(self.dataset.episodes[-1].index + 1, np.iinfo(np.int64).max // 2)
        for episode in self._wanted:
            offsets[episode.index] = episode.offset
        return offsets

    def _rows(self, array: np.ndarray | None, episode: int) -> np.ndarray:
        assert array is not None
        first = self._offsets[episode]
        if first >= len(array):
            raise ForeactError(f"episode {episode} of {self.dataset.root} was left out: it has no tokens here")
        return array[first : first + self.dataset.episode(episode).length]

    def _shape(self, name: str) -> tuple[int, ...]:
        return (self.image_size, self.image_size, 3) if name == "frames" else (self.spec.count, self.spec.channels)

    def _dtype(self, name: str) -> np.dtype:
        return np.dtype(np.uint8 if name == "frames" else np.float16)

    def _row_bytes(self, name: str) -> int:
        return int(np.prod(self._shape(name))) * self._dtype(name).itemsize

    def _require_space(self, *, tokens: bool, frames: bool) -> None:
        needed = self.required_bytes(tokens=tokens, frames=frames)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ForeactError(f"cannot make the cache folder {self.folder}: {error.strerror}") from error
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise ForeactError(
                f"the token cache needs {byte_size(needed)} in {self.folder}, the disk has {byte_size(free)} free: "
                "choose another place with --cache or encode while training with --no-cache"
            )

    def _done(self, name: str) -> set[int]:
        """Episodes whose rows are on the disk: all up to a frame, and single ones beyond it."""
        try:
            about = read_json(self.folder / f"{name}.json")
            first, single = int(about["frames"]), {int(e) for e in about.get("episodes", ())}
            written = (self.folder / f"{name}.bin").stat().st_size // self._row_bytes(name)
        except (OSError, ValueError, KeyError, TypeError):
            return set()
        ends = {e.index: e.offset + e.length for e in self.dataset.episodes}
        return {index for index, end in ends.items() if end <= written and (end <= first or index in single)}

    def _complete(self, name: str, make: Callable[[np.ndarray], np.ndarray], on_progress: OnProgress | None) -> None:
        path, done = self.folder / f"{name}.bin", self._done(name)
        left = [e for e in self._wanted if e.index not in done]
        total = sum(e.length for e in self._wanted)
        there = total - sum(e.length for e in left)
        with open(path, "r+b" if path.exists() else "w+b") as file:
            for episode in left:
                rows = make(self.dataset.frames(episode.index, size=self.image_size))
                self._append(file, name, episode.offset, rows)
                self._note(name, done := done | {episode.index})
                there += episode.length
                if on_progress:
                    on_progress(there, total)
            size = self.dataset.total_frames * self._row_bytes(name)
            if path.stat().st_size < size:  # rows of left-out episodes at the end: holes, which take no space
                file.truncate(size)

    def _map(self, name: str) -> np.ndarray:
        shape = (self.dataset.total_frames, *self._shape(name))
        return np.memmap(self.folder / f"{name}.bin", dtype=self._dtype(name), mode="r", shape=shape)

    def _append(self, file: BinaryIO, name: str, offset: int, rows: np.ndarray) -> None:
        try:
            file.seek(offset * self._row_bytes(name))
            file.write(np.ascontiguousarray(rows).tobytes())
            file.flush()
            os.fdatasync(file.fileno())
        except OSError as error:
            raise ForeactError(
                f"cannot write the token cache in {self.folder}: {error.strerror}; run again to go on at frame {offset}"
            ) from error

    def _note(self, name: str, done: set[int]) -> None:
        missing = (e.offset for e in self.dataset.episodes if e.index not in done)
        first = next(missing, self.dataset.total_frames)
        record: dict[str, Any] = {"frames": first, "encoder": self.spec.fingerprint}
        record["dataset"] = self.dataset.fingerprint()
        if single := [e.index for e in self.dataset.episodes if e.index in done and e.offset > first]:
            record["episodes"] = single
        write_atomically(self.folder / f"{name}.json", json.dumps(record).encode())


class LiveTokens(TokenCache):
    """The same reading interface without a cache: frames are decoded and encoded whenever they are asked for."""

    def __init__(self, dataset: LeRobotDataset, encoder: Encoder) -> None:
        super().__init__(dataset, encoder, Path())

    def tokens(self, episode: int) -> np.ndarray:
        """Tokens (T, N, C) float16 of an episode, encoded now."""
        return encode_frames(self.encoder, self.frames(episode))

    def gather(self, episodes: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Tokens (B, N, C) float16 of single frames, encoded now."""
        return encode_frames(self.encoder, self.gather_frames(episodes, indices))
