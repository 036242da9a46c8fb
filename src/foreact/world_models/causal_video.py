"""What causal video models share: diffusion forcing, frame-by-frame sampling, action guidance (Vid2World, arXiv:2505.14357).

    clip        x^0 = s_t and the frames after every `stride` actions up to s_{t+h}: x^1 .. x^K,  K = ceil(h / stride)
    training    diffusion forcing: every frame has its own noise level n_k, uniform; loss = mean_k |v^(x^k, n_k, a) - v*|^2
    causality   convolutions and attention over time look back only, norms are of single frames
    actions     the actions between x^{k-1} and x^k are embedded and added to the embedding of frame k's noise level;
                dropped per frame with probability 0.2
    sampling    frame by frame, earlier frames clean:  v = v_u + guidance (v_c - v_u),  where v_u drops the newest action alone

The first frame's picture is also given beside each noisy frame, as in DynamiCrafter; it is never generated and has no loss.

Shape legend: B batch, T frames of a clip with the first, K generated frames, N patches, C pixels of a patch, H horizon in
actions, A action dimension, D embedding, c h w channels, rows and columns of what is diffused.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from foreact.core.batch import Batch, Columns
from foreact.core.config import ModelConfig
from foreact.core.cost import Stage, count_stage, meta
from foreact.core.errors import ForeactError
from foreact.core.token_spec import TokenSpec
from foreact.encoders.pixels import are_pixels, cut_patches, draw_pixels
from foreact.nn.actions import PaddedMLP
from foreact.nn.diffusion import LEVELS, ddim, diffuse, signal_powers
from foreact.nn.floats import widen
from foreact.nn.past import Past
from foreact.world_models.base import PretrainedWorldModel


@dataclass(frozen=True, kw_only=True)
class VideoModelConfig(ModelConfig):
    """What all causal video models are told.

    Attributes:
        tokens: of the encoder `pixels`.
        action_dim: A.
        horizon: H, the longest chunk.
        stride: actions from one frame of a clip to the next; Vid2World has a frame after every action.
        action_dropout: probability that a frame's actions are dropped in training.
        steps: DDIM steps per frame.
        guidance: strength of the action guidance; 1 is none, 0 ignores the newest actions.
        guidance_rescale: how far the guided velocity is brought back to the spread of the unguided one.
    """

    tokens: TokenSpec
    action_dim: int
    horizon: int = 15
    stride: int = 1
    action_dropout: float = 0.2
    steps: int = 50
    guidance: float = 2.5
    guidance_rescale: float = 0.7

    @property
    def frames(self) -> int:
        """K of the longest chunk."""
        return -(-self.horizon // self.stride)


class CausalVideoModel(PretrainedWorldModel):
    """Diffusion forcing and frame-by-frame sampling over a network that subclasses bring.

    Raises:
        ForeactError: the tokens are not pixels.
    """

    config: VideoModelConfig
    stochastic = True
    latent_range: tuple[float, float]
    powers: Tensor

    def __init__(self, config: VideoModelConfig, embedding: int) -> None:
        super().__init__(config.action_dim)
        if not are_pixels(config.tokens):
            raise ForeactError(
                f"video diffusion sees pixels, not tokens of {config.tokens.encoder}: use --encoder pixels"
            )
        self.config = config
        self.embed_actions = PaddedMLP(config.action_dim, config.stride, embedding)
        self.register_buffer("powers", signal_powers(), persistent=False)

    @abstractmethod
    def to_latents(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, height, width) in [-1, 1] -> what is diffused, (B, c, h, w)."""

    @abstractmethod
    def to_images(self, latents: Tensor) -> Tensor:
        """Inverse of `to_latents`."""

    @abstractmethod
    def velocity(
        self, x_BTchw: Tensor, level_BT: Tensor, action_BTD: Tensor, first_Bchw: Tensor, past: Past | None = None
    ) -> Tensor:
        """v^ (B, T, c, h, w) of noisy frames, given their levels, the embedding of the actions that led to each, and the first
        frame's picture; with a past, of the frames that come after it.
        """

    def velocity_after(self, past: Past, x_Bchw: Tensor, level: int, action_BD: Tensor, first_Bchw: Tensor) -> Tensor:
        """v^ (B, c, h, w) of the one frame that comes after the past."""
        level_B1 = torch.full((len(x_Bchw), 1), level, device=x_Bchw.device)
        return widen(self.velocity(x_Bchw[:, None], level_B1, action_BD[:, None], first_Bchw, past)[:, 0])

    @property
    def columns(self) -> Columns:
        """Action chunks, and the frames in between."""
        return Columns(actions=self.config.horizon, clip_stride=self.config.stride)

    @property
    @abstractmethod
    def latent_shape(self) -> tuple[int, int, int]:
        """c, h, w of what is diffused."""

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One noise per generated frame, (K, c, h, w)."""
        return self.config.frames, *self.latent_shape

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """MSE of the velocity over the frames of each clip, every frame at its own noise level."""
        if batch.clip is None:
            raise ValueError("this model learns from clips, the batch has pairs alone")
        K = batch.clip.shape[1]
        x_BTchw = self._latents(torch.cat([widen(batch.tokens_t)[:, None], widen(batch.clip)], dim=1))
        noise = batch.noise(*x_BTchw.shape[1:], generator=generator)
        device = generator.device
        level_BT = batch.draw(lambda n: torch.randint(LEVELS, (n, K + 1), generator=generator, device=device))
        kept_BK = batch.draw(lambda n: torch.rand(n, K, generator=generator, device=device))
        action_BKD, real_BK = (x[:, :K] for x in self._frame_actions(batch.require_actions(), batch.lengths))
        action_BKD = action_BKD * (kept_BK >= self.config.action_dropout)[..., None]
        point, velocity = diffuse(x_BTchw, noise, self.powers[level_BT])
        predicted = widen(self.velocity(point, level_BT, F.pad(action_BKD, (0, 0, 1, 0)), x_BTchw[:, 0]))
        error_BK = (predicted - velocity).square().mean(dim=(2, 3, 4))[:, 1:]
        return {"loss": ((error_BK * real_BK).sum(dim=1) / real_BK.sum(dim=1)).mean()}

    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """See `contracts.WorldModel.predict`: the chunk's last frame, after all frames before it."""
        first = self._latents(tokens[:, None])[:, 0]
        action_BKD, real_BK = self._frame_actions(actions, lengths)
        last_B = real_BK.sum(dim=1) - 1
        past, newest, result = Past(), first, first
        for k in range(int(last_B.max()) + 1):
            led_here = action_BKD[:, k - 1] if k else torch.zeros_like(action_BKD[:, 0])
            past.keeps = True
            self.velocity_after(past, newest, 0, led_here, first)
            past.keeps = False
            newest = self._sample(noise[:, k], action_BKD[:, k], first, past)
            result = torch.where((last_B == k)[:, None, None, None], newest, result)
        return cut_patches((widen(self.to_images(result).permute(0, 2, 3, 1)) / 2 + 0.5).clamp(0, 1))

    def _sample(self, noise: Tensor, action_BD: Tensor, first: Tensor, past: Past) -> Tensor:
        """The frame that comes after the past, (B, c, h, w)."""
        strength, rescale = self.config.guidance, self.config.guidance_rescale

        def guided(x: Tensor, level: int) -> Tensor:
            told = self.velocity_after(past, x, level, action_BD, first)
            if strength == 1:
                return told
            untold = self.velocity_after(past, x, level, torch.zeros_like(action_BD), first)
            pushed = untold + strength * (told - untold)
            spread = told.std(dim=(1, 2, 3), keepdim=True) / pushed.std(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
            return pushed * (rescale * spread + 1 - rescale)

        return ddim(guided, noise, self.powers, self.config.steps).clamp(*self.latent_range)

    def _latents(self, tokens_BTNC: Tensor) -> Tensor:
        """Pixel tokens (B, T, N, C) -> (B, T, c, h, w)."""
        images = draw_pixels(widen(tokens_BTNC.flatten(0, 1)), self.config.tokens.grid).permute(0, 3, 1, 2)
        return self.to_latents(2 * images - 1).unflatten(0, tokens_BTNC.shape[:2])

    def _frame_actions(self, actions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) of the actions that lead to each generated frame, and which frames there are (B, K)."""
        normal_BHA, mask_BH = self.chunk(actions, lengths)
        K, stride = self.config.frames, self.config.stride
        room = K * stride - self.config.horizon
        groups = F.pad(normal_BHA, (0, 0, 0, room)).reshape(-1, stride, self.config.action_dim)
        masks = F.pad(mask_BH, (0, room)).reshape(-1, stride)
        embedded = self.embed_actions(groups, masks).unflatten(0, (len(actions), K))
        return embedded, masks[:, 0].unflatten(0, (len(actions), K))


def cost(model: CausalVideoModel) -> dict[str, Stage]:
    """One denoising of the first generated frame, and all calls of a chunk, on the meta device: for every frame one that keeps
    the frame before it in mind, and the sampler's. What a call costs depends on how many frames it looks back over alone.
    """
    config = model.config
    x = model.to_latents(meta(1, 3, config.tokens.image_size, config.tokens.image_size))
    action = model.embed_actions(meta(1, config.stride, config.action_dim), meta(1, config.stride).bool())
    past, denoisings = Past(), config.steps * (1 if config.guidance == 1 else 2)
    steps = [
        count_stage(model, lambda: model.velocity_after(past, x, 0, action, x)) for _ in range(config.frames + 1)
    ]  # over 0, 1, 2 ... frames
    costs = [step["flops"] for step in steps]
    flops = sum(costs[:-1]) + denoisings * sum(costs[1:])
    calls = config.frames * (denoisings + 1)
    return {"flow_step": steps[1], "flow": {"params": steps[1]["params"], "flops": flops, "calls": calls}}
