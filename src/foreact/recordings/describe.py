"""What a run tells of the recordings that it learnt from, for `run.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError
from foreact.recordings.recording import Recording
from foreact.recordings.recordings import Recordings


def describe(recordings: Recordings) -> dict[str, Any]:
    """JSON data: the folders, the hash of the split, and each source with camera, rate and statistics of its training split."""
    names = recordings.names
    return {
        "data": names[0] if len(names) == 1 else list(names),
        "split_hash": recordings.splits.hash,
        "sources": [_source(source) for source in recordings.sources],
    }


def _source(source: Recording) -> dict[str, Any]:
    return {
        "path": str(source.dataset.root),
        "camera": source.dataset.camera,
        "weight": source.weight,
        "fps": source.fps,
        "robot_type": source.dataset.robot_type,
        "embodiment": source.embodiment,
        "split_hash": source.split.hash,
        "episodes": {"train": len(source.split.train), "validation": len(source.split.validation)},
        "action": _statistics(source, "actions"),
        "state": _statistics(source, "states"),
    }


def _statistics(source: Recording, name: str) -> dict[str, list[float | None]] | None:
    """Mean and standard deviation of each dimension; None where there are no such rows, or they cannot be read."""
    try:
        if name == "actions":
            mean, std = source.action_statistics()
        else:
            rows: Mapping[int, np.ndarray] = source.states
            if not rows:
                return None
            joined = np.concatenate(list(rows.values())).astype(np.float64)
            mean, std = joined.mean(axis=0), joined.std(axis=0)
    except ForeactError:  # A learner that needs them has said so.
        return None
    return {"mean": _finite(mean), "std": _finite(std)}


def _finite(values: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
