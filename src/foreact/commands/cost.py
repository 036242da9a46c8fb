"""`foreact cost`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foreact.studies.settings import PresetName


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Count parameters and FLOPs of every stage of an imagined chunk, without allocating weights.

    Attributes:
        preset: whose models.
        json: print JSON instead of a table.
        variant: networks as the paper or as its released code has them.
    """

    preset: PresetName = "paper"
    json: bool = False
    variant: Literal["paper", "released"] = "paper"

    def run(self) -> None:
        """Count."""
        from json import dumps

        from foreact.core.presets import preset
        from foreact.core.terminal import show
        from foreact.evaluation.cost import cost_table, preset_cost

        stages = preset_cost(preset(self.preset), variant=self.variant)
        show(dumps(stages, indent=2) if self.json else cost_table(stages, self.preset))
