"""Vid2World's way from a pre-trained video model to a world model (arXiv:2505.14357), for those who have the weights.

Vid2World starts from DynamiCrafter, whose checkpoints are pickles that no kept library reads. Its sister Stable Video Diffusion is
of the same kind (a latent U-Net with convolutions and attention over time, the first frame's latents beside the noisy ones,
v-prediction), and diffusers loads it from safetensors: `pip install 'foreact[video]'`.

    foreact train video-diffusion --pretrained FOLDER_OR_HUB_ID --data DATASET --preset paper --out RUN

Training and sampling are those of `world_models.video_diffusion`, on the latents of its frozen autoencoder. Only the embedding of
the actions is new; it starts at zero. Its noise scale sigma and our signal power a are one thing, a = 1 / (1 + sigma^2), with
which its network is v-prediction; it is told log(sigma) / 4. Whole clips are recomputed for each new frame.

Shape legend: as in `video_diffusion`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from foreact.core.cards import ModelCard
from foreact.core.errors import ForeactError
from foreact.nn.attention import zero
from foreact.nn.past import Past
from foreact.world_models.causal_video import CausalVideoModel, VideoModelConfig, cost

_UNET, _VAE = "UNetSpatioTemporalConditionModel", "AutoencoderKLTemporalDecoder"
_LARGEST_SIGMA = 700.0  # that it was trained with; ours is infinite where no signal is left
_TIME_IDS = (
    6.0,
    127.0,
    0.0,
)  # frames per second less one, motion bucket (its defaults), noise on the first frame (none here)


@dataclass(frozen=True, kw_only=True)
class PretrainedVideoConfig(VideoModelConfig):
    """Which networks were loaded.

    Attributes:
        unet: diffusers' config of the U-Net, JSON.
        vae: diffusers' config of the autoencoder, JSON.
    """

    kind: ClassVar[str] = "pretrained_video"

    unet: str
    vae: str

    def build(self) -> PretrainedVideo:
        """The networks with fresh weights, which a saved world model's replace.

        Raises:
            ForeactError: diffusers is not installed.
        """
        return PretrainedVideo(self)


class PretrainedVideo(CausalVideoModel):
    """A causal Stable Video Diffusion that follows actions."""

    config: PretrainedVideoConfig
    latent_range = (-math.inf, math.inf)

    def __init__(self, config: PretrainedVideoConfig) -> None:
        diffusers = _diffusers()
        unet = getattr(diffusers, _UNET).from_config(json.loads(config.unet))
        super().__init__(config, embedding=4 * unet.config.block_out_channels[0])
        self.vae = getattr(diffusers, _VAE).from_config(json.loads(config.vae)).requires_grad_(False)
        self.unet = unet
        zero(cast(nn.Linear, self.embed_actions.mlp[-1]))
        from foreact.world_models.svd_unet import denoise, make_causal

        make_causal(self.unet)
        self._denoise = denoise

    @classmethod
    def start_from(cls, source: str, config: VideoModelConfig, *, revision: str | None = None) -> PretrainedVideo:
        """The video model of a diffusers folder or Hub id as a world model that has not learned any actions yet.

        Args:
            source: with the subfolders `unet` and `vae`.
            config: what the world model is told; sizes of networks in it are ignored.
            revision: of a Hub id.

        Raises:
            ForeactError: diffusers is not installed; no such model there, another kind of model, or weights that are not whole.
        """
        unet, vae = _load(source, "unet", _UNET, revision), _load(source, "vae", _VAE, revision)
        shared = {field.name: getattr(config, field.name) for field in fields(VideoModelConfig)}
        made = cls(PretrainedVideoConfig(**shared, unet=_json(unet), vae=_json(vae)))
        from foreact.world_models.svd_unet import make_causal

        make_causal(unet)
        made.unet.load_state_dict(unet.state_dict())
        made.vae.load_state_dict(vae.state_dict())
        return made

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """The autoencoder's latents."""
        side = self.config.tokens.image_size // 2 ** (len(self.vae.config.block_out_channels) - 1)
        return self.vae.config.latent_channels, side, side

    def to_latents(self, images: Tensor) -> Tensor:
        """See `CausalVideoModel.to_latents`; the mode of the autoencoder's posterior."""
        return self.vae.encode(images).latent_dist.mode() * self.vae.config.scaling_factor

    def to_images(self, latents: Tensor) -> Tensor:
        """See `CausalVideoModel.to_images`; every picture by itself, since the decoder would look at later frames."""
        return self.vae.decode(latents / self.vae.config.scaling_factor, num_frames=1).sample

    def velocity(
        self, x_BTchw: Tensor, level_BT: Tensor, action_BTD: Tensor, first_Bchw: Tensor, past: Past | None = None
    ) -> Tensor:
        """See `CausalVideoModel.velocity`."""
        T, inner = x_BTchw.shape[1], x_BTchw.shape[2:]
        new = torch.cat([x_BTchw.flatten(2), self._embed(level_BT) + action_BTD], dim=2)
        whole = new if past is None else past.with_new(self, new)
        x, embedding_BTD = whole.split([inner.numel(), action_BTD.shape[2]], dim=2)
        beside = (first_Bchw / self.vae.config.scaling_factor)[:, None].expand(-1, whole.shape[1], -1, -1, -1)
        clip = torch.cat([x.unflatten(2, inner), beside], dim=2)
        return self._denoise(self.unet, clip, embedding_BTD)[:, -T:]

    def _embed(self, level_BT: Tensor) -> Tensor:
        """How the network is told each frame's noise level, (B, T, D)."""
        power = self.powers[level_BT]
        sigma = ((1 - power) / power.clamp_min(1e-12)).sqrt().clamp_max(_LARGEST_SIGMA)
        level = self.unet.time_embedding(self.unet.time_proj(sigma.log().flatten() / 4))
        ids = self.unet.add_time_proj(torch.tensor(_TIME_IDS, device=level.device)).flatten()
        return (level + self.unet.add_embedding(ids[None])).unflatten(0, level_BT.shape)


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise ForeactError("pre-trained video models are loaded by diffusers: pip install 'foreact[video]'") from error
    return diffusers


