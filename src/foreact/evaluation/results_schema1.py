"""Results files as they were before 0.2: each study had its own keys."""

from __future__ import annotations

from typing import Any


def upgrade(data: dict[str, Any], *, known: set[str]) -> dict[str, Any]:
    """The content of a file of schema 1 as schema 2 has it.

    Args:
        data: without its schema.
        known: fields of `Results`; what a study wrote beside them are its settings.
    """
    if data.keys() == {"claims"}:
        return {"split_hash": "", "seeds": [], "rows": [], **data}
    if "study" not in data:
        return data
    settings = {name: value for name, value in data.items() if name not in known}
    found = {name: value for name, value in data.items() if name in known} | {"settings": settings}
    found.setdefault("split_hash", "")
    if isinstance(found.get("dataset"), str):
        found["dataset"] = {"name": found["dataset"]}
    if "subset" in settings:
        found["rows"] = [{"subset": settings["subset"], **row} for row in data["rows"]]
    if any("to_reference" in row for row in data["rows"]):
        found |= _sampler_variants(data["rows"], settings)
    return found


def _sampler_variants(rows: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """Rows, differences and costs of sampler variants, whose rows held all three."""
    settings.setdefault("reference", f"{rows[0]['run']}, euler 30")
    plain, paired, cost = [], [], {}
    for row in rows:
        rest = {name: value for name, value in row.items() if name not in ("to_reference", "flops")}
        sampler = "" if row["solver"] is None else f", {row['solver']} {row['steps']}"
        rest = {"model": row["run"] + sampler, "subset": "moving", "chunk": 3, **rest}
        plain.append(rest)
        paired.append({**rest, "reference": settings["reference"], **row["to_reference"]})
        cost[rest["model"]] = {"flops": row["flops"]}
    return {"rows": plain, "paired": paired, "cost": cost}
