"""Which episodes of datasets are used: what was chosen, without what is missing or broken where that is asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from accelerate import PartialState

from foreact.core.errors import ForeactError
from foreact.core.progress import ProgressFactory
from foreact.core.terminal import printable
from foreact.data.defects import broken_episodes
from foreact.data.lerobot import LeRobotDataset
from foreact.recordings.sources import EpisodeChoice

_MOST_LINES = 10


def choose_episodes(
    datasets: Sequence[LeRobotDataset],
    *,
    choice: EpisodeChoice | None = None,
    skip_defective: bool = False,
    skip_missing: bool = False,
    progress: ProgressFactory,
) -> list[frozenset[int]]:
    """The numbers of the episodes of each dataset that are used; says on stderr which were left out, and why.

    A dataset that is named twice, as for two of its cameras, has the same episodes both times, so that both hold out the same.

    Args:
        datasets: opened with their cameras.
        choice: of numbers, for each of them; all if None.
        skip_defective: leave out those in which inspection finds something broken.
        skip_missing: leave out those whose files are missing.
        progress: shows the inspection's progress.

    Raises:
        ForeactError: a file is missing and that is not to be skipped, or nothing is left of a dataset.
    """
    chosen = []
    left_out: dict[Path, dict[int, str]] = {dataset.root.resolve(): {} for dataset in datasets}
    for dataset in datasets:
        numbers = [e.index for e in dataset.episodes]
        chosen.append(choice.of(numbers, where=str(dataset.root)) if choice else frozenset(numbers))
        left_out[dataset.root.resolve()] |= _missing(dataset, chosen[-1], skip=skip_missing)
    if skip_defective:
        for root, (dataset, some) in {d.root.resolve(): (d, c) for d, c in zip(datasets, chosen, strict=True)}.items():
            left_out[root] |= _broken(dataset, some - left_out[root].keys(), progress)
    for root, lost in left_out.items():
        _say(root, lost)
    kept = [some - left_out[dataset.root.resolve()].keys() for dataset, some in zip(datasets, chosen, strict=True)]
    for dataset, some in zip(datasets, kept, strict=True):
        if not some:
            number, why = min(left_out[dataset.root.resolve()].items())
            raise ForeactError(f"{dataset.root}: every chosen episode is left out, such as {number} ({why})")
    return kept


def _missing(dataset: LeRobotDataset, chosen: frozenset[int], *, skip: bool) -> dict[int, str]:
    found = {e: path for e in sorted(chosen) if (path := dataset.missing_file(e))}
    if found and not skip:
        episode, path = next(iter(found.items()))
        more = f", nor are the files of {len(found) - 1} more episodes" if len(found) > 1 else ""
        raise ForeactError(
            f"{path} is missing (episode {episode}){more}: put it there, or train on the rest with --skip-missing"
        )
    return {e: f"{path} is missing" for e, path in found.items()}


def _broken(dataset: LeRobotDataset, numbers: frozenset[int], progress: ProgressFactory) -> dict[int, str]:
    with progress("inspect", "episodes") as on_progress:
        return broken_episodes(dataset, [dataset.episode(e) for e in sorted(numbers)], on_progress)


def _say(root: Path, left_out: Mapping[int, str]) -> None:
    if not left_out or not PartialState().is_main_process:
        return
    lines = [f"{root}: left out episode {e} ({why})" for e, why in sorted(left_out.items())[:_MOST_LINES]]
    if len(left_out) > _MOST_LINES:
        lines.append(f"{root}: left out {len(left_out) - _MOST_LINES} more")
    print(*map(printable, lines), sep="\n", file=sys.stderr)
