"""What the command line says of recordings: datasets with a weight and a camera, and which of their episodes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foreact.core.errors import ForeactError


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset that is learnt from.

    Attributes:
        path: its folder.
        weight: how often it is drawn from, against the weights of the others.
        camera: which one; the first if None.

    Raises:
        ForeactError: a weight that is not a positive number.
    """

    path: Path
    weight: float = 1.0
    camera: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ForeactError(
                f"the weight of {self.path} is {self.weight}, but must be a positive number: leave it out for 1"
            )


def parse_source(word: str) -> Source:
    """A source as it is written on a command line: PATH, PATH:WEIGHT, PATH@CAMERA or PATH@CAMERA:WEIGHT.

    A path that exists as it is written wins, so folders may have colons and at signs in their names.

    Raises:
        ForeactError: a weight that is not a positive number.
    """
    path, weight = word, 1.0
    if not Path(path).exists() and ":" in path:
        path, _, said = path.rpartition(":")
        try:
            weight = float(said)
        except ValueError:
            raise ForeactError(
                f"{word}: no such folder, and {said!r} after the colon is no weight: write PATH or PATH:0.5"
            ) from None
    camera = None
    if not Path(path).exists() and "@" in path:
        path, _, camera = path.rpartition("@")
    return Source(path=Path(path), weight=weight, camera=camera or None)


def as_sources(
    data: Path | str | Source | Sequence[Path | str | Source], *, camera: str | None = None
) -> tuple[Source, ...]:
    """Sources from whatever names them; `camera` is that of those which name none.

    Raises:
        ForeactError: no source, or a bad one.
    """
    words = (data,) if isinstance(data, Path | str | Source) else tuple(data)
    if not words:
        raise ForeactError("name at least one dataset with --data")
    sources = (_as_source(word) for word in words)
    return tuple(Source(path=s.path, weight=s.weight, camera=s.camera or camera) for s in sources)


def _as_source(word: Path | str | Source) -> Source:
    if isinstance(word, str):
        return parse_source(word)
    return word if isinstance(word, Source) else Source(path=word)


@dataclass(frozen=True, kw_only=True)
class EpisodeChoice:
    """Which episodes are learnt from, by number.

    Attributes:
        parts: single numbers, and slices of numbers; negative ones count from the end.
    """

    parts: tuple[int | slice, ...]

    @classmethod
    def parse(cls, text: str) -> EpisodeChoice:
        """A choice as it is written on a command line, such as 0:50,60: or 3,-1; ranges are Python's.

        Raises:
            ForeactError: anything else.
        """
        try:
            return cls(parts=tuple(_parse_part(part) for part in text.split(",")))
        except ValueError:
            raise ForeactError(
                f"--episodes {text}: write numbers and ranges, such as 0:50,60: for the first fifty and all from number 60 on"
            ) from None

    def of(self, numbers: Iterable[int], *, where: str) -> frozenset[int]:
        """The chosen ones of the numbers that a dataset has; ranges pass over gaps.

        Raises:
            ForeactError: a single number is not there, or nothing is left; `where` names the dataset.
        """
        there = frozenset(numbers)
        every = range(max(there, default=-1) + 1)
        chosen: set[int] = set()
        for part in self.parts:
            if isinstance(part, slice):
                chosen |= there.intersection(every[part])
                continue
            number = part if part >= 0 else len(every) + part
            if number not in there:
                raise ForeactError(f"--episodes: {where} has no episode {part} (its last is {len(every) - 1})")
            chosen.add(number)
        if not chosen:
            raise ForeactError(
                f"--episodes chooses none of the {len(there)} episodes of {where} (its last is {len(every) - 1})"
            )
        return frozenset(chosen)


def _parse_part(text: str) -> int | slice:
    if ":" not in text:
        return int(text)
    bounds = [int(bound) if bound.strip() else None for bound in text.split(":")]
    if len(bounds) > 3 or bounds[2:] == [0]:
        raise ValueError(text)
    return slice(*bounds)
