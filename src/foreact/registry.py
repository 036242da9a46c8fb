"""The kinds of model that a folder may hold, by the name in its `config.json`; an allow-list, imported when needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from foreact.errors import ForeactError

MODELS = {
    "tiny_encoder": "foreact.encoders.tiny:TinyEncoderConfig",
    "image_decoder": "foreact.decoders.unet:ImageDecoderConfig",
    "rla": "foreact.latent_actions.rla:RLAConfig",
    "univla": "foreact.latent_actions.univla:UniVLAConfig",
    "adaworld": "foreact.latent_actions.adaworld:AdaWorldConfig",
    "lawm": "foreact.latent_actions.lawm:LaWMConfig",
    "dino_cls": "foreact.latent_actions.dino_cls:DinoCLSConfig",
    "rla_wm": "foreact.world_models.rla_wm:RLAWorldModelConfig",
    "dino_wm": "foreact.world_models.dino_wm:DinoWMConfig",
    "fm_wm": "foreact.world_models.fm_wm:FMWMConfig",
    "rae": "foreact.world_models.rae:RAEConfig",
    "video_diffusion": "foreact.world_models.video_diffusion:VideoDiffusionConfig",
    "pretrained_video": "foreact.world_models.pretrained_video:PretrainedVideoConfig",
}


def config_class(kind: str, *, where: str) -> Any:
    """The config class of `kind`.

    Raises:
        ForeactError: an unknown kind; `where` names the file that asked for it.
    """
    if kind not in MODELS:
        raise ForeactError(f"{where} holds an unknown kind of model {kind!r}; this foreact knows {sorted(MODELS)}")
    module, name = MODELS[kind].split(":")
    return getattr(import_module(module), name)
