"""`foreact benchmark`: one word more per study of `studies.settings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

from tyro.conf import subcommand

from foreact.core.progress import progress_bar
from foreact.studies import settings

if TYPE_CHECKING:
    AnyStudy = Any
else:
    AnyStudy = Union[tuple(Annotated[study, subcommand(study.name)] for study in get_args(settings.Study))]  # noqa: UP007


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Compare methods: train what the study needs, score it, say what holds; run again to go on after an interruption.

    Attributes:
        study: which comparison.
    """

    study: AnyStudy

    def run(self) -> None:
        """Run the study."""
        from foreact.studies.command import run_study

        run_study(self.study, progress_bar)
