"""The weights that RLA-WM's authors released, as models of foreact.

The tables say which of their tensors becomes which of ours: `#` is a number, `*` the rest of a name. They follow the modules that
the authors published (`SimpleTokenTransformer`, `RLAWM`, `DinoToImageDecoderV1`); where a checkpoint has other names, its line is
what has to be corrected. Sizes are read from the shapes. Four things are more than a new name:

    their flow goes from noise at t = 1 to z / 10 at t = 0:  v(z, tau) = -v_theirs(z, 1 - tau),  z = 10 z_flow
    their s_t is not projected where C = D:  a projection that changes nothing
    their cross-attention has queries, keys and values in one tensor
    their image decoder has 2x2 kernels and draws from 0 upwards, ours 4x4 (with a border of zeros the same) and from 0.5

Shape legend: C channels, Q latent tokens, Z latent channels, A action dimension, D width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.core.config import ModelConfig
from foreact.core.errors import ForeactError
from foreact.core.token_spec import TokenSpec
from foreact.decoders.unet import ImageDecoderConfig, UNetDecoder
from foreact.latent_actions.rla import RLA, RLAConfig
from foreact.nn.positions import time_angles
from foreact.world_models.rla_wm import RLAWorldModelConfig
from foreact.world_models.rla_wm_released import ReleasedRLAWorldModel, released

Tensors = Mapping[str, Tensor]
Z_SCALE = 10.0
"""What their flow divides z by."""

_TRANSFORMER = {
    "input_layer.*": "project.linear.*",
    "blocks.#.attn.in_proj_*": "blocks.#.attention.qkv.*",
    "blocks.#.attn.out_proj.*": "blocks.#.attention.out.*",
    "blocks.#.mlp.*": "blocks.#.mlp.*",
    "norm_out.*": "norm.*",
    "out_layer.*": "out.*",
}
ENCODER = {**_TRANSFORMER, "tokens": "queries"}
DECODER = {**_TRANSFORMER, "tokens": "slots", "token_proj.*": "project_z.*"}
WORLD_MODEL = {
    "qpos_encoders.ROBOT.per_frame_mlp.*": "condition.embed_actions.step.*",
    "qpos_encoders.ROBOT.gru.*": "condition.embed_actions.gru.*",
    "xt_proj.*": "condition.project.linear.*",
    "cond_blocks.#.cond_proj.*": "condition.project_actions.#.*",
    "cond_blocks.#.modulation.1.*": "condition.blocks.#.modulation.*",
    "cond_blocks.#.attn.in_proj_*": "condition.blocks.#.attention.qkv.*",
    "cond_blocks.#.attn.out_proj.*": "condition.blocks.#.attention.out.*",
    "cond_blocks.#.mlp.*": "condition.blocks.#.mlp.*",
    "flow_latent_proj.*": "flow.project_z.*",
    "flow_time_embedder.mlp.*": "flow.time.mlp.*",
    "flow_blocks.#.modulation.1.*": "flow.blocks.#.modulation.*",
    "flow_blocks.#.self_attn.in_proj_*": "flow.blocks.#.attention.qkv.*",
    "flow_blocks.#.self_attn.out_proj.*": "flow.blocks.#.attention.out.*",
    "flow_blocks.#.cross_attn.in_proj_*": "flow.blocks.#.cross.qkv.*",
    "flow_blocks.#.cross_attn.out_proj.*": "flow.blocks.#.cross.out.*",
    "flow_blocks.#.norm2.*": "flow.blocks.#.norm_cross.*",
    "flow_blocks.#.mlp.*": "flow.blocks.#.mlp.*",
    "flow_norm_out.*": "flow.norm.*",
    "flow_out_proj.*": "flow.out.*",
}
_STAGES = range(1, 5)
IMAGE_DECODER = {
    "input_proj.*": "body.*",
    **{f"up{stage}.upsample.*": f"body.{3 * stage + 2}.*" for stage in _STAGES},
    **{f"up{stage}.resblock.0.*": f"body.{3 * stage + 3}.*" for stage in _STAGES},
    **{f"up{stage}.resblock.1.*": f"body.{3 * stage + 4}.*" for stage in _STAGES},
    "out_conv.0.*": "body.17.*",
    "out_conv.1.*": "out.*",
}


def make_rla(encoder: Tensors, decoder: Tensors, tokens: TokenSpec, *, heads: int) -> RLA:
    """An RLA autoencoder of their two checkpoints.

    Args:
        encoder, decoder: their tensors.
        tokens: of the encoder that these were trained on.
        heads: attention heads, which no shape tells.

    Raises:
        ForeactError: tensors that are missing, strange or of another shape, or tokens of another width.
    """
    (Q, D), (Z, _), (_, C) = (_shape(encoder, n) for n in ("tokens", "out_layer.weight", "input_layer.weight"))
    _require_channels(C, tokens)
    config = RLAConfig(
        tokens=tokens,
        dim=D,
        depth=_depth(encoder, "blocks"),
        heads=heads,
        latent_tokens=Q,
        latent_channels=Z,
        position_scale=0.0,
        exact_gelu=True,
    )
    model = _build(config)
    _fill(model.encoder, _renamed(encoder, ENCODER), "encoder")
    _fill(model.decoder, _renamed(decoder, DECODER), "decoder")
    return model.eval()


def make_world_model(flow: Tensors, rla: RLA, *, heads: int, horizon: int) -> ReleasedRLAWorldModel:
    """An RLA-WM over its RLA; actions are in the units of the recordings, which theirs does not standardise.

    Args:
        flow: the tensors of their world model, which holds condition and flow network of one robot.
        rla: the autoencoder it was trained with.
        heads: attention heads, which no shape tells.
        horizon: H, the longest chunk; the recurrent network over the actions has no such size.

    Raises:
        ForeactError: tensors that are missing, strange or of another shape, several robots, or another RLA.
    """
    robots = sorted({name.split(".")[1] for name in flow if name.startswith("qpos_encoders.")})
    if len(robots) != 1:
        raise ForeactError(f"a world model is of one robot, this checkpoint has action encoders of {robots or 'none'}")
    (D, Z), C = _shape(flow, "flow_latent_proj.weight"), rla.config.tokens.channels
    if rla.config.latent_channels != Z:
        raise ForeactError(f"this world model makes a z of {Z} channels, its RLA has {rla.config.latent_channels}")
    paper = RLAWorldModelConfig(
        rla=rla.config,
        action_dim=_shape(flow, f"qpos_encoders.{robots[0]}.per_frame_mlp.0.weight")[1],
        horizon=horizon,
        dim=D,
        condition_depth=_depth(flow, "cond_blocks"),
        flow_depth=_depth(flow, "flow_blocks"),
        heads=heads,
    )
    model = _build(replace(released(paper), project_actions=True))
    found = _renamed(flow, {line.replace("ROBOT", robots[0]): ours for line, ours in WORLD_MODEL.items()})
    if C == D:
        unchanged = {"weight": torch.eye(D), "bias": torch.zeros(D)}
        found = {f"condition.project.linear.{name}": tensor for name, tensor in unchanged.items()} | found
    for name in [name for name in found if ".cross.qkv." in name]:
        whole = found.pop(name)
        found[name.replace("qkv", "q")], found[name.replace("qkv", "kv")] = whole[:D], whole[D:]
    _fill(model, found, "world model", given=("rla.",))
    with torch.no_grad():
        model.flow.out.weight.neg_()
        model.flow.out.bias.neg_()
        model.flow.time.mlp[0].weight.copy_(_reversed(model.flow.time.mlp[0].weight))
        model.latent_std.fill_(Z_SCALE)
    model.rla.load_state_dict(rla.state_dict())
    return model.eval()


def make_image_decoder(tensors: Tensors, tokens: TokenSpec) -> UNetDecoder:
    """An image decoder of their checkpoint.

    Raises:
        ForeactError: tensors that are missing, strange or of another shape, or tokens of another width.
    """
    stem, C = _shape(tensors, "input_proj.0.weight")[:2]
    _require_channels(C, tokens)
    channels = tuple(_shape(tensors, f"up{stage}.upsample.weight")[1] for stage in _STAGES)
    model = _build(
        ImageDecoderConfig(tokens=tokens, channels=channels, stem_channels=stem, blocks=2, released_blocks=True)
    )
    found = _renamed(tensors, IMAGE_DECODER)
    found = {name: F.pad(t, (1, 1, 1, 1)) if t.shape[2:] == (2, 2) else t for name, t in found.items()}
    _fill(model, found, "image decoder")
    with torch.no_grad():
        model.out.bias.sub_(0.5)
    return model.eval()


def _reversed(weight: Tensor) -> Tensor:
    """The first layer of a time embedding, (D, 2 F), such that it says of tau what the given one says of 1 - tau.

    cos(a - x) and sin(a - x), with a the angle of time 1, are sums of cos x and sin x.
    """
    cosines, sines = weight.double().chunk(2, dim=1)
    whole = time_angles(torch.ones(1, dtype=torch.float64), cosines.shape[1])
    c, s = whole.cos(), whole.sin()
    return torch.cat([cosines * c + sines * s, cosines * s - sines * c], dim=1)


def _renamed(tensors: Tensors, table: Mapping[str, str]) -> dict[str, Tensor]:
    """Their tensors in float32 by our names."""
    lines = {re.escape(line).replace(r"\#", r"(\d+)").replace(r"\*", "(.+)"): ours for line, ours in table.items()}
    found, strange = {}, []
    for theirs, tensor in tensors.items():
        fitting = [(match, ours) for line, ours in lines.items() if (match := re.fullmatch(line, theirs))]
        if not fitting or not tensor.ndim:
            strange.append(theirs)
            continue
        match, ours = fitting[0]
        for part in match.groups():
            ours = re.sub(r"[#*]", part, ours, count=1)
        found[ours] = tensor.detach().float()
    if strange:
        raise ForeactError(
            f"{len(strange)} tensors that RLA-WM's released code does not have, such as {sorted(strange)[0]}: another model, "
            "or other names than in the tables of foreact.world_models.released_weights"
        )
    return found


def _fill(module: nn.Module, found: Tensors, what: str, *, given: tuple[str, ...] = ()) -> None:
    """Put tensors in the places of all parameters but those whose names begin with one of `given`."""
    wanted = {name: p for name, p in module.named_parameters() if not name.startswith(given)}
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            raise ForeactError(f"{what}: the checkpoint has no tensor that becomes {name}: a part of it is missing")
        if name not in wanted:
            raise ForeactError(f"{what}: the checkpoint has a tensor for {name}, of which this model has none")
        if found[name].shape != wanted[name].shape:
            shapes = f"{tuple(found[name].shape)}, not {tuple(wanted[name].shape)}"
            raise ForeactError(f"{what}: what becomes {name} has the shape {shapes}")
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(found[name])


def _shape(tensors: Tensors, name: str) -> tuple[int, ...]:
    if name not in tensors or tensors[name].ndim < 2:
        raise ForeactError(f"the checkpoint has no {name}: not the part of RLA-WM that was asked for")
    return tuple(tensors[name].shape)


def _depth(tensors: Tensors, blocks: str) -> int:
    depth = len({name.split(".")[1] for name in tensors if name.startswith(f"{blocks}.")})
    if not depth:
        raise ForeactError(f"the checkpoint has no {blocks}: a part of it is missing")
    return depth


def _require_channels(channels: int, tokens: TokenSpec) -> None:
    if channels != tokens.channels:
        raise ForeactError(
            f"the checkpoint reads tokens of {channels} channels, {tokens.encoder} gives {tokens.channels}: name the encoder "
            "that it was trained with, --encoder"
        )


def _build(config: ModelConfig) -> Any:
    try:
        return config.build()
    except ValueError as error:  # a width that is no multiple of the heads
        raise ForeactError(f"no model can be built in these sizes: {error}; see --heads") from error
