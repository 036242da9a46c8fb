"""What RLA-WM's authors released, once more: the names and shapes of its tensors, and its networks in float64, from their description.

The networks are written on torch's own attention and recurrent layers, with the flow in their direction: t = 1 is noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

C, D, Q, Z, A, HEADS, STEPS = 8, 16, 3, 5, 4, 4, 3
Weights = Mapping[str, Tensor]


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def attention(name: str) -> dict[str, tuple[int, ...]]:
    projections = {f"{name}.in_proj_weight": (3 * D, D), f"{name}.in_proj_bias": (3 * D,)}
    return projections | linear(f"{name}.out_proj", D, D)


def mlp(name: str) -> dict[str, tuple[int, ...]]:
    return linear(f"{name}.mlp.0", D, 4 * D) | linear(f"{name}.mlp.2", 4 * D, D)


def convolution(name: str, inputs: int, outputs: int, side: int = 3) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}


def transformer(outputs: int) -> dict[str, tuple[int, ...]]:
    shapes = {"tokens": (Q, D)} | linear("input_layer", C, D) | norm("norm_out", D) | linear("out_layer", D, outputs)
    for block in ("blocks.0", "blocks.1"):
        shapes |= attention(f"{block}.attn") | mlp(block)
    return shapes


def world_model(tokens: int = C, robot: int = 1) -> dict[str, tuple[int, ...]]:
    """Without `xt_proj` where the tokens are as wide as the network."""
    robot_encoder = f"qpos_encoders.{robot}"
    shapes = linear(f"{robot_encoder}.per_frame_mlp.0", A, 64) | linear(f"{robot_encoder}.per_frame_mlp.2", 64, 64)
    for name, inputs in (("ih", 64), ("hh", D)):
        shapes |= {
            f"{robot_encoder}.gru.weight_{name}_l0": (3 * D, inputs),
            f"{robot_encoder}.gru.bias_{name}_l0": (3 * D,),
        }
    shapes |= linear("flow_latent_proj", Z, D) | norm("flow_norm_out", D) | linear("flow_out_proj", D, Z)
    shapes |= linear("flow_time_embedder.mlp.0", 256, D) | linear("flow_time_embedder.mlp.2", D, D)
    shapes |= {} if tokens == D else linear("xt_proj", tokens, D)
    for block in ("cond_blocks.0", "cond_blocks.1"):
        shapes |= attention(f"{block}.attn") | mlp(block) | linear(f"{block}.cond_proj", D, D)
        shapes |= linear(f"{block}.modulation.1", D, 6 * D)
    for block in ("flow_blocks.0", "flow_blocks.1"):
        shapes |= attention(f"{block}.self_attn") | attention(f"{block}.cross_attn") | mlp(block)
        shapes |= linear(f"{block}.modulation.1", D, 6 * D) | norm(f"{block}.norm2", D)
    return shapes


def residual(name: str, size: int) -> dict[str, tuple[int, ...]]:
    shapes = convolution(f"{name}.conv1", size, size) | convolution(f"{name}.conv2", size, size)
    return shapes | norm(f"{name}.norm1", size) | norm(f"{name}.norm2", size)


def image_decoder(size: int = 128) -> dict[str, tuple[int, ...]]:
    shapes = convolution("input_proj.0", C, size) | norm("input_proj.1", size)
    shapes |= residual("input_proj.3", size) | residual("input_proj.4", size)
    for stage in ("up1", "up2", "up3", "up4"):
        shapes |= {f"{stage}.upsample.weight": (size, size // 2, 2, 2), f"{stage}.upsample.bias": (size // 2,)}
        size //= 2
        shapes |= residual(f"{stage}.resblock.0", size) | residual(f"{stage}.resblock.1", size)
    return shapes | residual("out_conv.0", size) | convolution("out_conv.1", size, 3)


def checkpoint(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Random weights of which none is zero, or small beside the others."""
    g = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=g) * max(0.05, math.prod(shape[1:]) ** -0.5)
        for name, shape in shapes.items()
    }


def part(w: Weights, name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value.double() for key, value in w.items() if key.startswith(f"{name}.")}


def apply(layer: nn.Module, w: Weights, *inputs: Tensor, **options: object) -> Tensor:
    """What a layer of torch with these weights says."""
    layer = layer.double()
    layer.load_state_dict(dict(w))
    return layer(*inputs, **options)


def affine(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, **part(w, name))


def attend(w: Weights, name: str, x: Tensor, context: Tensor) -> Tensor:
    layer = nn.MultiheadAttention(D, HEADS, batch_first=True)
    return apply(layer, part(w, name), x, context, context, need_weights=False)[0]


def perceptron(w: Weights, name: str, x: Tensor) -> Tensor:
    return affine(w, f"{name}.2", F.gelu(affine(w, f"{name}.0", x)))


