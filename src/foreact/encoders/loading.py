"""Encoders by name."""

from __future__ import annotations

from pathlib import Path

from foreact.core.contracts import Encoder
from foreact.core.errors import ForeactError
from foreact.core.pretrained import load_model, read_kind
from foreact.encoders.base import BUNDLED, check_size
from foreact.encoders.class_token import PREFIX, ClassTokenEncoder
from foreact.encoders.pixels import PixelEncoder
from foreact.encoders.tiny import PATCH, TinyEncoder


def load_encoder(name: str, *, image_size: int, revision: str | None = None) -> Encoder:
    """Load a frozen encoder, in evaluation mode, on the CPU.

    Args:
        name: "tiny" (bundled), "pixels" (patches as they are), a folder that `foreact train encoder` wrote, or the local folder or Hub id of a Hugging
            Face vision model; "cls:" before any of them puts its class token in front of the patches.
        image_size: side in pixels to which frames are resized; a multiple of the encoder's patch.
        revision: of a Hub id.

    Raises:
        ForeactError: no such encoder, weights that are gated or missing, or an image size that does not fit.
    """
    if name.startswith(PREFIX):
        return ClassTokenEncoder(load_encoder(name.removeprefix(PREFIX), image_size=image_size, revision=revision))
    if name == "pixels":
        return PixelEncoder(image_size)
    folder = BUNDLED / name if name == "tiny" else Path(name)
    if name == "tiny" or read_kind(folder) is not None:
        return _load_tiny(name, folder, image_size)
    from foreact.encoders.huggingface import HuggingFaceEncoder

    return HuggingFaceEncoder.from_pretrained(name, image_size=image_size, revision=revision)


def _load_tiny(name: str, folder: Path, image_size: int) -> Encoder:
    encoder = load_model(folder)
    if not isinstance(encoder, TinyEncoder):
        raise ForeactError(f"{folder} holds a {encoder.config.kind}, not an encoder")
    encoder.image_size, encoder.source = check_size(image_size, PATCH, name), name
    encoder.name = "tiny" if folder.parent == BUNDLED else str(folder)
    return encoder.requires_grad_(False)
