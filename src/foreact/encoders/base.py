"""What encoders share, and `load_encoder`, which finds them by name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contracts import Encoder
from foreact.errors import ForeactError
from foreact.pretrained import load_model, read_kind

BUNDLED = Path(__file__).parent / "weights"


def load_encoder(name: str, *, image_size: int, revision: str | None = None) -> Encoder:
    """Load a frozen encoder, in evaluation mode, on the CPU.

    Args:
        name: "tiny" (bundled), a folder that `foreact train encoder` wrote, or the local folder or Hub id of a Hugging
            Face vision model.
        image_size: side in pixels to which frames are resized; a multiple of the encoder's patch.
        revision: of a Hub id.

    Raises:
        ForeactError: no such encoder, weights that are gated or missing, or an image size that does not fit.
    """
    folder = BUNDLED / name if name == "tiny" else Path(name)
    if name == "tiny" or read_kind(folder) is not None:
        return _load_tiny(name, folder, image_size)
    from foreact.encoders.huggingface import HuggingFaceEncoder

    return HuggingFaceEncoder.from_pretrained(name, image_size=image_size, revision=revision)


def _load_tiny(name: str, folder: Path, image_size: int) -> Encoder:
    from foreact.encoders.tiny import PATCH, TinyEncoder

    encoder = load_model(folder)
    if not isinstance(encoder, TinyEncoder):
        raise ForeactError(f"{folder} holds a {encoder.config.kind}, not an encoder")
    encoder.image_size, encoder.source = check_size(image_size, PATCH, name), name
    encoder.name = "tiny" if folder.parent == BUNDLED else str(folder)
    return encoder.requires_grad_(False)


def resize(frames: Tensor, size: int) -> Tensor:
    """Frames uint8 (B, height, width, 3) -> float (B, 3, size, size) in [0, 1], squashed with antialiasing if needed.

    Raises:
        ValueError: not uint8 (B, height, width, 3).
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames must be uint8 (B, height, width, 3), not {frames.dtype} {tuple(frames.shape)}")
    images = frames.permute(0, 3, 1, 2).float() / 255
    if images.shape[2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def check_size(image_size: int, patch: int, name: str) -> int:
    """`image_size` itself, where a whole number of patches fits.

    Raises:
        ForeactError: it does not.
    """
    if image_size < patch or image_size % patch:
        nearest = max(patch, round(image_size / patch) * patch)
        raise ForeactError(
            f"image size {image_size} is not a multiple of {name}'s patch of {patch} px: use for instance {nearest}"
        )
    return image_size


def state_hash(module: nn.Module, *, skip: tuple[str, ...] = ()) -> str:
    """First 8 hexadecimal digits of the SHA-256 of a module's weights, rounded to float16 as they are shipped.

    Tensors whose names begin with one of `skip` do not count.
    """
    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        if skip and key.startswith(skip):
            continue
        value = tensor.detach().cpu().contiguous()
        value = value.half() if value.is_floating_point() else value
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:8]
