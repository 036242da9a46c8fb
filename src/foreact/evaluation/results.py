"""A results file: everything that the report shows, as JSON of schema 1.

    {"schema": 1, "split_hash": ..., "seeds": [...], "rows": [{"model", "metric", "chunk", "subset", "mean", "low",
     "high", "n"}, ...], "paired": [...], ...}

`chunk` counts from 1, `n` counts episodes, `low` and `high` are null where a single episode gives no interval. Pictures
are inside, as data URIs, so the file can be moved and sent alone. Tables and figures are made from it, never typed in.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically

SCHEMA = 1
SUBSETS = ("all", "moving")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric of one model after one chunk.

    Attributes:
        model: `rla_wm`, `dino_wm`, `persistence`, `oracle`, `true_tokens` or a name given by the user.
        metric: see `metrics.METRICS`.
        chunk: 1 for the first chunk.
        subset: `all` windows or those in which something is `moving`.
        mean: over episodes.
        low: lower end of the 95 % interval, or None.
        high: its upper end, or None.
        n: episodes.
    """

    model: str
    metric: str
    chunk: int
    subset: str
    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`metric` of `model` minus that of `reference`, paired by window; the interval is over episodes."""

    model: str
    reference: str
    metric: str
    chunk: int
    subset: str
    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, kw_only=True)
class EpisodeValues:
    """What a row is the mean of: `values` of the held-out `episodes`; for studies over several training seeds."""

    model: str
    metric: str
    chunk: int
    subset: str
    episodes: tuple[int, ...]
    values: tuple[float, ...]


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
    """One line of a film strip: a label and one picture (data URI) per shown frame."""

    label: str
    images: tuple[str, ...]


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
class Results:
    """An evaluation.

    Attributes:
        split_hash: of the train/validation split.
        seeds: of the sampling noise.
        rows: the numbers.
        paired: differences between models.
        dataset: name, fingerprint, counts.
        encoder: fingerprint of the tokens.
        protocol: how windows were chosen and rolled out, how subsets and intervals are defined.
        models: name -> what is known of it (parameters, training).
        versions: of foreact and the libraries below it.
        machine: cores, device.
        cost: as `foreact cost --json` gives it.
        timings: measured milliseconds.
        notes: what a reader must know; an empty column's name -> the reason.
        strips: film strips.
        episodes: the values of single episodes, where they were asked for.
        claims: {"figures": [{"title", "caption", "png": base64, "table": {"header": [...], "rows": [[...]]}}]}.
    """

    split_hash: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    paired: tuple[Comparison, ...] = ()
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
    episodes: tuple[EpisodeValues, ...] = ()
    claims: dict[str, Any] = field(default_factory=dict)

    @property
    def last_chunk(self) -> int:
        """The number of the last chunk."""
        return max((row.chunk for row in self.rows), default=0)

    def row(self, model: str, metric: str, chunk: int, subset: str = "all") -> Row | None:
        """The row with these keys, or None."""
        wanted = (model, metric, chunk, subset)
        return next((r for r in self.rows if (r.model, r.metric, r.chunk, r.subset) == wanted), None)

    def comparison(self, model: str, reference: str, metric: str, chunk: int, subset: str = "all") -> Comparison | None:
        """The paired difference of two models; turned round where it was stored the other way."""
        for pair in self.paired:
            if (pair.metric, pair.chunk, pair.subset) != (metric, chunk, subset):
                continue
            if (pair.model, pair.reference) == (model, reference):
                return pair
            if (pair.model, pair.reference) == (reference, model):
                return _turn_round(pair)
        return None

    def names(self) -> tuple[str, ...]:
        """Models in the order of the rows."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    def metrics(self) -> tuple[str, ...]:
        """Metrics in the order of the rows."""
        return tuple(dict.fromkeys(row.metric for row in self.rows))

    def with_claims(self, claims: dict[str, Any]) -> Results:
        """The same results with these claims."""
        return dataclasses.replace(self, claims=claims)

    def with_models_of(self, other: Results) -> Results:
        """The same results with the models that only `other` knows; film strips stay those of these models.

        Raises:
            ForeactError: the other results belong to another split or other tokens.
        """
        if (self.split_hash, self.encoder) != (other.split_hash, other.encoder):
            raise ForeactError("results of different splits or tokens cannot be put together: evaluate again")
        known = set(self.names())
        paired = (p for p in other.paired if not {p.model, p.reference} <= known)
        timed = {t.model for t in self.timings}
        return dataclasses.replace(
            self,
            rows=(*self.rows, *(r for r in other.rows if r.model not in known)),
            paired=(*self.paired, *paired),
            episodes=(*self.episodes, *(e for e in other.episodes if e.model not in known)),
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
        text = json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, indent=1, allow_nan=False)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), (text + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read a results file.

        Raises:
            ForeactError: missing or unreadable, another schema, unknown, missing or ill-typed keys, NaN.
        """
        data = _read_json(Path(path))
        if not isinstance(data, dict) or "schema" not in data:
            raise ForeactError(f"{path} is not a results file of foreact evaluate (it names no schema)")
        if data.pop("schema") != SCHEMA:
            raise ForeactError(f"{path} has another schema of results than {SCHEMA}: evaluate again with this foreact")
        lists = {"rows": Row, "paired": Comparison, "timings": Timing, "episodes": EpisodeValues}
        for name in lists.keys() & data.keys():
            data[name] = _records(lists[name], data[name], f"{path}: {name}")
        data["strips"] = tuple(_film_strip(s, f"{path}: strips[{i}]") for i, s in enumerate(data.get("strips", [])))
        results = _record(cls, data, str(path))
        return dataclasses.replace(results, seeds=tuple(results.seeds))


def _turn_round(pair: Comparison) -> Comparison:
    return dataclasses.replace(
        pair,
        model=pair.reference,
        reference=pair.model,
        mean=-pair.mean,
        low=None if pair.high is None else -pair.high,
        high=None if pair.low is None else -pair.low,
    )


def _read_json(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"it contains {constant}, which is not a number")

    try:
        return json.loads(path.read_text(), parse_constant=refuse)
    except FileNotFoundError as error:
        raise ForeactError(f"{path} is missing: make it with foreact evaluate") from error
    except (OSError, ValueError) as error:
        raise ForeactError(f"{path} cannot be read as results: {error}") from error


def _film_strip(data: Any, where: str) -> FilmStrip:
    if isinstance(data, dict):
        data = {**data, "frames": tuple(data.get("frames", ())), "rows": _records(StripRow, data.get("rows"), where)}
    return _record(FilmStrip, data, where)


def _records(cls: type[T], data: Any, where: str) -> tuple[T, ...]:
    if not isinstance(data, list):
        raise ForeactError(f"{where} must be a list")
    return tuple(_record(cls, entry, f"{where}[{i}]") for i, entry in enumerate(data))


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
}


def _record(cls: type[T], data: Any, where: str) -> T:
    """A dataclass from a JSON object: no unknown key, none missing that has no default, scalars of the right type."""
    if not isinstance(data, dict):
        raise ForeactError(f"{where} must be an object")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    needed = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if not needed <= data.keys() <= fields.keys():
        missing, unknown = sorted(needed - data.keys()), sorted(data.keys() - fields.keys())
        raise ForeactError(f"{where} does not fit schema {SCHEMA}: missing keys {missing}, unknown keys {unknown}")
    for name, value in data.items():
        kind = str(fields[name].type)
        allowed = _TYPES.get(kind, (dict,) if kind.startswith("dict") else (list, tuple))
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise ForeactError(f"{where}: {name} must be {kind}, not {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ForeactError(f"{where}: {name} is not finite")
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})
