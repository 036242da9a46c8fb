"""Training states on disk: `RUN/checkpoints/step-00000123/{state.safetensors, state.json}`, whole or not at all.

No pickle: optimiser moments are stored by parameter name. Together with batches and noise that depend on (seed, step)
alone, a state is all that an exact resume needs.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.core.files import read_json
from foreact.core.registry import config_class
from foreact.core.weights import read_tensors, write_tensors
from foreact.training.optimizers import restore_by_name, state_by_name
from foreact.training.task import Trained

Optimizers = list[torch.optim.Optimizer]
_NAME = re.compile(r"step-(\d{8})")


def save_state(
    run: Path,
    step: int,
    task: Trained,
    average: dict[str, Tensor],
    optimizers: Optimizers,
    about: Any,
    extra: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the state after `step` steps and then remove older ones.

    Args:
        run: the run's folder.
        step: steps done.
        task: whose model is trained; its parameters and buffers are stored, and of frozen parts their hash.
        average: the exponential moving average of its state, by name.
        optimizers: over the module's trainable parameters.
        about: JSON data that a resume must find unchanged (config, split).
        extra: what else a resume needs, by name; see `load_extra`.

    Raises:
        ForeactError: the disk is full or not writable; the previous state stays.
    """
    folder = run / "checkpoints" / f"step-{step:08d}"
    partial = folder.with_name(f".{folder.name}.partial")
    tensors = {f"model/{k}": v for k, v in task.trained_state().items()}
    tensors |= {f"average/{k}": v for k, v in average.items()}
    tensors |= {f"optimizer/{k}": v for k, v in state_by_name(task.model, optimizers).items()}
    tensors |= {f"extra/{k}": v for k, v in (extra or {}).items()}
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        flat = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
        write_tensors(partial / "state.safetensors", flat)
        (partial / "state.json").write_text(
            json.dumps({"step": step, "about": about, "frozen": {k: v.hash for k, v in task.frozen.items()}})
        )
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ForeactError(
            f"cannot write a checkpoint in {folder.parent}: {error.strerror}; earlier ones are intact"
        ) from error
    for other in _states(run):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def load_state(run: Path, task: Trained, optimizers: Optimizers, about: Any) -> tuple[int, dict[str, Tensor]]:
    """Restore the latest state into the model of `task` and into `optimizers`.

    Returns:
        Steps done and the average by name; (0, {}) where the run has no state.

    Raises:
        ForeactError: the state is unreadable, or belongs to another config or split, or to other frozen parts.
    """
    states = _states(run)
    if not states:
        return 0, {}
    folder = states[-1]
    try:
        described = read_json(folder / "state.json")
        step, written, frozen = int(described["step"]), dict(described["about"]), described.get("frozen")
        tensors = read_tensors(folder / "state.safetensors")
        groups: dict[str, dict[str, Any]] = {"model": {}, "average": {}, "optimizer": {}, "extra": {}}
        for key, tensor in tensors.items():
            kind, name = key.split("/", 1)
            groups[kind][name] = tensor
    except Exception as error:
        raise ForeactError(f"{folder} is not a readable checkpoint ({error}); delete it to start anew") from error
    begun, asked = _with_added_fields(written, folder), json.loads(json.dumps(about))
    if begun != asked:
        changed = _difference(begun, asked)
        raise ForeactError(
            f"{run} was begun with other settings ({changed}); choose another --out or the same settings"
        )
    _require_frozen(run, task, frozen, groups["model"])
    trained = task.trained_state().keys()
    task.model.load_state_dict({k: v for k, v in groups["model"].items() if k in trained}, strict=False)
    restore_by_name(task.model, optimizers, groups["optimizer"])
    return step, {k: v for k, v in groups["average"].items() if k in trained}


def load_extra(run: Path) -> dict[str, Tensor]:
    """What `save_state` was given as `extra` with the latest state; empty where the run has none. To be called after `load_state`."""
    states = _states(run)
    tensors = read_tensors(states[-1] / "state.safetensors") if states else {}
    return {k.removeprefix("extra/"): v for k, v in tensors.items() if k.startswith("extra/")}


def steps_done(run: Path) -> int:
    """Steps of the latest state of a run; 0 where there is none."""
    states = _states(run)
    return int(states[-1].name.removeprefix("step-")) if states else 0


def _require_frozen(run: Path, task: Trained, begun: dict[str, str] | None, stored: dict[str, Tensor]) -> None:
    """Refuse other frozen parts than those that a run was begun with; states of before 0.2 hold their weights."""
    state = task.model.state_dict()
    for name, part in task.frozen.items():
        if begun is None:
            same = all(torch.equal(v.cpu(), state[k].cpu()) for k, v in stored.items() if k.startswith(f"{name}."))
        else:
            same = begun.get(name) == part.hash
        if not same:
            was = "" if begun is None else f" ({begun.get(name)} then, {part.hash} now)"
            raise ForeactError(
                f"{run} was begun with another {name}{was}: name the {part.option} that it was begun with by "
                f"--{part.option}, or choose another --out"
            )


def _with_added_fields(about: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a run was begun with, and the fields that its model's config has got since, at what they were built with."""
    if isinstance(about.get("sampling"), dict):  # what is not set was written for students alone
        about = about | {"sampling": {k: v for k, v in about["sampling"].items() if v is not None}}
    try:
        known = config_class(about.get("kind", ""), where=str(folder))
        about = known.upgrade_run(about)
        config = known.from_dict(about.get("model"), where=str(folder))
    except ForeactError:  # not a registered model's, or of a version that is told apart below
        return about
    return about | {"kind": config.kind, "model": json.loads(json.dumps(config.to_dict()))}


def _states(run: Path) -> list[Path]:
    folder = run / "checkpoints"
    return sorted(p for p in folder.iterdir() if _NAME.fullmatch(p.name)) if folder.is_dir() else []


def _difference(old: Any, new: Any, path: str = "") -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        found = [
            _difference(old.get(k), new.get(k), f"{path}{k}.") for k in sorted({*old, *new}) if old.get(k) != new.get(k)
        ]
        return "; ".join(found[:3])
    return f"{path.rstrip('.')}: {str(old)[:60]} -> {str(new)[:60]}"
