"""Parameters and FLOPs of every stage of an imagined chunk, counted on the meta device: no weights are allocated.

Accounting: one sample, one chunk of the longest horizon; a multiply-add is two FLOPs; matrix products, attention and
convolutions count, elementwise work does not (PyTorch's own counter). `encode` is one frame, `flow` is all calls of `flow_step`
that a chunk takes, `draw` is the image decoder. `calls` says how often a stage's network runs; guidance doubles it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from foreact.core.config import ModelConfig
from foreact.core.presets import Preset, Variant
from foreact.core.pretrained import PretrainedModel, meta_build
from foreact.core.token_spec import TokenSpec
from foreact.decoders.unet import ImageDecoderConfig
from foreact.encoders.meta import meta_encoder
from foreact.encoders.pixels import PixelEncoder, are_pixels
from foreact.nn.flow import Solver
from foreact.nn.past import Past
from foreact.world_models.causal_video import CausalVideoModel
from foreact.world_models.dino_wm import DinoWM
from foreact.world_models.fm_wm import FMWM
from foreact.world_models.rae import RAE
from foreact.world_models.rla_wm import RLAWorldModel

Stage = dict[str, int]
PAPER_TOTALS = {"rla_wm": 3.5e12, "dino_wm": 2.1e12, "fm_wm": 14.3e12, "rae": 14.3e12, "video_diffusion": 1.1e15}
"""FLOPs per inference as the paper reports them (Table 1); its accounting is not stated."""

_ACCOUNTING = (
    "one sample; a multiply-add is 2 FLOPs; products, attention and convolutions count; total without flow_step; "
    "video_diffusion sees and draws pixels itself"
)
_ACTION_DIM = 8  # the Panda's


def preset_cost(
    preset: Preset, *, action_dim: int = _ACTION_DIM, variant: Variant = "paper"
) -> dict[str, dict[str, Stage]]:
    """Cost of a preset's world models by stage: {"rla_wm": {"encode": {"params", "flops", "calls"}, ...}, "dino_wm": ...}."""
    _, tokens, _ = meta_encoder(preset.encoder, image_size=preset.image_size)
    models: dict[str, ModelConfig] = {
        "rla_wm": preset.rla_wm(preset.rla(tokens, variant=variant), action_dim, variant=variant)
    }
    models |= {name: preset.baseline(name, tokens, action_dim) for name in ("dino_wm", "fm_wm", "rae")}
    pixels = PixelEncoder(preset.image_size).spec
    models["video_diffusion"] = preset.baseline("video_diffusion", pixels, action_dim)
    return system_cost(tokens, models, preset.image_decoder(tokens))


def system_cost(
    tokens: TokenSpec, models: Mapping[str, ModelConfig], decoder: ImageDecoderConfig | None
) -> dict[str, dict[str, Stage]]:
    """Cost by stage of world models (by name) that share an encoder and an image decoder, unless they see pixels."""
    shared: dict[str, Stage] = {}
    if not are_pixels(tokens):
        encoder, _, picture = meta_encoder(tokens.encoder, image_size=tokens.image_size)
        shared["encode"] = _stage(encoder, lambda: encoder(picture))
    drawn: dict[str, Stage] = {}
    if decoder is not None:
        drawer = meta_build(decoder)
        drawn["draw"] = _stage(drawer, lambda: drawer(_meta(1, tokens.count, tokens.channels)))
    built = {name: meta_build(config) for name, config in models.items()}
    return {
        name: _core_cost(model) if isinstance(model, CausalVideoModel) else shared | _core_cost(model) | drawn
        for name, model in built.items()
    }


def _core_cost(model: PretrainedModel) -> dict[str, Stage]:
    if isinstance(model, CausalVideoModel):
        return video_cost(model)
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


def video_cost(model: CausalVideoModel) -> dict[str, Stage]:
    """One denoising of the first generated frame, and all calls of a chunk, on the meta device: for every frame one that keeps
    the frame before it in mind, and the sampler's. What a call costs depends on how many frames it looks back over alone.
    """
    config = model.config
    x = model.to_latents(_meta(1, 3, config.tokens.image_size, config.tokens.image_size))
    action = model.embed_actions(_meta(1, config.stride, config.action_dim), _meta(1, config.stride).bool())
    past, denoisings = Past(), config.steps * (1 if config.guidance == 1 else 2)
    steps = [
        _stage(model, lambda: model.velocity_after(past, x, 0, action, x)) for _ in range(config.frames + 1)
    ]  # over 0, 1, 2 ... frames
    costs = [step["flops"] for step in steps]
    flops = sum(costs[:-1]) + denoisings * sum(costs[1:])
    calls = config.frames * (denoisings + 1)
    return {"flow_step": steps[1], "flow": {"params": steps[1]["params"], "flops": flops, "calls": calls}}


def _all_steps(step: Stage, steps: int, solver: Solver) -> Stage:
    calls = steps * (1 if solver == "euler" else 2)
    return {"params": step["params"], "flops": calls * step["flops"], "calls": calls}


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
    for heading in ("model", "stage", "parameters", "calls", "FLOPs"):
        table.add_column(heading, justify="left" if heading in ("model", "stage") else "right")
    for model, stages in costs.items():
        for name, stage in stages.items():
            sizes = f"{stage['params'] / 1e6:,.1f} M", f"{stage['calls']:,}", f"{stage['flops'] / 1e9:,.2f} G"
            table.add_row(model, name, *sizes)
        reported = f"  (paper: {PAPER_TOTALS[model] / 1e12:,.1f} T)" if preset == "paper" else ""
        total = f"{total_flops(stages) / 1e9:,.2f} G{reported}"
        table.add_row(model, "total", "", "", total, style="bold", end_section=True)
    return table


@torch.no_grad()
def _stage(module: nn.Module, call: Callable[[], Any]) -> Stage:
    with FlopCounterMode(display=False) as counter:
        call()
    parameters = sum(p.numel() for p in module.parameters())
    return {"params": parameters, "flops": int(counter.get_total_flops()), "calls": 1}


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")
