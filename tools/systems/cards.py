"""The model cards of what ships, from what was measured."""

from __future__ import annotations

from typing import Any

from foreact.evaluation.metrics import describe
from foreact.evaluation.results import Results
from foreact.evaluation.tables import interval, number

_HEAD = """---
license: apache-2.0
library_name: foreact
tags: [foreact, robotics, world-model]
---
"""
_SHOWN = ("agent_error_px", "block_error_px", "ssim", "token_l1_skill")


def generic_card(about: dict[str, Any]) -> str:
    """Of RLA and image decoder that were trained on many scenes."""
    short = about["steps"]["short"]
    lines = [
        f"| recordings | these weights | {short} steps on all | {short} steps without these |",
        "|---|---|---|---|",
        *(
            f"| {family} | {told['generic']:.3f} | {told['short']:.3f} | {told['short, without it']:.3f} |"
            for family, told in about["skill"].items()
        ),
    ]
    recordings = "\n".join(f"- `{command}`" for command in about["recordings"].values())
    return f"""{_HEAD}# generic: what changes in a picture, learned on many scenes

RLA and the image decoder of preset `{about["preset"]}`, over the bundled encoder at {about["image_size"]} px. `foreact fit` begins with them, so that only the world
model is trained from nothing (`--from-scratch` does not); `foreact train rla --from generic/rla` does the same. Other picture sizes
are taken as well: no weight depends on the grid of patches.

RLA was trained for {about["steps"]["early"]:,} steps on a part and {about["steps"]["rla"]:,} on all, the image decoder for {about["steps"]["image-decoder"]:,} on all, of
166 episodes of a simulated Panda arm and of

{recordings}

No demo and no evaluation of the library uses these seeds. No real pictures.

## Held-out recordings, and simulators never seen

Skill of the true z decoded, against a copy of the present, on pairs 10 frames apart of held-out episodes (1: the true tokens, 0: a copy).
The last two columns say what is lost where a simulator is left out of the training.

{chr(10).join(lines)}

Made by `python -m tools.systems.make`. Licence: Apache-2.0.
"""


def pusht_card(results: Results) -> str:
    """Of the Push-T system, from its evaluation."""
    metrics = [metric for metric in _SHOWN if metric in results.metrics()]
    lines = [
        "| row | " + " | ".join(describe(metric).label for metric in metrics) + " |",
        "|---" * (len(metrics) + 1) + "|",
    ]
    for model in results.names():
        rows = [results.row(model, metric, results.last_chunk, "moving") for metric in metrics]
        if not any(rows):
            continue
        told = [f"{number(r.mean, describe(r.metric).digits)} [{interval(r)}]" if r else "" for r in rows]
        lines.append(f"| {model} | " + " | ".join(told) + " |")
    how = results.protocol
    return f"""{_HEAD}# pusht: a trained system for Push-T

`foreact.load("pusht")` gives an imagination: a one-step RLA-WM (distilled), with its encoder and image decoder, over pictures of 96 px.
`pusht/dino-wm`, `pusht/rla` and `pusht/image-decoder` are the other parts.

Trained on 800 episodes, `foreact collect pusht --episodes 800 --max-steps 55 --seed 7001`; RLA and image decoder began with `generic`.

## Held-out episodes in which the block moves, after {how["steps"]} steps

Mean and 95 % interval over {how["moving_episodes"]} episodes; pixels of the simulator's 512 x 512 window.

{chr(10).join(lines)}

Made by `python -m tools.systems.make`. Licence: Apache-2.0.
"""
