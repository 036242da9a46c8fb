"""LaWAM's backbone (section C.2): the first layers of Qwen3-VL read pictures, words and learned queries, one after another.

    [ primary view | instruction | latent-action queries | other views | action queries ],  causal

So the latent-action queries see the primary view and the instruction alone, the action queries see everything. z^ is read from the
latent-action queries' states (Eq. 3); all states are what the action expert attends to.

Shape legend: B batch, S tokens of the sequence, n tokens of a picture, Q queries, D width, Z latent channels.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foreact.core.errors import ForeactError
from foreact.encoders.base import resize
from foreact.nn.attention import learned_tokens
from foreact.policies import qwen

ASK_MOTION, ASK_ACTIONS = "How will the arm move?", "Which actions follow?"
_LARGEST_TOKENIZER = 1 << 26


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Which Qwen3-VL it is, and what is read.

    Attributes:
        qwen: its sizes, JSON of transformers; see `qwen.make_model`.
        tokenizer_bytes: room for the compressed tokenizer, which is kept beside the weights.
        latent_queries, action_queries: learned tokens.
        longest: tokens of an instruction.
        frozen_words: leave the embeddings of words as they are.
    """

    qwen: str
    tokenizer_bytes: int = 1 << 16
    latent_queries: int = 8
    action_queries: int = 8
    longest: int = 64
    frozen_words: bool = False


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the backbone made of an observation.

    Attributes:
        states: of all tokens, (B, S, D).
        known: mask (B, S), False where a shorter instruction was filled up.
        latents: states of the latent-action queries, (B, Q, D).
    """

    states: Tensor
    known: Tensor
    latents: Tensor


class Backbone(nn.Module):
    """Pictures and words -> states.

    Args:
        config: see there.
        image_size: side of the square pictures that it sees.

    Raises:
        ForeactError: pictures that are no whole number of its tokens.
    """

    tokenizer: Tensor

    def __init__(self, config: BackboneConfig, image_size: int) -> None:
        super().__init__()
        self.config, self.image_size = config, image_size
        self.qwen = qwen.make_model(config.qwen)
        vision = self.qwen.config.vision_config
        self._patch, self._merge, self._depth = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
        if image_size % (self._patch * self._merge):
            raise ForeactError(
                f"pictures of {image_size} px are no whole number of the backbone's tokens of "
                f"{self._patch * self._merge} px: train LaWM on another --image-size, or take another --backbone"
            )
        self.rows = image_size // (self._patch * self._merge)
        self.width = self.qwen.config.text_config.hidden_size
        self.qwen.language_model.embed_tokens.requires_grad_(not config.frozen_words)
        self.latent_queries = learned_tokens(config.latent_queries, self.width, scale=0.02)
        self.action_queries = learned_tokens(config.action_queries, self.width, scale=0.02)
        self.register_buffer("tokenizer", torch.zeros(config.tokenizer_bytes, dtype=torch.uint8))
        self._words: Any = None
        self.register_load_state_dict_post_hook(_forget_words)

    def set_words(self, tokenizer: str) -> None:
        """Keep a tokenizer, JSON of the tokenizers library, in the weights: an exported folder then needs nothing else."""
        packed = zlib.compress(tokenizer.encode(), 9)
        if len(packed) > len(self.tokenizer):
            raise ForeactError(f"the tokenizer takes {len(packed)} bytes, there is room for {len(self.tokenizer)}")
        self.tokenizer.zero_()
        self.tokenizer[: len(packed)] = torch.frombuffer(bytearray(packed), dtype=torch.uint8)
        self._words = None

    def forward(self, pictures: Sequence[Tensor], words: Sequence[str]) -> Seen:
        """See the module.

        Args:
            pictures: of each view uint8 (B, height, width, 3), the primary one first.
            words: instructions, B of them.

        Raises:
            ForeactError: an instruction that is empty or too long.
        """
        views, deep = self._look(pictures)
        line = _Line(len(words), self.rows)
        self._add_view(line, views[0])
        line.add(*self._read([f"{word} {ASK_MOTION}" for word in self.checked(words)]))
        first = line.length
        line.add(self.latent_queries.expand(len(words), -1, -1))
        for view in views[1:]:
            self._add_view(line, view)
        line.add(*self._read([ASK_ACTIONS] * len(words)))
        line.add(self.action_queries.expand(len(words), -1, -1))
        known = torch.cat(line.known, dim=1)
        states = self.qwen.language_model(
            inputs_embeds=torch.cat(line.embeddings, dim=1),
            attention_mask=known,
            position_ids=torch.cat(line.places, dim=2),
            visual_pos_masks=torch.cat(line.pictures, dim=1),
            deepstack_visual_embeds=deep,
            use_cache=False,
        ).last_hidden_state
        return Seen(states=states, known=known, latents=states[:, first : first + self.config.latent_queries])

    def checked(self, words: Sequence[str]) -> list[str]:
        """The instructions without blanks around them.

        Raises:
            ForeactError: one is empty, or has too many tokens.
        """
        stripped = [word.strip() for word in words]
        if not all(stripped):
            raise ForeactError("an instruction is empty: say in `task` what the robot is to do")
        counts = [len(encoded.ids) for encoded in self._tokens(stripped)]
        if max(counts) > self.config.longest:
            long = stripped[counts.index(max(counts))]
            raise ForeactError(
                f"the instruction {long[:40]!r}... has {max(counts)} tokens, this policy reads up to {self.config.longest}: "
                "say it in fewer words"
            )
        return stripped

    def _look(self, pictures: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens of each view, (B, n, D), and what DeepStack adds to all views' places, in their order."""
        patches = torch.cat([self.patches(picture) for picture in pictures])
        side = self.rows * self._merge
        grid = torch.tensor([[1, side, side]], device=patches.device).expand(len(patches), -1)
        out = self.qwen.visual(patches.flatten(0, 1), grid_thw=grid)
        views = out.pooler_output.unflatten(0, (len(pictures), -1, self.rows**2))
        deep = [
            feature.unflatten(0, views.shape[:3]).transpose(0, 1).flatten(0, 2) for feature in out.deepstack_features
        ]
        return list(views.unbind(0)), deep

    def patches(self, picture: Tensor) -> Tensor:
        """uint8 (B, height, width, 3) -> patches (B, count, values) in [-1, 1] as Qwen3-VL takes them: squares of patches, row by row."""
        images = 2 * resize(picture, self.image_size) - 1
        split = (self.rows, self._merge, self._patch)
        tiles = images.unflatten(3, split).unflatten(2, split)  # (B, 3, rows, m, p, columns, m, p)
        tiles = tiles.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6).expand(*[-1] * 6, self._depth, -1, -1)
        return tiles.flatten(5).flatten(1, 4)

    def _add_view(self, line: _Line, view: Tensor) -> None:
        marks = self.qwen.config.vision_start_token_id, self.qwen.config.vision_end_token_id
        start, end = self._embed(torch.tensor(marks, device=view.device))[:, None, None].expand(-1, len(view), 1, -1)
        line.add(start)
        line.add_picture(view)
        line.add(end)

    def _read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Embeddings (B, count, D) of texts, the shorter ones filled up, and the mask (B, count) of what they say."""
        found = [torch.tensor(encoded.ids) for encoded in self._tokens(texts)]
        ids = nn.utils.rnn.pad_sequence(found, batch_first=True)
        known = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in found])[:, None]
        device = self.latent_queries.device
        return self._embed(ids.to(device)), known.to(device)

    def _embed(self, ids: Tensor) -> Tensor:
        return self.qwen.language_model.embed_tokens(ids)

    def _tokens(self, texts: Sequence[str]) -> Any:
        if self._words is None:
            from tokenizers import Tokenizer

            packed = self.tokenizer.cpu().numpy().astype(np.uint8).tobytes()
            try:
                self._words = Tokenizer.from_str(zlib.decompressobj().decompress(packed, _LARGEST_TOKENIZER).decode())
            except Exception as error:
                raise ForeactError(f"the policy's tokenizer cannot be read: {str(error)[:100]}") from error
        return self._words.encode_batch(list(texts), add_special_tokens=False)


def _forget_words(module: nn.Module, _: Any) -> None:
    module._words = None  # type: ignore[assignment]


class _Line:
    """Pieces of a sequence as they come: embeddings, which are known, which are pictures, and Qwen3-VL's places in time, row, column."""

    def __init__(self, batch: int, rows: int) -> None:
        self.embeddings: list[Tensor] = []
        self.known: list[Tensor] = []
        self.pictures: list[Tensor] = []
        self.places: list[Tensor] = []
        self._next, self._rows = torch.zeros(batch, dtype=torch.long), rows

    @property
    def length(self) -> int:
        """Tokens so far."""
        return sum(piece.shape[1] for piece in self.embeddings)

    def add(self, x_BND: Tensor, known: Tensor | None = None) -> None:
        """Words or queries: each known one is a place further on."""
        known = torch.ones(x_BND.shape[:2], dtype=torch.bool, device=x_BND.device) if known is None else known
        self._next = self._next.to(x_BND.device)
        counted = known.long().cumsum(dim=1)
        self._append(x_BND, known, (self._next[:, None] + counted - 1).clamp_min(0).expand(3, -1, -1), picture=False)
        self._next = self._next + counted[:, -1]

    def add_picture(self, x_BnD: Tensor) -> None:
        """A picture: all at one time, row and column counted from there."""
        n, device = x_BnD.shape[1], x_BnD.device
        number = torch.arange(n, device=device)
        within = torch.stack([torch.zeros_like(number), number // self._rows, number % self._rows])
        known = torch.ones(x_BnD.shape[:2], dtype=torch.bool, device=device)
        self._append(x_BnD, known, self._next[None, :, None] + within[:, None], picture=True)
        self._next = self._next + self._rows

    def _append(self, x: Tensor, known: Tensor, places: Tensor, *, picture: bool) -> None:
        self.embeddings.append(x)
        self.known.append(known)
        self.places.append(places)
        self.pictures.append(torch.full_like(known, picture))


class QueryAggregation(nn.Module):
    """z^ from the latent-action queries' states (Eq. 3): one learned query of Z channels reads them.

    The released head ends in a layer norm, so that z^ lies on a sphere, while the teacher's z is anywhere. Here it ends in a linear
    layer, in units of the spread of the teacher's z.

    Attributes:
        mean, std: of the teacher's z in the training episodes, (1, Z).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, channels: int, heads: int = 8) -> None:
        super().__init__()
        self.query = learned_tokens(1, channels, scale=1.0)
        self.norm_context, self.norm_query, self.norm = (
            nn.LayerNorm(width),
            nn.LayerNorm(channels),
            nn.LayerNorm(channels),
        )
        self.read = nn.MultiheadAttention(channels, heads, kdim=width, vdim=width, batch_first=True)
        self.think = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.out = nn.Linear(channels, channels)
        self.register_buffer("mean", torch.zeros(1, channels))
        self.register_buffer("std", torch.ones(1, channels))

    def forward(self, states_BQD: Tensor) -> Tensor:
        """(B, Q, D) -> z^ (B, 1, Z)."""
        context, query = self.norm_context(states_BQD), self.query.expand(len(states_BQD), -1, -1)
        query = query + self.read(self.norm_query(query), context, context, need_weights=False)[0]
        query = query + self.think(self.norm(query))
        return self.mean + self.std * self.out(query).float()
