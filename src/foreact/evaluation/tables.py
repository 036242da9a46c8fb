"""Rows as tables: what stands in a cell, and tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from foreact.core.terminal import in_markup
from foreact.evaluation.metrics import describe
from foreact.evaluation.rows import Row, distinct

Headings = Mapping[str, Callable[[Row], str]]
"""Heading -> what a row says about itself under it; rows that say the same stand in one line."""


def number(value: float, digits: int = 3) -> str:
    """With a true minus."""
    return f"{value:.{digits}f}".replace("-", "−")


def interval(row: Row) -> str:
    """`low to high`, in the digits of the metric; empty where there is none."""
    if row.low is None or row.high is None:
        return ""
    digits = describe(row.metric).digits
    return f"{number(row.low, digits)} to {number(row.high, digits)}"


def lines(rows: Sequence[Row], headings: Headings) -> dict[tuple[str, ...], dict[str, Row]]:
    """The rows of each line by metric."""
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        found.setdefault(tuple(heading(row) for heading in headings.values()), {})[row.metric] = row
    return found


def terminal_table(
    rows: Sequence[Row],
    headings: Headings,
    *,
    metrics: Sequence[str] | None = None,
    beside: Callable[[Row], str] = interval,
    bold: Callable[[Row], bool] = lambda row: False,
    **about: Any,
) -> Table:
    """A table with a column per metric: the mean, and below it what `beside` says.

    Args:
        rows: at most one per line and metric counts.
        headings: of the first columns.
        metrics: columns; all if None.
        beside: text below each mean.
        bold: whether a mean stands out.
        about: title and caption, as rich takes them.
    """
    shown, table = metrics or distinct(rows, "metric"), Table(**about)
    for heading in headings:
        table.add_column(heading)
    for metric in shown:
        table.add_column(describe(metric).label.partition(" (token")[0], justify="right")

    def cell(row: Row | None) -> str:
        if row is None:
            return ""
        mean, below = number(row.mean, describe(row.metric).digits), beside(row)
        return (f"[bold]{mean}[/bold]" if bold(row) else mean) + (f"\n[dim]{below}[/dim]" if below else "")

    for line, found in lines([row for row in rows if row.metric in shown], headings).items():
        table.add_row(*map(in_markup, line), *(cell(found.get(metric)) for metric in shown))
    return table
