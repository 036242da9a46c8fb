"""Tensors on disk: safetensors files that carry a checksum of their content in their own header.

Any reader of safetensors reads them. A file without the checksum, such as one of an earlier version, is read as it is. Files of
other libraries are read where they hold tensors alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.core.files import parse_json

_CHECKSUM = "sha256"


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write contiguous tensors of the CPU.

    Raises:
        OSError: the disk is full or not writable.
    """
    file = io.BytesIO(safetensors.torch.save(dict(tensors)))
    header = _read_header(file)
    start = file.tell()
    described = {**header, "__metadata__": {"format": "pt", _CHECKSUM: _checksum(header, file)}}
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    with open(path, "wb") as written:
        written.write(len(text).to_bytes(8, "little") + text)
        written.write(file.getbuffer()[start:])
        written.flush()
        os.fsync(written.fileno())


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a file, by name; the file is as large as they need.

    Raises:
        ForeactError: the file is missing or not readable.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise _unreadable(path, error) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name.

    Raises:
        ForeactError: the file is missing or not readable, or does not have the content that it was written with.
    """
    try:
        tensors = safetensors.torch.load_file(path)
        with open(path, "rb") as file:
            header = _read_header(file)
            written = header.pop("__metadata__", {}).get(_CHECKSUM)
            same = written is None or written == _checksum(header, file)
    except Exception as error:
        raise _unreadable(path, error) from error
    if not same:
        raise ForeactError(f"{path} is damaged: its content is not what was written; copy it from its source again")
    return tensors


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of another library's file by name: of safetensors, or of a torch checkpoint that holds nothing else.

    Nothing in it is ever run, as a pickle would be.

    Raises:
        ForeactError: the file is missing, unreadable, or holds something else.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how it was pickled
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ForeactError(
            f"{path} is missing or no checkpoint of tensors alone ({type(error).__name__}); a file that would run code is not opened"
        ) from error
    found = loaded.get("model_state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise ForeactError(f"{path} holds more than tensors by name: export the model's state_dict alone")
    return {str(name): tensor for name, tensor in found.items()}


def _read_header(file: BinaryIO) -> dict[str, Any]:
    """What is in the file, as it says itself; the file stands at its tensors afterwards."""
    return dict(parse_json(file.read(int.from_bytes(file.read(8), "little"))))


def _checksum(header: Mapping[str, Any], file: BinaryIO) -> str:
    """SHA-256 of names, types and places, and of what follows in the file; 1 GB/s and more where processors help."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _unreadable(path: Path, error: Exception) -> ForeactError:
    return ForeactError(f"{path} is missing or not a readable safetensors file ({error})")
