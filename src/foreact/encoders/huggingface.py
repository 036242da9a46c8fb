"""Vision models of transformers as encoders: DINOv3, DINOv2, and any other whose last hidden state is tokens or a map.

Only safetensors are read and no code from a repository is ever run. Normalisation is done here, because the image
processors of new models need torchvision.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foreact.core.config import decode
from foreact.core.errors import ForeactError
from foreact.core.files import read_json
from foreact.core.pretrained import state_hash
from foreact.core.token_spec import TokenSpec
from foreact.encoders.base import check_size, resize
from foreact.encoders.class_token import with_mean

UNUSED = ("pooler.", "head.")  # parts behind the last hidden state, which classifiers' checkpoints lack
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class HuggingFaceEncoder(nn.Module):
    """A frozen vision model; its tokens are the last hidden state of the patches, after the model's own final norm."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: nn.Module, *, name: str, image_size: int, normalisation: tuple[Any, Any] = IMAGENET
    ) -> None:
        """Wrap a model of transformers.

        Args:
            model: a vision model, or the vision tower of a model of images and text.
            name: Hub id or folder, for the fingerprint and messages.
            image_size: side to which frames are resized.
            normalisation: mean and standard deviation of the three colours in [0, 1].

        Raises:
            ForeactError: `image_size` is not a multiple of the patch, or the model gives no patch tokens.
        """
        super().__init__()
        self.model = model.eval().requires_grad_(False).float()  # half precision is autocast's, where it pays
        self.name = name
        patch = getattr(model.config, "patch_size", None)
        self.image_size = check_size(image_size, patch, name) if isinstance(patch, int) else image_size
        self.register_buffer("mean", torch.tensor(normalisation[0]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(normalisation[1]).view(1, 3, 1, 1), persistent=False)
        accepts = inspect.signature(model.forward).parameters
        self._options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in accepts else {}
        self.spec = self._find_spec(normalisation)

    @classmethod
    def from_pretrained(cls, name: str, *, image_size: int, revision: str | None = None) -> HuggingFaceEncoder:
        """Load a Hub id or a local folder.

        Raises:
            ForeactError: the weights are missing, gated or not safetensors, the model is none of images, or the image
                size does not fit. No other encoder is ever taken instead.
        """
        with quiet():
            model, normalisation = _load(name, revision), _normalisation(name, revision)
        return cls(model, name=name, image_size=image_size, normalisation=normalisation)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Frames uint8 (B, height, width, 3) of any size -> tokens (B, N, C)."""
        return self._tokens(frames)[:, -self.spec.count :]

    @torch.no_grad()
    def encode_with_class(self, frames: Tensor) -> Tensor:
        """The same behind the class token, (B, 1 + N, C); behind the mean of the patches where the model has none."""
        tokens = self._tokens(frames)
        patches = tokens[:, -self.spec.count :]
        return with_mean(patches) if tokens.shape == patches.shape else torch.cat([tokens[:, :1], patches], dim=1)

    def _tokens(self, frames: Tensor) -> Tensor:
        """[class token, registers | patches], of which the first may be missing."""
        hidden = self._hidden(resize(frames.to(self.mean.device), self.image_size))
        return hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden

    def _hidden(self, images_B3HW: Tensor) -> Tensor:
        normalised = (images_B3HW - self.mean) / self.std
        return self.model(pixel_values=normalised, **self._options).last_hidden_state

    @torch.no_grad()
    def _find_spec(self, normalisation: tuple[Any, Any]) -> TokenSpec:
        hidden = self._hidden(torch.zeros(1, 3, self.image_size, self.image_size))
        rows = self._rows(hidden)
        digest = hashlib.sha256(repr(normalisation).encode()).hexdigest()[:4]
        label = Path(self.name).name if Path(self.name).is_dir() else self.name
        weights = state_hash(self.model, skip=UNUSED)
        return TokenSpec(
            grid=(rows, rows),
            channels=int(hidden.shape[1 if hidden.ndim == 4 else 2]),
            fingerprint=f"{label}@{weights}/last/{digest}/{self.image_size}",
            encoder=self.name,
            image_size=self.image_size,
        )

    def _rows(self, hidden: Tensor) -> int:
        """Rows of the square grid in a last hidden state that is a map (B, C, rows, rows) or (B, extra + rows^2, C)."""
        if hidden.ndim == 4 and hidden.shape[2] == hidden.shape[3]:
            return int(hidden.shape[2])
        if hidden.ndim != 3:
            raise ForeactError(
                f"{self.name}: its last hidden state {tuple(hidden.shape)} is neither tokens nor a square map"
            )
        count, extra = hidden.shape[1], 1 + int(getattr(self.model.config, "num_register_tokens", 0) or 0)
        patch = getattr(self.model.config, "patch_size", None)
        grids = [math.isqrt(count - extra), math.isqrt(count)]  # models that merge patches have fewer of them
        if isinstance(patch, int):
            grids.insert(0, self.image_size // patch)
        for rows in grids:
            if count - rows * rows in (0, extra):
                return rows
        raise ForeactError(
            f"{self.name}: {count} tokens at {self.image_size} px are no square grid, alone or after {extra} others"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Load without the bars, warnings and reports of transformers, whose settings then are as before.

    Downloads keep their bar, which `disable_progress_bar` would take away, too: hence the flag itself.
    """
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging._tqdm_active = False
    try:
        yield
    finally:
        logging._tqdm_active = bars
        logging.set_verbosity(verbosity)


def _load(name: str, revision: str | None) -> nn.Module:
    import transformers

    if not Path(name).is_dir() and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise ForeactError(f"{name}: no such encoder: give tiny, a folder, or a Hub id of the form owner/name")
    try:
        model = transformers.AutoModel.from_pretrained(
            name, revision=revision, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:
        raise ForeactError(explain(name, error)) from error
    model, loading = model
    missing = sorted(key for key in loading["missing_keys"] if not key.startswith(UNUSED))
    if missing:
        raise ForeactError(f"{name}: {len(missing)} weights are missing ({missing[0]}): download the model again")
    model = getattr(model, "vision_model", model)
    if "pixel_values" not in inspect.signature(model.forward).parameters:
        raise ForeactError(f"{name} is a {type(model).__name__}, which takes no images: give a vision model")
    return model


def explain(name: str, error: BaseException, what: str = "vision model") -> str:
    """One line: what stands in the way of the weights of a model of that kind, and what to do."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    chain, cause = [], error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    reason = str(error).strip().split("\n")[0][:160]
    if any(isinstance(e, GatedRepoError) for e in chain) or "gated" in str(error).lower():
        todo = f"accept its licence at https://huggingface.co/{name} and run `hf auth login`, or give a local folder"
        return f"{name}: its weights are gated: {todo}"
    if any(isinstance(e, RepositoryNotFoundError) for e in chain):
        return f"{name}: the Hub has no such model, or it is private: check the name and run `hf auth login`, or give a local folder"
    if Path(name).is_dir():
        return f"{name}: cannot be loaded as a {what} ({reason}): it needs config.json and model.safetensors"
    return f"{name}: cannot be had from the Hub ({reason}): check network and name, or give a local folder"


def _normalisation(name: str, revision: str | None) -> tuple[Any, Any]:
    """Mean and standard deviation from the model's preprocessor_config.json, or ImageNet's where it has none."""
    path: Path | None = Path(name) / "preprocessor_config.json"
    if not Path(name).is_dir():
        from transformers.utils import cached_file

        found = cached_file(
            name, "preprocessor_config.json", revision=revision, _raise_exceptions_for_missing_entries=False
        )
        path = Path(found) if found else None
    if path is None or not path.exists():
        return IMAGENET
    try:
        given = dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise ForeactError(f"{path} cannot be read: {error}") from error
    if not given.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    named = zip(("image_mean", "image_std"), IMAGENET, strict=True)
    mean, std = (decode(tuple[float, float, float], given.get(key, usual), f"{path}: {key}") for key, usual in named)
    return mean, std