def _load(source: str, part: str, wanted: str, revision: str | None) -> Any:
    """A part of a diffusers folder, whole or not at all: diffusers itself would fill gaps with random weights."""
    kind = getattr(_diffusers(), wanted)
    options = {"subfolder": part, "revision": revision}
    try:
        found = kind.load_config(source, **options)
    except Exception as error:
        raise ForeactError(
            f"{source}: no video model of diffusers' kind ({part}/config.json: {type(error).__name__})"
        ) from error
    if found.get("_class_name") != wanted:
        raise ForeactError(
            f"{source}: its {part} is a {found.get('_class_name')}, which cannot be made a world model here; "
            f"a {wanted} (Stable Video Diffusion) can"
        )
    try:
        model, gaps = kind.from_pretrained(source, use_safetensors=True, output_loading_info=True, **options)
    except Exception as error:
        raise ForeactError(
            f"{source}: the weights of its {part} cannot be loaded ({type(error).__name__}: {error})"
        ) from error
    missing = [*gaps["missing_keys"], *gaps["unexpected_keys"], *gaps["mismatched_keys"], *gaps["error_msgs"]]
    if missing:
        raise ForeactError(
            f"{source}: the weights of its {part} do not fit its config: {len(missing)} tensors, {missing[:3]}"
        )
    return model.float().eval()


def _json(model: Any) -> str:
    return json.dumps({k: v for k, v in dict(model.config).items() if not k.startswith("_")}, sort_keys=True)


CARD = ModelCard(
    kind="pretrained_video",
    role="world_model",
    label="video diffusion (pre-trained)",
    config=PretrainedVideoConfig,
    cost=cost,
)
