"""Played episodes on disk, so that an interrupted evaluation goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foreact.core.errors import ForeactError
from foreact.evaluation.acting.episodes import Episode


class EpisodeJournal:
    """Lines of JSON beside a results file: first what is played, then the episodes; removed when the results are whole.

    Args:
        out: the results file; None keeps nothing.
        about: what the episodes depend on beside their seed.
    """

    def __init__(self, out: Path | None, about: dict[str, Any]) -> None:
        self._path = out.with_name(f"{out.name}.episodes") if out else None
        self._about = json.loads(json.dumps(about))

    def read(self) -> list[Episode]:
        """What an earlier call has played.

        Raises:
            ForeactError: it played something else.
        """
        if self._path is None or not self._path.exists():
            return []
        lines = self._path.read_text(errors="replace").splitlines()
        try:
            begun, *rest = [json.loads(line) for line in lines if line.endswith("}")]
            episodes = [Episode(**line) for line in rest]
        except (ValueError, TypeError) as error:
            raise ForeactError(
                f"{self._path} is not readable ({error}): remove it to play from the beginning"
            ) from error
        if begun != self._about:
            changed = sorted(k for k in {*begun, *self._about} if begun.get(k) != self._about.get(k))
            raise ForeactError(
                f"{self._path} holds episodes of another call ({', '.join(changed)} differ): choose another --out, or remove it"
            )
        return episodes

    def add(self, episodes: Sequence[Episode]) -> None:
        """Note what was played."""
        if self._path is None:
            return
        lines = [] if self._path.exists() else [self._about]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in [*lines, *map(asdict, episodes)])

    def remove(self) -> None:
        """The results are whole."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
