"""Opens HDF5 files; h5py is an optional dependency."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """The opened h5py file.

    Raises:
        ForeactError: h5py is not installed, or the file is missing or damaged (also while it is read).
    """
    try:
        import h5py
    except ImportError as error:
        raise ForeactError(f"{path} needs h5py to be read: pip install 'foreact[import]'") from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise ForeactError(
            f"{path} is missing, truncated or not an HDF5 file ({str(error).splitlines()[0]})"
        ) from error


def read_array(group: Any, key: str, *, where: str) -> np.ndarray:
    """The dataset `key` of a group.

    Raises:
        ForeactError: it is missing or a group itself.
    """
    if key not in group or not hasattr(group[key], "shape"):
        raise ForeactError(f"{where}: {key} is missing (there is {sorted(group)})")
    return np.asarray(group[key])
