"""One runner for all studies: every unit of every training seed is trained, scored and kept by itself, so that a study can be
stopped anywhere, go on, and be done in slices.

`out/seed<k>/<unit>/` holds a run and its `results.json`; `out/results.json` is made from these files alone.
"""

from __future__ import annotations

import functools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from accelerate import PartialState

from foreact.core.errors import DivergedError, ForeactError
from foreact.core.machine import machine, versions
from foreact.core.progress import ProgressFactory
from foreact.evaluation.results import Results
from foreact.evaluation.rows import EpisodeValues
from foreact.studies.settings import command


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What is trained and scored at a time.

    Attributes:
        name: in the list of what diverged.
        folder: of its run, in that of the seed.
        needs: units that it stands on.
        scored: whether it is compared, or only stood on.
        seeds: for how many training seeds it is done; all if None.
    """

    name: str
    folder: str
    needs: tuple[str, ...] = ()
    scored: bool = True
    seeds: int | None = None


class Study(ABC):
    """A comparison: which units there are, how one is trained and scored, and what the scores say.

    Args:
        settings: what was asked for (see `studies.settings`).
        progress: shows progress.

    Raises:
        ForeactError: bad input.
    """

    name: ClassVar[str]

    def __init__(self, settings: Any, progress: ProgressFactory) -> None:
        self.settings, self.progress, self.out = settings, progress, settings.out
        self.seeds: int = getattr(settings, "seeds", 1)
        if self.seeds < 1:
            raise ForeactError("--seeds must be at least 1")

    @property
    @abstractmethod
    def units(self) -> Sequence[Unit]:
        """In the order in which they are done."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Fields of `Results` that scores must agree in; others are scored again."""
        return {}

    @abstractmethod
    def train(self, unit: Unit, seed: int, run: Path) -> None:
        """Train a unit, or go on where that was stopped; nothing where it is there.

        Raises:
            DivergedError: the loss is no number any more.
        """

    @abstractmethod
    def score(self, unit: Unit, seed: int, run: Path) -> Results:
        """The values of a trained unit; see `scored`."""

    def references(self) -> Results | None:
        """The values of what needs no training."""
        return None

    @abstractmethod
    def summarise(self, seeds: Sequence[Results]) -> Results:
        """Rows, verdicts, settings and the like of all seeds' values."""

    def scored(self, values: Sequence[EpisodeValues], seed: int) -> Results:
        """Values as results that can be kept."""
        return Results(**{"split_hash": "", **self.about}, seeds=(seed,), rows=(), episodes=tuple(values))


def run(study: Study) -> Results | None:
    """Do what is not there yet, and write `out/results.json`.

    Returns:
        The results; None where the settings' `slice_minutes` were over before all was done.

    Raises:
        ForeactError: every unit of every seed diverged, or runs of other settings in `out`.
    """
    begun, minutes = time.monotonic(), getattr(study.settings, "slice_minutes", None)
    diverged: dict[str, list[int]] = {}
    reference = _kept(study, study.out / "references", study.references)
    found: list[Results] = []
    for seed in range(study.seeds):
        parts = []
        for unit in (u for u in study.units if u.seeds is None or seed < u.seeds):
            folder = study.out / f"seed{seed}" / unit.folder
            finished = (folder / ("results.json" if unit.scored else "config.json")).exists()
            if minutes is not None and not finished and time.monotonic() - begun >= 60 * minutes:
                return None
            try:
                if any(seed in diverged.get(name, ()) for name in unit.needs):
                    raise DivergedError(f"what {unit.name} stands on diverged")
                study.train(unit, seed, folder)
            except DivergedError:
                diverged.setdefault(unit.name, []).append(seed)
                continue
            if unit.scored and (scores := _kept(study, folder, functools.partial(study.score, unit, seed, folder))):
                parts.append(scores)
        if parts:
            found.append(functools.reduce(Results.with_models_of, [*parts, *([reference] if reference else [])]))
    if not found:
        raise ForeactError(f"every model of every seed diverged ({diverged}): there is nothing to compare")
    results = replace(
        study.summarise(found),
        study=study.name,
        seeds=tuple(range(study.seeds)),
        diverged=diverged,
        command=command(study.settings),
        machine=machine(PartialState().device),
        versions=versions(),
    )
    results.save(study.out / "results.json")
    return results


def _kept(study: Study, folder: Path, make: Callable[[], Results | None]) -> Results | None:
    """The results in a folder, made only where they are missing or do not agree with what the study is about."""
    path = folder / "results.json"
    if path.exists():
        done = Results.load(path)
        if all(_agrees(getattr(done, name), value) for name, value in study.about.items()):
            return done
    results = make()
    if results is not None:
        results.save(path)
    return results


def _agrees(found: Any, wanted: Any) -> bool:
    return all(found.get(k) == v for k, v in wanted.items()) if isinstance(wanted, dict) else found == wanted
