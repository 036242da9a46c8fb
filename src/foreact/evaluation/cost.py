"""Parameters and FLOPs of every stage of an imagined chunk, counted on the meta device: no weights are allocated.

Accounting: one sample, one chunk; a multiply-add is two FLOPs; matrix products, attention and convolutions count,
elementwise work does not (PyTorch's own counter). `encode` is one frame, `flow` is `flow_step` times the sampler's steps,
`draw` is the image decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from foreact.decoders.unet import ImageDecoderConfig
from foreact.encoders.meta import meta_encoder
from foreact.nn.flow import Solver
from foreact.presets import Preset, Variant
from foreact.pretrained import ModelConfig, PretrainedModel, TokenSpec, meta_build
from foreact.world_models.dino_wm import DinoWM
from foreact.world_models.fm_wm import FMWM
from foreact.world_models.rae import RAE
from foreact.world_models.rla_wm import RLAWorldModel

Stage = dict[str, int]
PAPER_TOTALS = {"rla_wm": 3.5e12, "dino_wm": 2.1e12}
"""FLOPs per inference as the paper reports them (Table 1); its accounting is not stated."""

_ACCOUNTING = (
    "one sample; a multiply-add is 2 FLOPs; products, attention and convolutions count; total without flow_step"
)
_ACTION_DIM = 8  # the Panda's


def preset_cost(
    preset: Preset, *, action_dim: int = _ACTION_DIM, variant: Variant = "paper"
) -> dict[str, dict[str, Stage]]:
    """Cost of a preset's RLA-WM and DINO-WM by stage: {"rla_wm": {"encode": {"params", "flops"}, ...}, "dino_wm": ...}."""
    _, tokens, _ = meta_encoder(preset.encoder, image_size=preset.image_size)
    models = {
        "rla_wm": preset.rla_wm(preset.rla(tokens, variant=variant), action_dim, variant=variant),
        "dino_wm": preset.baseline("dino_wm", tokens, action_dim),
    }
    return system_cost(tokens, models, preset.image_decoder(tokens))


def system_cost(
    tokens: TokenSpec, models: Mapping[str, ModelConfig], decoder: ImageDecoderConfig | None
) -> dict[str, dict[str, Stage]]:
    """Cost by stage of world models (by name) that share an encoder and an image decoder."""
    encoder, _, picture = meta_encoder(tokens.encoder, image_size=tokens.image_size)
    shared = {"encode": _stage(encoder, lambda: encoder(picture))}
    drawn: dict[str, Stage] = {}
    if decoder is not None:
        drawer = meta_build(decoder)
        drawn["draw"] = _stage(drawer, lambda: drawer(_meta(1, tokens.count, tokens.channels)))
    return {name: shared | _core_cost(meta_build(config)) | drawn for name, config in models.items()}


def _core_cost(model: PretrainedModel) -> dict[str, Stage]:
    if isinstance(model, RLAWorldModel):
        return rla_wm_cost(model)
    if isinstance(model, FMWM | RAE):
        return token_flow_cost(model)
    assert isinstance(model, DinoWM)
    return {"decode": dino_wm_cost(model)}


def rla_wm_cost(model: RLAWorldModel) -> dict[str, Stage]:
    """Condition, one flow step, all flow steps and decode of a model on the meta device."""
    config, tokens = model.config, model.config.tokens
    s_t = _meta(1, tokens.count, tokens.channels)
    actions, mask = _meta(1, config.horizon, config.action_dim), _meta(1, config.horizon).bool()
    z, time = _meta(1, config.rla.latent_tokens, config.rla.latent_channels), _meta(1)
    condition = _stage(model.condition, lambda: model.flow.prepare(model.condition(s_t, actions, mask)))
    context = model.flow.prepare(model.condition(s_t, actions, mask))
    step = _stage(model.flow, lambda: model.flow(z, time, context))
    return {
        "condition": condition,
        "flow_step": step,
        "flow": _all_steps(step, config.steps, config.solver),
        "decode": _stage(model.rla.decoder, lambda: model.rla.decoder(s_t, z)),
    }


def token_flow_cost(model: FMWM | RAE) -> dict[str, Stage]:
    """One step and all steps of a flow over the tokens themselves, on the meta device."""
    config, s_t = model.config, _meta(1, model.config.tokens.count, model.config.tokens.channels)
    chunk = _meta(1, config.horizon, config.action_dim), _meta(1, config.horizon).bool()
    step = _stage(model, lambda: model.velocity(s_t, _meta(1), s_t, chunk))
    return {"flow_step": step, "flow": _all_steps(step, config.steps, config.solver)}


def _all_steps(step: Stage, steps: int, solver: Solver) -> Stage:
    return {"params": step["params"], "flops": steps * (1 if solver == "euler" else 2) * step["flops"]}


def dino_wm_cost(model: DinoWM) -> Stage:
    """The one pass of the regression model, on the meta device."""
    config, tokens = model.config, model.config.tokens
    s_t, actions = _meta(1, tokens.count, tokens.channels), _meta(1, config.horizon, config.action_dim)
    return _stage(model, lambda: model(s_t, actions, torch.ones(1, dtype=torch.long, device="meta")))


def total_flops(stages: dict[str, Stage], *, drawn: bool = True) -> int:
    """FLOPs of one chunk: encode, condition, all flow steps, decode, and draw where asked for."""
    left_out = {"flow_step"} if drawn else {"flow_step", "draw", "encode"}
    return sum(stage["flops"] for name, stage in stages.items() if name not in left_out)


def cost_table(costs: dict[str, dict[str, Stage]], preset: str) -> Table:
    """The costs as a table, with the paper's totals beside the `paper` preset's."""
    table = Table(title=f"Cost of one chunk, preset {preset}", caption=_ACCOUNTING)
    for heading in ("model", "stage", "parameters", "FLOPs"):
        table.add_column(heading, justify="left" if heading in ("model", "stage") else "right")
    for model, stages in costs.items():
        for name, stage in stages.items():
            table.add_row(model, name, f"{stage['params'] / 1e6:,.1f} M", f"{stage['flops'] / 1e9:,.2f} G")
        reported = f"  (paper: {PAPER_TOTALS[model] / 1e12:.1f} T)" if preset == "paper" else ""
        table.add_row(
            model, "total", "", f"{total_flops(stages) / 1e9:,.2f} G{reported}", style="bold", end_section=True
        )
    return table


def _stage(module: nn.Module, call: Callable[[], Any]) -> Stage:
    with FlopCounterMode(display=False) as counter:
        call()
    return {"params": sum(p.numel() for p in module.parameters()), "flops": int(counter.get_total_flops())}


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")
