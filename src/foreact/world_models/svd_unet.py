"""The U-Net of Stable Video Diffusion (arXiv:2311.15127), as diffusers has it, made causal and told one noise level per frame.

As Vid2World does with DynamiCrafter: attention over time looks back only; convolutions over time (three frames wide) lose their
view of the next frame, for which they take 2 x_t - x_{t-1} (the "extrapolative" transfer: exact where frames change evenly); and
norms that ran over a whole clip are of single frames.

Shape legend: B batch, T frames, c channels of latents, h w rows and columns, D channels of a frame's embedding.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNetSpatioTemporalConditionModel
from diffusers.models.attention import TemporalBasicTransformerBlock
from diffusers.models.resnet import TemporalResnetBlock
from torch import Tensor, nn
from torch.nn import functional as F

_TAPS = 3


def make_causal(unet: UNetSpatioTemporalConditionModel) -> None:
    """Replace all that mixes frames; parameters keep their names, and convolutions get the weights that stand in for the future."""
    for module in unet.modules():
        if isinstance(module, TemporalResnetBlock):
            for name in ("norm1", "norm2"):
                setattr(module, name, FrameNorm.of(getattr(module, name)))
            for name in ("conv1", "conv2"):
                setattr(module, name, BackwardConvolution.of(getattr(module, name)))
        elif isinstance(module, TemporalBasicTransformerBlock):
            module.attn1.set_processor(CausalProcessor())


def denoise(unet: UNetSpatioTemporalConditionModel, x_BTchw: Tensor, embedding_BTD: Tensor) -> Tensor:
    """One pass over a clip with an embedding per frame, without the clip's picture embedding (zeros, as when it was dropped)."""
    B, T = x_BTchw.shape[:2]
    embedding = embedding_BTD.flatten(0, 1)
    width = unet.config.cross_attention_dim
    width = width if isinstance(width, int) else width[0]
    given: dict[str, Any] = {"temb": embedding, "image_only_indicator": x_BTchw.new_zeros(B, T)}
    context = {"encoder_hidden_states": x_BTchw.new_zeros(B * T, 1, width)}
    x = unet.conv_in(x_BTchw.flatten(0, 1))
    skips: list[Tensor] = [x]
    for block in unet.down_blocks:
        x, passed = block(hidden_states=x, **given, **(context if _attends(block) else {}))
        skips.extend(passed)
    x = unet.mid_block(hidden_states=x, **given, **context)
    for block in unet.up_blocks:
        count = len(block.resnets)
        taken, skips = tuple(skips[-count:]), skips[:-count]
        x = block(hidden_states=x, res_hidden_states_tuple=taken, **given, **(context if _attends(block) else {}))
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(x))).unflatten(0, (B, T))


def _attends(block: nn.Module) -> bool:
    return bool(getattr(block, "has_cross_attention", False))


class FrameNorm(nn.GroupNorm):
    """A group norm of (B, C, T, h, w) that takes each frame by itself."""

    @classmethod
    def of(cls, norm: nn.GroupNorm) -> FrameNorm:
        """The same parameters."""
        made = cls(norm.num_groups, norm.num_channels, eps=norm.eps)
        made.weight, made.bias = norm.weight, norm.bias
        return made

    def forward(self, x_BCThw: Tensor) -> Tensor:
        """-> the same shape."""
        frames = x_BCThw.transpose(1, 2)
        return super().forward(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).transpose(1, 2)


class BackwardConvolution(nn.Conv3d):
    """A convolution over a frame and the two before it."""

    @classmethod
    def of(cls, layer: nn.Conv3d) -> BackwardConvolution:
        """The layer over a frame and its neighbours, with the next frame extrapolated from the two that are known."""
        made = cls(layer.in_channels, layer.out_channels, layer.kernel_size, bias=layer.bias is not None)  # type: ignore[arg-type]
        before, here, after = layer.weight.detach().unbind(dim=2)
        made.weight = nn.Parameter(torch.stack([torch.zeros_like(here), before - after, here + 2 * after], dim=2))
        made.bias = layer.bias
        return made

    def forward(self, x_BCThw: Tensor) -> Tensor:
        """(B, C, T, h, w) -> (B, outputs, T, h, w)."""
        return super().forward(F.pad(x_BCThw, (0, 0, 0, 0, _TAPS - 1, 0)))


class CausalProcessor:
    """Self-attention over time, to frames that came before alone; for a diffusers attention layer of (B, T, D)."""

    def __call__(self, attn: Any, hidden_states: Tensor, **_: Any) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        heads = (attn.heads, -1)
        q, k, v = (
            layer(hidden_states).unflatten(2, heads).transpose(1, 2) for layer in (attn.to_q, attn.to_k, attn.to_v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        for layer in attn.to_out:
            mixed = layer(mixed)
        return mixed
