"""A training that begins with the weights of a trained model, not with fresh ones."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from foreact.core.errors import ForeactError
from foreact.core.pretrained import PretrainedModel, state_hash
from foreact.core.trainable import TrainableModel


def begin_with(model: TrainableModel, trained: PretrainedModel, *, source: str, frozen: Collection[str] = ()) -> str:
    """Give a model the weights and statistics of a trained one of its kind and sizes; its picture size may be another.

    Args:
        model: with fresh weights.
        trained: what it begins with.
        source: where that comes from, for messages.
        frozen: submodules that are the new run's own and must be the same in both.

    Returns:
        The hash of the weights.

    Raises:
        ForeactError: another kind, encoder, sizes or frozen part, or what `TrainableModel.adopt` says; says which.
    """
    mine, theirs = model.config, trained.config
    if mine.kind != theirs.kind:
        raise ForeactError(f"{source} holds a {theirs.kind}, this trains a {mine.kind}: name a run of the same model")
    _require_same_encoder(mine, theirs, source)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in trained.state_dict().items()}
    if wanted != found:
        name = next(n for n in sorted({*wanted, *found}) if wanted.get(n) != found.get(n))
        raise ForeactError(
            f"{source} has other sizes ({name}: {found.get(name, 'missing')}, here {wanted.get(name, 'missing')}): take its "
            "--preset and options, and recordings of a robot with as many actions, or begin with fresh weights"
        )
    for part in frozen:
        if state_hash(model.get_submodule(part)) != state_hash(trained.get_submodule(part)):
            raise ForeactError(f"{source} stands on another {part}: name the one that it was trained with, --{part}")
    model.adopt(trained)
    return state_hash(trained)


def _require_same_encoder(mine: Any, theirs: Any, source: str) -> None:
    """Tokens of the same encoder; the size of its pictures does not count, since no weight depends on it."""
    if not hasattr(mine, "tokens"):
        return
    here, there = (config.tokens.fingerprint.rpartition("/")[0] for config in (mine, theirs))
    if here != there:
        raise ForeactError(
            f"{source} was trained on tokens of encoder {theirs.tokens.fingerprint}, this run sees {mine.tokens.fingerprint}: "
            "use the same encoder, or begin with fresh weights"
        )
