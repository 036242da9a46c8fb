"""`foreact claims`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from foreact.core.arguments import Count, OutFile, OutFolder, Seed
from foreact.core.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class Claims:
    """Measure the paper's three claims about RLA on held-out pairs, and add them to a results file.

    Attributes:
        runs: folders of trained rla of different sizes |z| (one is enough).
        data: the LeRobot dataset that they were trained on.
        results: a results file of `foreact evaluate`, to which the claims are added.
        unseen: recordings of a scene that no rla was trained on, for the third claim.
        image_decoder: draws the pictures; by default the one beside the runs.
        camera: which camera; the first by default.
        cache: folder of token caches; $FOREACT_CACHE or the user's cache folder by default.
        pairs: held-out frame pairs.
        seed: of pairs and noise.
    """

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)")]
    data: Path
    results: OutFile
    unseen: Path | None = None
    image_decoder: Path | None = None
    camera: str | None = None
    cache: OutFolder | None = None
    pairs: Count = 512
    seed: Seed = 0

    def run(self) -> None:
        """Measure them."""
        from foreact.evaluation.session import study_claims

        study_claims(**vars(self), progress=progress_bar)
        print(f"results: {self.results}. Next: foreact report {self.results}")
