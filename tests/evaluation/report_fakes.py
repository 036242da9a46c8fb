"""Results with everything that a report can show."""

from __future__ import annotations

import torch

from foreact.evaluation.figures import film_strip
from foreact.evaluation.results import Results, Timing
from foreact.evaluation.rows import PairedDifference, Row

MODELS = ("rla_wm", "dino_wm", "persistence", "oracle")
MEANS = {"rla_wm": 0.3, "dino_wm": 0.4, "persistence": 0.5, "oracle": 0.1}


def rows(subset: str) -> list[Row]:
    found = []
    for model in MODELS:
        for chunk in (1, 2):
            mean = MEANS[model] * chunk
            keys = {"keys": {"model": model, "chunk": chunk, "subset": subset}, "n": 5}
            found += [
                Row(metric="token_l1", mean=mean, low=mean - 0.05, high=mean + 0.05, **keys),
                Row(metric="token_l1_skill", mean=1 - mean / chunk / 0.5, low=-0.1, high=0.9, **keys),
                Row(metric="block_error_px", mean=10 * mean, low=None, high=None, **keys),
            ]
    return found


def pairs(subset: str, *, sure: bool) -> list[PairedDifference]:
    found = []
    for model, reference in (("rla_wm", "dino_wm"), ("rla_wm", "persistence"), ("dino_wm", "persistence")):
        for chunk in (1, 2):
            mean = (MEANS[model] - MEANS[reference]) * chunk
            high = mean / 2 if sure else 0.1
            keys = {"model": model, "reference": reference, "chunk": chunk, "subset": subset}
            numbers = {"mean": mean, "low": 2 * mean, "high": high, "n": 5}
            found.append(PairedDifference(keys=keys, metric="token_l1", **numbers))
    return found


def report_results() -> Results:
    """Two models and their references, a film strip, costs, a claim."""
    images = torch.rand((3, 8, 8, 3), generator=torch.Generator().manual_seed(0))
    strip = film_strip(
        images,
        {"rla_wm": images[None, 1:].expand(2, -1, -1, -1, -1), "persistence": images[None, :2]},
        episode=7,
        frames=(4, 14, 24),
        task="push <script>alert(1)</script>",
        moving=True,
    )
    cost = {
        "rla_wm": {
            "encode": {"params": 1000, "flops": 2_000_000},
            "flow_step": {"params": 500, "flops": 10},
            "flow": {"params": 500, "flops": 300},
        },
        "dino_wm": {"encode": {"params": 1000, "flops": 2_000_000}},
    }
    return Results(
        split_hash="abcdef",
        seeds=(3,),
        rows=tuple(rows("all") + rows("moving")),
        paired=tuple(pairs("all", sure=False) + pairs("moving", sure=True)),
        dataset={"name": "push & pull", "episodes": 20},
        protocol={"boundaries": [10, 20], "steps": 20, "chunk": 10, "moving_windows": 4, "moving_rule": "it moves"},
        models={"rla_wm": {"parameters": 1_234_567, "stochastic": True, "preset": "tiny"}},
        machine={"device": "cpu", "cores": 2, "threads": 2},
        cost=cost,
        timings=(Timing(model="rla_wm", batch=1, median=12.3, low=12, high=13, repeats=9),),
        notes={"lpips": "empty: no weights here"},
        strips=(strip,),
        claims={
            "figures": [
                {"title": "A claim", "caption": "so it is", "png": "AAAA", "table": {"header": ["a"], "rows": [["1"]]}}
            ]
        },
    )
