"""A U-Net over the frames of a clip that never looks ahead: convolutions and attention within a frame, and over time only back.

Shape legend: B batch, T frames, C channels, D channels of a frame's embedding, h and w rows and columns of a level.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.nn.attention import zero
from foreact.nn.convolution import group_norm
from foreact.nn.past import Past
from foreact.nn.space_time import SpaceTimeBlock

_HEAD = 64  # channels of an attention head
_TAPS = 3  # frames that a convolution over time sees


class VideoUNet(nn.Module):
    """Levels of residual stages, each half as fine as the one before, and the way back; attention at all but the finest.

    The first `outputs` channels of the input also go around it, each times a factor that the frame's embedding gives: noise has as
    many dimensions as a frame, and a network whose finest level is narrower than that could not tell it.

    Args:
        inputs: channels that come in.
        outputs: channels that come out; zero at initialisation.
        widths: channels of the levels, finest first.
        stages: of each level, on the way down and on the way up.
        embedding: D.
    """

    def __init__(self, inputs: int, outputs: int, *, widths: tuple[int, ...], stages: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down, self.up, self.coarsen, self.refine = (nn.ModuleList() for _ in range(4))
        width = widths[0]
        for level, wide in enumerate(widths):
            attends = level > 0
            self.down.append(_Level(width, wide, stages, embedding, attends=attends))
            self.up.insert(0, _Level(2 * wide, wide, stages, embedding, attends=attends))
            if level + 1 < len(widths):
                self.coarsen.append(nn.Conv2d(wide, wide, 3, stride=2, padding=1))
                self.refine.insert(0, nn.Conv2d(widths[level + 1], wide, 3, padding=1))
            width = wide
        self.middle = Stage(width, width, embedding, attends=True)
        self.norm, self.out = group_norm(widths[0]), nn.Conv2d(widths[0], outputs, 3, padding=1)
        self.around = nn.Linear(embedding, outputs)
        zero(self.out)
        zero(self.around)

    def forward(self, x_BTChw: Tensor, embedding_BTD: Tensor, past: Past | None = None) -> Tensor:
        """(B, T, inputs, h, w) -> (B, T, outputs, h, w); with a past, the frames that come after it."""
        x, skips = _frame_by_frame(self.first, x_BTChw), []
        for level, stages in enumerate(self.down):
            x = stages(_frame_by_frame(self.coarsen[level - 1], x) if level else x, embedding_BTD, past)
            skips.append(x)
        x = self.middle(x, embedding_BTD, past)
        for level, stages in enumerate(self.up):
            if level:
                finer = F.interpolate(x.flatten(0, 1), scale_factor=2.0).unflatten(0, x.shape[:2])
                x = _frame_by_frame(self.refine[level - 1], finer)
            x = stages(torch.cat([x, skips.pop()], dim=2), embedding_BTD, past)
        factors = self.around(F.silu(embedding_BTD))
        around = factors[..., None, None] * x_BTChw[:, :, : factors.shape[2]]
        return _frame_by_frame(self.out, F.silu(_frame_by_frame(self.norm, x))) + around


class _Level(nn.Module):
    """Stages one after the other, the first of which changes the channels."""

    def __init__(self, inputs: int, outputs: int, stages: int, embedding: int, *, attends: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [Stage(outputs if i else inputs, outputs, embedding, attends=attends) for i in range(stages)]
        )

    def forward(self, x_BTChw: Tensor, embedding_BTD: Tensor, past: Past | None) -> Tensor:
        for stage in self.stages:
            x_BTChw = stage(x_BTChw, embedding_BTD, past)
        return x_BTChw


class Stage(nn.Module):
    """A residual block of each frame by itself that takes its embedding, a convolution over time and, where it `attends`,
    attention over the frame and back in time.
    """

    def __init__(self, inputs: int, outputs: int, embedding: int, *, attends: bool) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.embed = nn.Linear(embedding, outputs)
        self.norm2, self.conv2 = group_norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.over_time = CausalConvolution(outputs)
        blocks = [SpaceTimeBlock(outputs, max(1, outputs // _HEAD), causal=True)] if attends else []
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x_BTChw: Tensor, embedding_BTD: Tensor, past: Past | None = None) -> Tensor:
        """(B, T, C, h, w) and (B, T, D) -> (B, T, outputs, h, w)."""
        B, T = x_BTChw.shape[:2]
        x = x_BTChw.flatten(0, 1)
        added = self.embed(F.silu(embedding_BTD.flatten(0, 1)))[..., None, None]
        hidden = self.conv1(F.silu(self.norm1(x))) + added
        x = self.skip(x) + self.conv2(F.silu(self.norm2(hidden)))
        x = x.unflatten(0, (B, T))
        x = x + self.over_time(x, past)
        for block in self.blocks:
            tokens = block(x.flatten(3).transpose(2, 3), past)
            x = tokens.transpose(2, 3).reshape(x.shape)
        return x


class CausalConvolution(nn.Module):
    """Each place over the present and two earlier frames; zero at initialisation. Norms are of single frames: over a clip they
    would tell of frames to come.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.mix = group_norm(channels), nn.Conv2d(_TAPS * channels, channels, 1)
        zero(self.mix)

    def forward(self, x_BTChw: Tensor, past: Past | None = None) -> Tensor:
        """(B, T, C, h, w) -> the same shape."""
        T = x_BTChw.shape[1]
        seen = F.silu(_frame_by_frame(self.norm, x_BTChw))
        whole = seen if past is None else past.with_new(self, seen)
        padded = F.pad(whole, (0, 0, 0, 0, 0, 0, _TAPS - 1, 0))[:, -(T + _TAPS - 1) :]
        taps = torch.cat([padded[:, i : i + T] for i in range(_TAPS)], dim=2)
        return _frame_by_frame(self.mix, taps)


def _frame_by_frame(layer: nn.Module, x_BTChw: Tensor) -> Tensor:
    return layer(x_BTChw.flatten(0, 1)).unflatten(0, x_BTChw.shape[:2])
