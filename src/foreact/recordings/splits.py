"""Train/validation splits by episode, deterministic and identified by a hash that every result carries."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically
from foreact.data.lerobot import LeRobotDataset


@dataclass(frozen=True, kw_only=True)
class Split:
    """Episode indices of a dataset for training and for validation.

    Attributes:
        dataset: the dataset's fingerprint.
        train: episodes that models may see.
        validation: episodes that they never see.
    """

    dataset: str
    train: tuple[int, ...]
    validation: tuple[int, ...]

    @property
    def hash(self) -> str:
        """Twelve hex digits of the split's content."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """Canonical JSON text."""
        return json.dumps({"dataset": self.dataset, "train": self.train, "validation": self.validation})

    def save(self, path: Path) -> None:
        """Write the split to `path`, atomically."""
        write_atomically(path, (self.to_json() + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Split:
        """Read a split.

        Raises:
            ForeactError: the file is missing or not a split.
        """
        try:
            data = json.loads(path.read_text())
            return cls(dataset=data["dataset"], train=tuple(data["train"]), validation=tuple(data["validation"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ForeactError(f"{path} is not a readable split file ({type(error).__name__}: {error})") from error


def split_episodes(dataset: LeRobotDataset, *, validation: float = 0.15, seed: int = 0) -> Split:
    """Hold out a share of the episodes of every task.

    Args:
        dataset: at least two usable episodes (of two frames or more).
        validation: share of each task's episodes that is held out; at least one episode in all.
        seed: of the random choice.

    Raises:
        ForeactError: fewer than two usable episodes.
    """
    usable = [e for e in dataset.episodes if e.length > 1]
    if len(usable) < 2:
        raise ForeactError(
            f"{dataset.root} has {len(usable)} episodes of two or more frames; a split needs at least two"
        )
    by_task: dict[str, list[int]] = {}
    for episode in usable:
        by_task.setdefault(episode.task, []).append(episode.index)
    rng = np.random.default_rng([seed, 0x5711])
    held_out: list[int] = []
    for task in sorted(by_task):
        order = rng.permutation(by_task[task])
        held_out += [int(i) for i in order[: round(validation * len(order))]]
    if not held_out:
        held_out = [int(rng.permutation([e.index for e in usable])[0])]
    train = tuple(e.index for e in usable if e.index not in set(held_out))
    return Split(dataset=dataset.fingerprint(), train=train, validation=tuple(sorted(held_out)))
