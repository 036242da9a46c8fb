"""A results file: everything that a report or a page shows, as JSON of schema 2.

    {"schema": 2, "split_hash": ..., "seeds": [...], "rows": [{"model", "subset", "chunk", "metric", "mean", "low", "high", "n",
     "seeds"}, ...], "paired": [...], ...}

Evaluations and studies have the same rows (`rows.Row`) and one reader; files of schema 1 are read as well. Pictures are inside,
as data URIs, so the file can be moved and sent alone. Tables and figures are made from it, never typed in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foreact.core.config import decode
from foreact.core.errors import ForeactError
from foreact.core.files import read_json, write_json
from foreact.evaluation.results_schema1 import upgrade
from foreact.evaluation.rows import EpisodeValues, Keyed, PairedDifference, Row, distinct, select
from foreact.evaluation.verdicts import Verdict

SCHEMA = 2
_KEYED: dict[str, type[Keyed]] = {"rows": Row, "paired": PairedDifference, "episodes": EpisodeValues}


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds per chunk: median, 10 % and 90 % quantile of `repeats` calls at batch size `batch`."""

    model: str
    batch: int
    median: float
    low: float
    high: float
    repeats: int


@dataclass(frozen=True, kw_only=True)
class StripRow:
    """One line of a film strip: a label and one picture (data URI) per shown frame.

    Raises:
        ForeactError: a picture that is not in the file itself.
    """

    label: str
    images: tuple[str, ...]

    def __post_init__(self) -> None:
        _require_inside(f"the film strip {self.label}", self.images)


@dataclass(frozen=True, kw_only=True)
class FilmStrip:
    """What was filmed and what each model imagined, from frame `start` of `episode`; `frames` are frame numbers."""

    episode: int
    start: int
    task: str
    moving: bool
    frames: tuple[int, ...]
    rows: tuple[StripRow, ...]


@dataclass(frozen=True, kw_only=True)
class Film:
    """A moving picture, panels side by side, from frame `start` of `episode`: an animated data URI, and its last frame as another.

    Raises:
        ForeactError: a picture that is not in the file itself.
    """

    episode: int
    start: int
    task: str
    panels: tuple[str, ...]
    moving: str
    still: str

    def __post_init__(self) -> None:
        _require_inside(f"the film of episode {self.episode}", (self.moving, self.still))


