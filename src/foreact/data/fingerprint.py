"""What tells two recordings apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from foreact.core.errors import ForeactError
from foreact.data.episode_files import EpisodeFiles

_BLOCK = 1 << 16


def fingerprint(
    root: Path, fps: float, camera: str, features: Mapping[str, Mapping[str, Any]], episodes: Iterable[EpisodeFiles]
) -> str:
    """Sixteen hex digits of features, episodes, all parquet bytes, and of each video of the camera its name, size and evenly
    spaced blocks (an mp4's index, which changes with any frame, among them).

    Raises:
        ForeactError: a file cannot be read.
    """
    episodes = tuple(episodes)
    digest = hashlib.sha256()
    kinds = {key: [features[key].get("dtype"), features[key].get("shape")] for key in sorted(features)}
    digest.update(json.dumps([fps, camera, kinds]).encode())
    for files in episodes:
        video, begin, _ = files.videos.get(camera, ("", 0.0, None))  # stored pictures are in the parquet files
        about = [files.index, files.length, files.task or "", files.data, video, begin]
        digest.update(json.dumps(about).encode())
    try:
        for name in dict.fromkeys(files.data for files in episodes):
            _add_file(digest, root / name)
        for name in dict.fromkeys(files.videos[camera][0] for files in episodes if camera in files.videos):
            digest.update(name.encode() + _sample_bytes(root / name))
    except OSError as error:
        raise ForeactError(f"{error.filename} cannot be read ({error.strerror}): see to its permissions") from error
    return digest.hexdigest()[:16]


def _add_file(digest: hashlib._Hash, path: Path) -> None:
    if not path.is_file():
        digest.update(b"missing")
        return
    with open(path, "rb") as file:
        while block := file.read(_BLOCK << 4):
            digest.update(block)


def _sample_bytes(path: Path, blocks: int = 16) -> bytes:
    """The size of a file and evenly spaced blocks of it, the first and the last among them."""
    if not path.is_file():
        return b"missing"
    size = path.stat().st_size
    starts = {max(size - _BLOCK, 0) * k // (blocks - 1) for k in range(blocks)}
    with open(path, "rb") as file:
        parts = [str(size).encode()]
        for start in sorted(starts):
            file.seek(start)
            parts.append(file.read(_BLOCK))
    return b"".join(parts)
