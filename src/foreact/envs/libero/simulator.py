"""LIBERO's own environments, made without its question, its download and its pickles."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
import tempfile
import warnings
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError

INSTALL = "pip install -c requirements/libero.txt -r requirements/libero.txt && pip install --no-deps hf-libero==0.1.4"
MUJOCO = "3.3.2"
"""The version with which published numbers were measured; pictures and successes of others differ."""
ASSETS = "LIBERO_ASSETS"
"""Environment variable with the folder of scenes, objects and textures, where it is not LIBERO's own."""


@lru_cache
def libero() -> Any:
    """The module `libero.libero`, with its assets.

    Raises:
        ForeactError: LIBERO is not installed, or its assets are not there.
    """
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")  # draws without a display
    if not (Path(os.environ.get("LIBERO_CONFIG_PATH", "~/.libero")).expanduser() / "config.yaml").exists():
        _write_config()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from libero import libero as module
            from libero.libero import benchmark, envs  # noqa: F401, loaded here for their remarks
    except ImportError as error:
        raise ForeactError(f"LIBERO needs {error.name}: {INSTALL}") from error
    own = Path(module.__file__).parent / "assets"
    places = [Path(os.environ[ASSETS])] if ASSETS in os.environ else [own, Path.home() / ".cache" / "libero" / "assets"]
    found = next((place for place in places if (place / "scenes").is_dir()), None)
    if found is None:
        raise ForeactError(
            f"LIBERO's assets are not in {' or '.join(map(str, places))}: hf-libero downloads them with python -c "
            f"'from libero.libero import get_assets_path; get_assets_path()'; or name their folder in {ASSETS}"
        )
    module._assets_path_cache = str(found)
    if (there := version("mujoco")) != MUJOCO:
        warnings.warn(
            f"LIBERO's published numbers were measured with MuJoCo {MUJOCO}; this is {there}, with which successes differ by up "
            "to half of all episodes",
            stacklevel=2,
        )
    return module


def _write_config() -> None:
    """LIBERO asks a question when it is imported without a config; this one says what it would write itself."""
    import importlib.util

    found = importlib.util.find_spec("libero")
    if found is None or not found.submodule_search_locations:
        return
    folder = tempfile.TemporaryDirectory(prefix="foreact-libero-")
    atexit.register(folder.cleanup)
    root = Path(found.submodule_search_locations[0]) / "libero"
    places = {"benchmark_root": "", "bddl_files": "bddl_files", "init_states": "init_files", "assets": "assets"}
    lines = [f"{name}: {root / place}\n" for name, place in (places | {"datasets": "../datasets"}).items()]
    (Path(folder.name) / "config.yaml").write_text("".join(lines))
    os.environ["LIBERO_CONFIG_PATH"] = folder.name


@lru_cache
def suite(name: str) -> Any:
    """LIBERO's list of a suite's ten tasks, such as `libero_spatial`."""
    libero()
    from libero.libero import benchmark

    with contextlib.redirect_stdout(io.StringIO()):
        return benchmark.get_benchmark_dict()[name]()


def start_states(name: str, number: int) -> np.ndarray:
    """The fifty initial states of a task, (50, D): nothing but numbers is read from the pickle that holds them."""
    import torch

    task, module = suite(name).get_task(number), libero()
    path = Path(module.get_libero_path("init_states")) / task.problem_folder / task.init_states_file
    kinds: list[Any] = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f8", "f4"))]
    kinds += [(np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct")]  # type: ignore[attr-defined]
    with torch.serialization.safe_globals(kinds):
        return np.asarray(torch.load(path, weights_only=True))


def make_simulator(name: str, number: int) -> Any:
    """LIBERO's environment of a task, which draws nothing by itself."""
    module, task = libero(), suite(name).get_task(number)
    from libero.libero.envs import OffScreenRenderEnv

    path = Path(module.get_libero_path("bddl_files")) / task.problem_folder / task.bddl_file
    with contextlib.redirect_stdout(io.StringIO()):
        return OffScreenRenderEnv(bddl_file_name=str(path), use_camera_obs=False, ignore_done=True)
