"""What studies share: the values of several training seeds put together, and the file they end in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically
from foreact.core.machine import machine, versions
from foreact.evaluation.results import EpisodeValues, Results
from foreact.studies.settings import Study, command

Key = tuple[str, str, str, int]
"""Model, metric, subset, chunk."""


def stack(results: Sequence[Results]) -> dict[Key, np.ndarray]:
    """The values (S, n) of every model and metric over training seeds and episodes.

    Raises:
        ForeactError: the results belong to other splits or episodes.
    """
    if len({r.split_hash for r in results}) > 1:
        raise ForeactError("the seeds' results belong to different splits: evaluate them on one dataset")
    found: dict[Key, list[EpisodeValues]] = {}
    seen: dict[tuple[str, str, int], tuple[int, ...]] = {}
    for v in (v for result in results for v in result.episodes):
        if seen.setdefault((v.metric, v.subset, v.chunk), v.episodes) != v.episodes:
            raise ForeactError("the seeds were evaluated on different episodes: evaluate them with one protocol")
        found.setdefault((v.model, v.metric, v.subset, v.chunk), []).append(v)
    return {key: np.array([v.values for v in values]) for key, values in found.items()}


def stored(path: Path, about: Mapping[str, Any]) -> Results | None:
    """The results in a file, if it is there and was made on these grounds (fields of `Results`)."""
    if not path.exists():
        return None
    done = Results.load(path)
    return done if all(getattr(done, key) == value for key, value in about.items()) else None


def save_study(study: Study, results: Mapping[str, Any]) -> None:
    """Write `results.json` into the study's folder, atomically, with the command, the machine and the versions that gave it."""
    study.out.mkdir(parents=True, exist_ok=True)
    about = {"command": command(study), "machine": machine(PartialState().device), "versions": versions()}
    text = json.dumps({**results, **about}, indent=1) + "\n"
    write_atomically(study.out / "results.json", text.encode())