@dataclass(frozen=True, kw_only=True)
class Results:
    """An evaluation or a study.

    Attributes:
        split_hash: of the train/validation split; empty where nothing was split.
        seeds: of the sampling noise, or of training in a study.
        rows: the numbers.
        paired: differences between models.
        dataset: name, fingerprint, counts.
        encoder: fingerprint of the tokens.
        protocol: how windows were chosen and rolled out, how subsets and intervals are defined.
        models: name -> what is known of it (parameters, training).
        versions: of foreact and the libraries below it.
        machine: cores, device.
        cost: as `foreact cost --json` gives it; in a study the sums.
        timings: measured milliseconds.
        notes: what a reader must know; an empty column's name -> the reason.
        strips: film strips.
        films: moving pictures of the first of them.
        episodes: the values of single episodes, where they were asked for.
        claims: {"figures": [{"title", "caption", "png": base64 or None, "lines": keys of a line, "rows": rows}]}.
        study: which one, of a study.
        settings: what a study was asked for: preset, steps.
        diverged: of a study, what diverged -> training seeds.
        verdicts: of a study.
        command: that gave a study.
    """

    split_hash: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    paired: tuple[PairedDifference, ...] = ()
    dataset: dict[str, Any] = field(default_factory=dict)
    encoder: str = ""
    protocol: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    timings: tuple[Timing, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    strips: tuple[FilmStrip, ...] = ()
    films: tuple[Film, ...] = ()
    episodes: tuple[EpisodeValues, ...] = ()
    claims: dict[str, Any] = field(default_factory=dict)
    study: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    diverged: dict[str, list[int]] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    command: str = ""

    @property
    def last_chunk(self) -> int:
        """The number of the last chunk."""
        return max(distinct(self.rows, "chunk"), default=0)

    @property
    def headline_subset(self) -> str:
        """The windows in which something moves, where there are any."""
        return "moving" if "moving" in distinct(self.rows, "subset") else "all"

    def row(self, model: str, metric: str, chunk: int, subset: str = "all") -> Row | None:
        """The row of a rollout with these keys, or None."""
        return next(iter(select(self.rows, model=model, metric=metric, chunk=chunk, subset=subset)), None)

    def difference(
        self, model: str, reference: str, metric: str, chunk: int, subset: str = "all"
    ) -> PairedDifference | None:
        """The paired difference of two models; turned round where it was stored the other way."""
        found = select(self.paired, metric=metric, chunk=chunk, subset=subset)
        if own := select(found, model=model, reference=reference):
            return own[0]
        return next((pair.turned_round() for pair in select(found, model=reference, reference=model)), None)

    def names(self) -> tuple[str, ...]:
        """Models in the order of the rows."""
        return distinct(self.rows, "model")

    def metrics(self) -> tuple[str, ...]:
        """Metrics in the order of the rows."""
        return distinct(self.rows, "metric")

    def with_models_of(self, other: Results) -> Results:
        """The same results with the models that only `other` knows; film strips stay those of these models.

        Raises:
            ForeactError: the other results belong to another split or other tokens.
        """
        if (self.split_hash, self.encoder) != (other.split_hash, other.encoder):
            raise ForeactError("results of different splits or tokens cannot be put together: evaluate again")
        known = {*self.names(), *distinct(self.episodes, "model")}
        timed = {t.model for t in self.timings}
        return dataclasses.replace(
            self,
            rows=(*self.rows, *(r for r in other.rows if r["model"] not in known)),
            paired=(*self.paired, *(p for p in other.paired if not {p["model"], p["reference"]} <= known)),
            episodes=(*self.episodes, *(e for e in other.episodes if e["model"] not in known)),
            timings=(*self.timings, *(t for t in other.timings if t.model not in timed)),
            models={**self.models, **other.models, **self.models},
            cost={**self.cost, **other.cost, **self.cost},
            notes={**self.notes, **other.notes, **self.notes},
        )

    def save(self, path: str | Path) -> None:
        """Write the file atomically.

        Raises:
            ForeactError: the file cannot be written.
            ValueError: a number is not finite.
        """
        flat = {name: [keyed.to_dict() for keyed in getattr(self, name)] for name in _KEYED}
        write_json(Path(path), {"schema": SCHEMA, **dataclasses.asdict(self), **flat}, indent=1)

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read a results file of this schema or of schema 1.

        Raises:
            ForeactError: missing or unreadable, another schema, unknown, missing or ill-typed keys, NaN.
        """
        data = _read_json(Path(path))
        if not isinstance(data, dict) or "schema" not in data:
            raise ForeactError(f"{path} is not a results file of foreact (it names no schema)")
        schema = data.pop("schema")
        fields = dataclasses.fields(cls)
        if schema == 1:
            data = upgrade(data, known={f.name for f in fields})
        elif schema != SCHEMA:
            raise ForeactError(f"{path} has another schema of results than {SCHEMA}: evaluate again with this foreact")
        for name, kind in _KEYED.items():
            if isinstance(data.get(name), list):
                data[name] = [kind.nest(entry, f"{path}: {name}[{i}]") for i, entry in enumerate(data[name])]
        filled = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
        filled |= {f.name: f.default_factory() for f in fields if f.default_factory is not dataclasses.MISSING}
        return decode(cls, filled | data, str(path))


def _require_inside(what: str, images: Iterable[str]) -> None:
    for image in images:
        if not image.startswith("data:"):
            raise ForeactError(f"{what} has the picture {image[:60]!r}: only data: is shown")


def _read_json(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError as error:
        raise ForeactError(f"{path} is missing: make it with foreact evaluate") from error
    except (OSError, ValueError) as error:
        raise ForeactError(f"{path} cannot be read as results: {error}") from error
