"""What `foreact act` prints."""

from __future__ import annotations

from rich.table import Table

from foreact.evaluation.results import Results

_UNITS = {
    "success": "share of episodes",
    "length": "actions",
    "return": "sum of rewards",
    "coverage": "largest share of the goal",
}


def success_table(results: Results) -> Table:
    """The rows of a results file: metric, mean, 95 % interval, number of episodes."""
    first = results.rows[0]
    table = Table(title=f"{first['policy']} in {first['env']}")
    for column in ("metric", "mean", "95 % interval", "episodes"):
        table.add_column(column)
    for row in results.rows:
        unit = _UNITS.get(row.metric)
        between = "" if row.low is None or row.high is None else f"{row.low:.3g} to {row.high:.3g}"
        table.add_row(row.metric + (f" ({unit})" if unit else ""), f"{row.mean:.3g}", between, str(row.n))
    return table