def plain(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def through_transformer(w: Weights, tokens: Tensor, patches: Tensor) -> Tensor:
    x = torch.cat([tokens.expand(len(patches), -1, -1), affine(w, "input_layer", patches)], dim=1)
    for block in ("blocks.0", "blocks.1"):
        x = x + attend(w, f"{block}.attn", plain(x), plain(x))
        x = x + perceptron(w, f"{block}.mlp", plain(x))
    return affine(w, "out_layer", F.layer_norm(x, x.shape[-1:], **part(w, "norm_out")))


def encode(w: Weights, residual: Tensor) -> Tensor:
    """z of s_{t+h} - s_t."""
    return through_transformer(w, w["tokens"].double(), residual)[:, :Q]


def decode(w: Weights, s_t: Tensor, z: Tensor) -> Tensor:
    return through_transformer(w, affine(w, "token_proj", z) + w["tokens"].double(), s_t)[:, Q:]


def modulation(w: Weights, block: str, vector: Tensor) -> tuple[Tensor, ...]:
    return affine(w, f"{block}.modulation.1", F.silu(vector))[:, None].chunk(6, dim=-1)


def condition(w: Weights, s_t: Tensor, actions: Tensor, lengths: Tensor, robot: int = 1) -> Tensor:
    x = affine(w, "xt_proj", s_t) if "xt_proj.weight" in w else s_t
    steps = perceptron(w, f"qpos_encoders.{robot}.per_frame_mlp", actions)
    packed = pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
    vector = apply(nn.GRU(64, D, batch_first=True), part(w, f"qpos_encoders.{robot}.gru"), packed)[1][-1]  # type: ignore[arg-type]
    for block in ("cond_blocks.0", "cond_blocks.1"):
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation(w, block, affine(w, f"{block}.cond_proj", vector))
        seen = plain(x) * (1 + scale1) + shift1
        x = x + gate1 * attend(w, f"{block}.attn", seen, seen)
        x = x + gate2 * perceptron(w, f"{block}.mlp", plain(x) * (1 + scale2) + shift2)
    return x


def velocity(w: Weights, context: Tensor, z: Tensor, t: float) -> Tensor:
    """Noise minus data, at noise level t."""
    angles = 1000 * t * torch.exp(-math.log(10_000) * torch.arange(128, dtype=torch.float64) / 128)
    hidden = F.silu(affine(w, "flow_time_embedder.mlp.0", torch.cat([angles.cos(), angles.sin()])[None]))
    vector = affine(w, "flow_time_embedder.mlp.2", hidden)
    x = affine(w, "flow_latent_proj", z)
    for block in ("flow_blocks.0", "flow_blocks.1"):
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation(w, block, vector)
        seen = plain(x) * (1 + scale1) + shift1
        x = x + gate1 * attend(w, f"{block}.self_attn", seen, seen)
        x = x + attend(w, f"{block}.cross_attn", F.layer_norm(x, (D,), **part(w, f"{block}.norm2")), context)
        x = x + gate2 * perceptron(w, f"{block}.mlp", plain(x) * (1 + scale2) + shift2)
    return affine(w, "flow_out_proj", F.layer_norm(x, (D,), **part(w, "flow_norm_out")))


def sample(w: Weights, s_t: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor, steps: int = STEPS) -> Tensor:
    """z by Euler steps from t = 1 to t = 0, in the autoencoder's units."""
    context, z = condition(w, s_t, actions, lengths), noise
    for step in range(steps):
        z = z - velocity(w, context, z, 1 - step / steps) / steps
    return 10 * z


def convolve(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.conv2d(x, **part(w, name), padding=1)


def residual_block(w: Weights, name: str, x: Tensor) -> Tensor:
    y = F.gelu(F.group_norm(convolve(w, f"{name}.conv1", x), 8, **part(w, f"{name}.norm1")))
    return F.gelu(x + F.group_norm(convolve(w, f"{name}.conv2", y), 8, **part(w, f"{name}.norm2")))


def draw(w: Weights, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Pictures (B, 3, height, width), from 0 to 1 but not clamped."""
    x = tokens.transpose(1, 2).unflatten(2, grid)
    x = F.gelu(F.group_norm(convolve(w, "input_proj.0", x), 8, **part(w, "input_proj.1")))
    x = residual_block(w, "input_proj.4", residual_block(w, "input_proj.3", x))
    for stage in ("up1", "up2", "up3", "up4"):
        x = F.conv_transpose2d(x, **part(w, f"{stage}.upsample"), stride=2)
        x = residual_block(w, f"{stage}.resblock.1", residual_block(w, f"{stage}.resblock.0", x))
    return convolve(w, "out_conv.1", residual_block(w, "out_conv.0", x))
