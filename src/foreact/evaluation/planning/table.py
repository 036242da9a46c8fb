"""What `foreact plan` prints."""

from __future__ import annotations

from rich.table import Table

from foreact.evaluation.results import Results
from foreact.evaluation.rows import distinct, select

_SHOWN = {
    "success": "success",
    "start_distance": "from",
    "final_distance": "to",
    "imagined_cost": "imagined",
    "real_cost": "real",
    "seconds_per_plan": "s/plan",
}
"""Metric -> title of its column: distance at start and end, cost that was imagined and that came of it."""


def plan_table(results: Results) -> Table:
    """One line per goal and policy: means, and success with its 95 % interval."""
    table = Table(title=f"goals reached in {results.rows[0]['env']}")
    for column in ("goal", "policy", *_SHOWN.values(), "n"):
        table.add_column(column, overflow="fold")
    for goal in distinct(results.rows, "goal"):
        for policy in distinct(results.rows, "policy"):
            rows = {row.metric: row for row in select(results.rows, goal=goal, policy=policy)}
            cells = [f"{rows[name].mean:.3g}" if name in rows else "" for name in _SHOWN]
            success = rows["success"]
            cells[0] += f" ({success.low:.2g} to {success.high:.2g})"
            table.add_row(goal, policy, *cells, str(success.n))
    return table
