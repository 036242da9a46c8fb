"""The stages of a fit and what each costs: seconds, as they were measured, and bytes on disk; which of them are done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foreact.core.config import decode
from foreact.core.errors import ForeactError
from foreact.core.files import read_json, write_json

FIT_FILE, _SCHEMA = "fit.json", 1


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a stage that reports its progress in one unit.

    Attributes:
        unit: episodes, frames, steps or windows.
        count: how many.
        seconds: for one.
        told: whether it is part of what a stage's work is told as; not what goes along with it.
    """

    unit: str
    count: int
    seconds: float
    told: bool = True


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage.

    Attributes:
        name: of the stage; trainings have their model's name on the command line.
        kind: of the model that is trained; empty for other stages.
        pieces: of its work, in their order.
        fixed: seconds beside them: loading, statistics, writing.
        disk: bytes that stay on disk.
        passing: bytes more that it needs while it writes.
    """

    name: str
    pieces: tuple[Piece, ...]
    kind: str = ""
    fixed: float = 0.0
    disk: int = 0
    passing: int = 0

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.fixed + sum(piece.count * piece.seconds for piece in self.pieces)

    @property
    def steps(self) -> int:
        """Of the optimiser, in a training."""
        return self.pieces[0].count


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done and what it costs here; kept in RUN/fit.json, so that a fit that goes on keeps its steps.

    Attributes:
        stages: in their order.
        note: how steps were chosen.
    """

    stages: tuple[Stage, ...]
    note: str = ""

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    def save(self, out: Path, settings: dict[str, Any]) -> None:
        """Write it into the folder `out`."""
        write_json(out / FIT_FILE, {"schema": _SCHEMA, "settings": settings, "plan": asdict(self)})

    @classmethod
    def load(cls, out: Path, settings: dict[str, Any]) -> Plan | None:
        """The plan of an earlier start; None where there was none.

        Raises:
            ForeactError: it was begun with other settings, or cannot be read.
        """
        path = out / FIT_FILE
        data = read_fit(path)
        if data is None:
            return None
        changed = [k for k in sorted({*settings, *data["settings"]}) if settings.get(k) != data["settings"].get(k)]
        if changed:
            told = "; ".join(f"{k}: {data['settings'].get(k)} -> {settings.get(k)}" for k in changed[:3])
            raise ForeactError(
                f"{out} was begun with other settings ({told}); choose another --out or the same settings"
            )
        for piece in (piece for stage in data["plan"]["stages"] for piece in stage["pieces"]):
            piece.setdefault("told", True)  # as in files of version 0.2
        return decode(cls, data["plan"], str(path))


def read_fit(path: Path) -> dict[str, Any] | None:
    """The content of a fit.json; None where there is none.

    Raises:
        ForeactError: it cannot be read.
    """
    try:
        data = read_json(path)
        if data["schema"] != _SCHEMA or not {"settings", "plan"} <= data.keys():
            raise ValueError("another schema")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ForeactError(
            f"{path} cannot be read ({error}): delete it to plan anew; finished runs are kept"
        ) from error
    return dict(data)


def total_disk(stages: Sequence[Stage]) -> int:
    """Bytes that stages need one after the other."""
    kept = needed = 0
    for stage in stages:
        needed = max(needed, kept + stage.disk + stage.passing)
        kept += stage.disk
    return needed
