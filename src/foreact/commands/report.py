"""`foreact report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from foreact.core.arguments import OutFile


@dataclass(frozen=True, kw_only=True)
class Report:
    """Make one self-contained HTML page of a results file: film strips, drift curves, tables, cost.

    Attributes:
        results: a results file of `foreact evaluate`.
        out: the page; report.html beside the results by default.
        picture: also draw the film strips as a PNG.
        film: also write the films as one animated WebP.
    """

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    out: OutFile | None = None
    picture: OutFile | None = None
    film: OutFile | None = None

    def run(self) -> None:
        """Write the page."""
        from foreact.evaluation.figures import write_picture
        from foreact.evaluation.film import write_film
        from foreact.evaluation.report import write_report
        from foreact.evaluation.results import Results

        results, page = Results.load(self.results), self.out or self.results.with_name("report.html")
        write_report(results, page)
        if self.picture is not None:
            write_picture(results, self.picture)
        if self.film is not None:
            write_film(results, self.film)
        print(f"report: {page}")
