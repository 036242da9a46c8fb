"""Parameters and FLOPs of every stage of an imagined chunk, counted on the meta device: no weights are allocated.

See `core.cost` for what counts. `encode` is one frame, `flow` is all calls of `flow_step` that a chunk takes, `draw` is the image
decoder. `calls` says how often a stage's network runs; guidance doubles it. What stands between encode and draw is counted by
the model's own card.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from rich.table import Table

from foreact.core.cards import DataSpec, option_names
from foreact.core.config import ModelConfig
from foreact.core.cost import Stage, count_stage, meta, total_flops
from foreact.core.presets import Preset
from foreact.core.pretrained import meta_build
from foreact.core.registry import card, kinds
from foreact.core.token_spec import TokenSpec
from foreact.encoders.meta import meta_encoder
from foreact.encoders.pixels import PixelEncoder, are_pixels

_ACCOUNTING = (
    "one sample; a multiply-add is 2 FLOPs; products, attention and convolutions count; total without flow_step; "
    "models of pixels see and draw them themselves"
)
_ACTION_DIM = 8  # the Panda's


def preset_cost(
    preset: Preset, *, action_dim: int = _ACTION_DIM, variant: Literal["paper", "released"] = "paper"
) -> dict[str, dict[str, Stage]]:
    """Cost by stage of every world model that can be trained: {"rla_wm": {"encode": {"params", "flops", "calls"}, ...}, ...}."""
    models: dict[str, ModelConfig] = {}
    for kind in kinds("world_model"):
        if training := card(kind).training:
            chosen: dict[str, Any] = {"variant": variant} if "variant" in option_names(training) else {}
            options = training(**chosen)
            tokens = _meta_tokens(*options.frames(preset))
            models[kind] = options.configure(preset, DataSpec(tokens=tokens, action_dim=action_dim))
    tokens = _meta_tokens(preset.encoder, preset.image_size)
    drawing = card(kinds("image_decoder")[0]).training
    return system_cost(tokens, models, drawing().configure(preset, DataSpec(tokens=tokens)) if drawing else None)


def system_cost(
    tokens: TokenSpec, models: Mapping[str, ModelConfig], decoder: ModelConfig | None
) -> dict[str, dict[str, Stage]]:
    """Cost by stage of world models (by name) that share an encoder and an image decoder, unless they see pixels."""
    encode: dict[str, Stage] = {}
    if not are_pixels(tokens):
        encoder, _, picture = meta_encoder(tokens.encoder, image_size=tokens.image_size)
        encode["encode"] = count_stage(encoder, lambda: encoder(picture))
    draw: dict[str, Stage] = {}
    if decoder is not None:
        drawer = meta_build(decoder)
        draw["draw"] = count_stage(drawer, lambda: drawer(meta(1, tokens.count, tokens.channels)))
    found = {}
    for name, config in models.items():
        core, seen = model_cost(config), config.tokens  # type: ignore[attr-defined]
        found[name] = core if are_pixels(seen) else encode | core | draw
    return found


def model_cost(config: ModelConfig) -> dict[str, Stage]:
    """Cost by stage of one chunk of a world model, from what it sees to what it predicts; empty where its card counts none."""
    cost = card(config.kind).cost
    return cost(meta_build(config)) if cost else {}


def cost_table(costs: Mapping[str, Mapping[str, Stage]], preset: str) -> Table:
    """The costs as a table, with the papers' totals beside the `paper` preset's."""
    table = Table(title=f"Cost of one chunk, preset {preset}", caption=_ACCOUNTING)
    for heading in ("model", "stage", "parameters", "calls", "FLOPs"):
        table.add_column(heading, justify="left" if heading in ("model", "stage") else "right")
    for model, stages in costs.items():
        for name, stage in stages.items():
            sizes = f"{stage['params'] / 1e6:,.1f} M", f"{stage['calls']:,}", f"{stage['flops'] / 1e9:,.2f} G"
            table.add_row(model, name, *sizes)
        published = card(model).published_flops if preset == "paper" else None
        reported = f"  (paper: {published / 1e12:,.1f} T)" if published else ""
        total = f"{total_flops(dict(stages)) / 1e9:,.2f} G{reported}"
        table.add_row(model, "total", "", "", total, style="bold", end_section=True)
    return table


def _meta_tokens(encoder: str, image_size: int) -> TokenSpec:
    """The tokens of an encoder by name, without its weights."""
    return PixelEncoder(image_size).spec if encoder == "pixels" else meta_encoder(encoder, image_size=image_size)[1]
