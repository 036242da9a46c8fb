"""Train/validation splits by episode, deterministic and identified by a hash that every result carries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.files import read_json, write_atomically
from foreact.data.lerobot import LeRobotDataset

SPLIT_FILE = "split.json"


@dataclass(frozen=True, kw_only=True)
class Split:
    """Episode numbers of a dataset for training and for validation.

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
        return _hash(self.to_json())

    def to_json(self) -> str:
        """Canonical JSON text."""
        return json.dumps({"dataset": self.dataset, "train": self.train, "validation": self.validation})

    def save(self, path: Path) -> None:
        """Write the split to `path`, atomically."""
        Splits(parts=(self,)).save(path)

    @classmethod
    def load(cls, path: Path) -> Split:
        """Read the split of one dataset.

        Raises:
            ForeactError: the file is missing, not a split, or of several datasets.
        """
        parts = Splits.load(path).parts
        if len(parts) != 1:
            raise ForeactError(f"{path} splits {len(parts)} datasets, where one is expected")
        return parts[0]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The splits of one or several datasets that are learnt from together.

    Attributes:
        parts: one per dataset, in the order in which they were named.
    """

    parts: tuple[Split, ...]

    @property
    def hash(self) -> str:
        """The one dataset's hash; twelve hex digits of all of them where there are several."""
        return self.parts[0].hash if len(self.parts) == 1 else _hash(self.to_json())

    def to_json(self) -> str:
        """Canonical JSON text: one dataset's split as it is, several under the key "splits"."""
        texts = [part.to_json() for part in self.parts]
        return texts[0] if len(texts) == 1 else json.dumps({"splits": [json.loads(text) for text in texts]})

    def save(self, path: Path) -> None:
        """Write the splits to `path`, atomically."""
        write_atomically(path, (self.to_json() + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Splits:
        """Read the file of one split or of several.

        Raises:
            ForeactError: the file is missing or holds no split.
        """
        try:
            data = read_json(path)
            parts = data.get("splits", [data])
            made = (
                Split(dataset=part["dataset"], train=tuple(part["train"]), validation=tuple(part["validation"]))
                for part in parts
            )
            return cls(parts=tuple(made))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ForeactError(f"{path} is not a readable split file ({type(error).__name__}: {error})") from error


def split_of_run(run: Path, dataset: LeRobotDataset) -> Split | None:
    """The split of this dataset that a run was trained with; None where it was trained on others, or says nothing.

    Raises:
        ForeactError: the run's split file cannot be read.
    """
    path = run / SPLIT_FILE
    parts = Splits.load(path).parts if path.exists() else ()
    return next((part for part in parts if part.dataset == dataset.fingerprint()), None)


def split_episodes(
    dataset: LeRobotDataset, *, episodes: Collection[int] | None = None, validation: float = 0.15, seed: int = 0
) -> Split:
    """Hold out a share of the episodes: that share of every task, where tasks have enough episodes for it.

    Where they have not, as with a sentence of its own for each episode, the rounding task by task would hold out far less or
    more in all, by a third of the share. Then every so-many-th one of the episodes is held out, lined up task by task in a random order.

    Args:
        dataset: at least two usable episodes (of two frames or more).
        episodes: numbers of those that are split; all if None.
        validation: share of the episodes that is held out; at least one episode in all.
        seed: of the random choice.

    Raises:
        ForeactError: fewer than two usable episodes.
    """
    chosen = [e for e in dataset.episodes if episodes is None or e.index in episodes]
    usable = [e for e in chosen if e.length > 1]
    if len(usable) < 2:
        left = "" if len(chosen) == len(dataset.episodes) else f" among the {len(chosen)} that are chosen"
        raise ForeactError(
            f"{dataset.root} has {len(usable)} episodes of two or more frames{left}; a split needs at least two: "
            "one to train on and one to hold out"
        )
    rng = np.random.default_rng([seed, 0x5711])
    tasks = {episode.index: episode.task for episode in usable}
    held_out = _by_task(tasks, validation, rng)
    target = max(1, round(validation * len(usable)))
    if not held_out or abs(len(held_out) - target) > max(1, target / 3):
        held_out = _lined_up(tasks, target, rng)
    train = tuple(number for number in tasks if number not in held_out)
    return Split(dataset=dataset.fingerprint(), train=train, validation=tuple(sorted(held_out)))


def _by_task(tasks: Mapping[int, str], share: float, rng: np.random.Generator) -> set[int]:
    """A share of the episodes (number -> task) of each task, rounded task by task."""
    by_task: dict[str, list[int]] = {}
    for number, task in tasks.items():
        by_task.setdefault(task, []).append(number)
    held_out: set[int] = set()
    for task in sorted(by_task):
        order = rng.permutation(by_task[task])
        held_out.update(order[: round(share * len(order))].tolist())
    return held_out


def _lined_up(tasks: Mapping[int, str], count: int, rng: np.random.Generator) -> set[int]:
    """Evenly spaced ones of the episodes (number -> task), lined up in a random order, those of a task side by side."""
    order = rng.permutation(list(tasks)).tolist()
    places = {task: place for place, task in enumerate(dict.fromkeys(tasks[number] for number in order))}
    line = sorted(order, key=lambda number: places[tasks[number]])
    return {line[k * len(line) // count] for k in range(count)}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
