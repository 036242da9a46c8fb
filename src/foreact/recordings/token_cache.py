"""Frozen-encoder tokens of a whole dataset on disk, memory-mapped; and, where asked for, its resized frames.

One folder per (dataset, encoder, image size). Rows are appended episode by episode and counted in a small file, so an
interrupted build goes on where it was, and a full disk costs nothing that was written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from foreact.core.contracts import Encoder
from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically
from foreact.core.precision import bf16_pays
from foreact.data.lerobot import LeRobotDataset

OnProgress = Callable[[int, int], None]
_ENCODE_BATCH = 64


def encode_frames(encoder: Encoder, pixels: np.ndarray) -> np.ndarray:
    """Tokens (B, N, C) float16 of frames, uint8 (B, height, width, 3), with the precision that caches have."""
    batches = torch.from_numpy(np.ascontiguousarray(pixels)).split(_ENCODE_BATCH)
    weights = encoder.parameters() if isinstance(encoder, torch.nn.Module) else iter(())
    device = next((w.device.type for w in weights), "cpu")
    with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16_pays(device)):
        return np.concatenate([encoder.encode(b).cpu().float().numpy().astype(np.float16) for b in batches])


class TokenCache:
    """Tokens (and frames) of every frame of a dataset. Open one with `TokenCache.open`."""

    def __init__(self, dataset: LeRobotDataset, encoder: Encoder, folder: Path) -> None:
        self.dataset = dataset
        self.encoder = encoder
        self.spec = encoder.spec
        self.image_size = encoder.image_size
        self.folder = folder
        self._tokens: np.ndarray | None = None
        self._frames: np.ndarray | None = None

    @classmethod
    def open(
        cls,
        dataset: LeRobotDataset,
        encoder: Encoder,
        root: Path,
        *,
        frames: bool = False,
        on_progress: OnProgress | None = None,
    ) -> TokenCache:
        """Open the cache of `dataset` under `root`, building or completing it first.

        Args:
            dataset: whose chosen camera is encoded.
            encoder: gives the tokens.
            root: folder of all caches.
            frames: also keep the resized frames, for what trains on pixels.
            on_progress: called with (frames done, frames in all).

        Raises:
            ForeactError: the disk is too small (said before anything is written) or full, or a video cannot be read.
        """
        cache = cls.at(dataset, encoder, root)
        cache._require_space(frames)
        cache._tokens = cache._complete("tokens", lambda pixels: encode_frames(encoder, pixels), on_progress)
        if frames:
            cache._frames = cache._complete("frames", lambda pixels: pixels, on_progress)
        return cache

    @classmethod
    def at(cls, dataset: LeRobotDataset, encoder: Encoder, root: Path) -> TokenCache:
        """The cache of `dataset` under `root` as it stands, perhaps not built: to see what is missing."""
        key = hashlib.sha256(f"{dataset.fingerprint()}/{dataset.camera}/{encoder.spec.fingerprint}".encode())
        return cls(dataset, encoder, root / key.hexdigest()[:16])

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
        return self._tokens[self._offsets(episodes) + indices]

    def gather_frames(self, episodes: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Frames (B, image_size, image_size, 3) uint8 of single frames."""
        if self._frames is not None:
            return self._frames[self._offsets(episodes) + indices]
        return self.dataset.gather_frames(episodes, indices, size=self.image_size)

    def required_bytes(self, *, frames: bool) -> int:
        """Bytes still to be written: tokens in float16 and, where asked for, frames in uint8."""
        missing = self.missing()
        return sum(missing[name] * self._row_bytes(name) for name in (["tokens", "frames"] if frames else ["tokens"]))

    def missing(self) -> dict[str, int]:
        """Rows of tokens and of frames that are not there yet."""
        return {name: self.dataset.total_frames - self._done(name) for name in ("tokens", "frames")}

    def _offsets(self, episodes: np.ndarray) -> np.ndarray:
        offsets = np.array([e.offset for e in self.dataset.episodes])
        return offsets[episodes]

    def _rows(self, array: np.ndarray | None, episode: int) -> np.ndarray:
        assert array is not None
        entry = self.dataset.episodes[episode]
        return array[entry.offset : entry.offset + entry.length]

    def _shape(self, name: str) -> tuple[int, ...]:
        return (self.image_size, self.image_size, 3) if name == "frames" else (self.spec.count, self.spec.channels)

    def _dtype(self, name: str) -> np.dtype:
        return np.dtype(np.uint8 if name == "frames" else np.float16)

    def _row_bytes(self, name: str) -> int:
        return int(np.prod(self._shape(name))) * self._dtype(name).itemsize

    def _require_space(self, frames: bool) -> None:
        needed = self.required_bytes(frames=frames)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ForeactError(f"cannot make the cache folder {self.folder}: {error.strerror}") from error
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise ForeactError(
                f"the token cache needs {needed / 1e9:.1f} GB in {self.folder}, the disk has {free / 1e9:.1f} GB free: "
                "choose another place with --cache or encode while training with --no-cache"
            )

    def _done(self, name: str) -> int:
        try:
            return int(json.loads((self.folder / f"{name}.json").read_text())["frames"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _complete(
        self, name: str, make: Callable[[np.ndarray], np.ndarray], on_progress: OnProgress | None
    ) -> np.ndarray:
        path, total, row_bytes = self.folder / f"{name}.bin", self.dataset.total_frames, self._row_bytes(name)
        done = self._done(name) if path.exists() and path.stat().st_size >= self._done(name) * row_bytes else 0
        if done < total:
            with open(path, "r+b" if path.exists() else "w+b") as file:
                for episode in self.dataset.episodes:
                    if episode.offset < done:
                        continue
                    rows = make(self.dataset.frames(episode.index, size=self.image_size))
                    self._append(file, name, episode.offset, rows)
                    if on_progress:
                        on_progress(episode.offset + episode.length, total)
        return np.memmap(path, dtype=self._dtype(name), mode="r", shape=(total, *self._shape(name)))

    def _append(self, file: object, name: str, offset: int, rows: np.ndarray) -> None:
        try:
            file.seek(offset * self._row_bytes(name))  # type: ignore[attr-defined]
            file.write(np.ascontiguousarray(rows).tobytes())  # type: ignore[attr-defined]
            file.flush()  # type: ignore[attr-defined]
            os.fdatasync(file.fileno())  # type: ignore[attr-defined]
        except OSError as error:
            raise ForeactError(
                f"cannot write the token cache in {self.folder}: {error.strerror}; run again to go on at frame {offset}"
            ) from error
        record = {"frames": offset + len(rows), "encoder": self.spec.fingerprint, "dataset": self.dataset.fingerprint()}
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
