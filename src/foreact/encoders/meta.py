"""Encoders on the meta device, for counting: shapes without weights, also of encoders whose weights are not here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, DINOv3ViTConfig, PretrainedConfig

from foreact.core.errors import ForeactError
from foreact.core.pretrained import read_config, read_kind
from foreact.core.token_spec import TokenSpec
from foreact.encoders.base import BUNDLED
from foreact.encoders.tiny import PATCH, TinyEncoderConfig

_KNOWN: dict[str, dict[str, Any]] = {
    "facebook/dinov3-vits16-pretrain-lvd1689m": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6},
    "facebook/dinov3-vitb16-pretrain-lvd1689m": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
    "facebook/dinov3-vitl16-pretrain-lvd1689m": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    },
}


def meta_encoder(name: str, *, image_size: int) -> tuple[nn.Module, TokenSpec, Tensor]:
    """An encoder without weights, the shape of its tokens, and a picture to call it with.

    Args:
        name: tiny, a DINOv3 ViT by its Hub id, or the folder or Hub id of another Hugging Face vision transformer.
        image_size: side of its frames, in pixels.

    Raises:
        ForeactError: no configuration of that name can be had.
    """
    picture = torch.empty(1, 3, image_size, image_size, device="meta")
    with torch.device("meta"):
        if name == "tiny" or read_kind(Path(name)) == TinyEncoderConfig.kind:
            sizes = read_config(BUNDLED / name if name == "tiny" else Path(name))
            assert isinstance(sizes, TinyEncoderConfig)
            module: nn.Module = sizes.build()
            patch, channels = PATCH, sizes.dim
        else:
            config = _config(name)
            module = AutoModel.from_config(config)
            patch, channels = int(config.patch_size), int(config.hidden_size)
    rows = image_size // patch
    spec = TokenSpec(
        grid=(rows, rows), channels=channels, fingerprint=f"{name}/meta", encoder=name, image_size=image_size
    )
    return module.eval(), spec, picture


def _config(name: str) -> PretrainedConfig:
    if name in _KNOWN:
        sizes = _KNOWN[name]
        return DINOv3ViTConfig(
            patch_size=16, num_register_tokens=4, intermediate_size=4 * sizes["hidden_size"], **sizes
        )
    try:
        return AutoConfig.from_pretrained(name)
    except Exception as error:
        raise ForeactError(f"no configuration of encoder {name} can be had ({type(error).__name__})") from error
