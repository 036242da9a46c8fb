"""Whether what a dataset's metadata says can be meant; somebody else wrote it, and sizes in it are given memory."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from foreact.core.errors import ForeactError

_LARGEST = 1 << 28
"""Numbers in a row of a feature: more than any picture has."""


def require_features(features: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """See that features have shapes, and names if any, that are what they should be.

    Raises:
        ForeactError: which one does not; `where` is the file that holds them.
    """
    for key, feature in features.items():
        shape, names, about = feature.get("shape"), feature.get("names"), feature.get("info")
        sizes = shape if isinstance(shape, list) else [None]
        if not all(type(size) is int and size > 0 for size in sizes) or math.prod(sizes) > _LARGEST:
            raise ForeactError(f"{where}: the shape of {key!r} is {json.dumps(shape)[:80]}, not a list of sizes")
        if not isinstance(names, list | dict | None) or not isinstance(about, dict | None):
            raise ForeactError(f"{where}: names or info of {key} are neither a list nor an object")


def require_episode(index: Any, length: Any, places: tuple[Any, ...], where: str) -> None:
    """See that an episode has a number and a length, and that its `places` (rows, seconds) are numbers.

    Raises:
        ForeactError: it does not; `where` is the dataset.
    """
    whole = type(index) is int and type(length) is int and 0 <= index < 1 << 48 and 0 <= length < 1 << 32
    if not whole or not all(isinstance(place, int | float) and math.isfinite(place) for place in places):
        raise ForeactError(
            f"{where}: the metadata of episode {str(index)[:40]} is damaged: length {str(length)[:40]}, places {places}"
        )
