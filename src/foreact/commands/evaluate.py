"""`foreact evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from foreact.core.arguments import OutFile, OutFolder, Seed
from foreact.core.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Roll out held-out episodes and compare with what was filmed, beside persistence and an oracle.

    Attributes:
        runs: folders of trained world models, and of rla and image-decoder where they do not lie beside them.
        data: a LeRobot dataset; the episodes that the models were not trained on are used.
        out: the results file, JSON.
        steps: actions from the first frame to the last.
        chunk: actions per prediction.
        starts: start frames per episode, at most.
        samples: futures per start frame of a stochastic model.
        seed: of the sampling noise.
        rla: autoencoder of the oracle row; by default the one inside an rla-wm, or beside the runs.
        image_decoder: draws tokens; by default the one beside the runs; without one there are no picture metrics.
        camera: which camera; the first by default.
        cache: folder of token caches; $FOREACT_CACHE or the user's cache folder by default.
    """

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)")]
    data: Path
    out: OutFile
    steps: int = 30
    chunk: int = 10
    starts: int = 4
    samples: int = 4
    seed: Seed = 0
    rla: Path | None = None
    image_decoder: Path | None = None
    camera: str | None = None
    cache: OutFolder | None = None

    def run(self) -> None:
        """Evaluate."""
        from foreact.core.terminal import show
        from foreact.evaluation.report import summary_table
        from foreact.evaluation.rollouts import Protocol
        from foreact.evaluation.session import evaluate_runs

        results = evaluate_runs(
            self.runs,
            self.data,
            protocol=Protocol(
                steps=self.steps,
                chunk=self.chunk,
                starts_per_episode=self.starts,
                samples=self.samples,
                seed=self.seed,
            ),
            rla=self.rla,
            image_decoder=self.image_decoder,
            camera=self.camera,
            cache=self.cache,
            progress=progress_bar,
        )
        results.save(self.out)
        show(summary_table(results))
        print(f"results: {self.out}. Next: foreact report {self.out}")
