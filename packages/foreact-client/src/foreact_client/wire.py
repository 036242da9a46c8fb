"""Messages with arrays as openpi's clients and servers write them: msgpack, in which an array is a map of bytes, dtype and shape.

Only numbers and words come through: nothing that is received is ever executed.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np

REQUEST = "request"
"""Key of the number of a request: what is sent with an observation comes back with its actions."""
RESET = "reset"
"""Key of the seeds of episodes that begin with an observation."""
ACTIONS = "actions"
"""Key of an answer's action chunk, (H, A) or (B, H, A)."""
_KINDS = "biuf"  # booleans, whole numbers, real numbers


class WireError(ValueError):
    """Bytes that are no message."""


def pack(message: Any) -> bytes:
    """A message of words, numbers, lists, maps and arrays as bytes.

    Raises:
        WireError: something else is in it.
    """
    try:
        return msgpack.packb(message, default=_pack_array)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(str(error)) from error


def unpack(data: str | bytes) -> Any:
    """The message that `pack` made bytes of; arrays cannot be written to.

    Raises:
        WireError: bytes that are no message, or arrays of something else than numbers.
    """
    if isinstance(data, str):
        raise WireError(f"text, not a msgpack message: {data[:200]}")
    try:
        return msgpack.unpackb(data, object_hook=_unpack_array)
    except (ValueError, TypeError, KeyError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"not a msgpack message: {str(error) or type(error).__name__}") from error


def _pack_array(value: Any) -> Any:
    if not isinstance(value, (np.ndarray, np.generic)):
        raise TypeError(f"a {type(value).__name__} cannot be sent")
    if value.dtype.kind not in _KINDS:
        raise TypeError(f"an array of dtype {value.dtype} cannot be sent")
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}


def _unpack_array(value: Any) -> Any:
    if b"__ndarray__" in value:
        return np.frombuffer(value[b"data"], _dtype(value)).reshape(value[b"shape"])
    if b"__npgeneric__" in value:
        return _dtype(value).type(value[b"data"])
    return value


def _dtype(value: Any) -> Any:
    dtype = np.dtype(str(value[b"dtype"]))
    if dtype.kind not in _KINDS:
        raise ValueError(f"arrays of dtype {dtype} are not read")
    return dtype
