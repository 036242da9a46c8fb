"""Which kinds of model there are: an allow-list of this package's own, and the entry points `foreact.models` of others.

Nothing is imported before it is asked for. A package whose entry point is broken takes nothing else with it.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from foreact.core.errors import ForeactError

if TYPE_CHECKING:
    from foreact.core.cards import ModelCard

GROUP = "foreact.models"
MODELS: dict[str, dict[str, str]] = {
    "encoder": {
        "tiny_encoder": "foreact.encoders.tiny:CARD",
        "encoder": "foreact.training.self_distillation:CARD",
    },
    "latent_action": {
        "rla": "foreact.latent_actions.rla:CARD",
        "univla": "foreact.latent_actions.univla:CARD",
        "adaworld": "foreact.latent_actions.adaworld:CARD",
        "lawm": "foreact.latent_actions.lawm:CARD",
        "dino_cls": "foreact.latent_actions.dino_cls:CARD",
    },
    "world_model": {
        "rla_wm": "foreact.world_models.rla_wm_training:CARD",
        "rla_wm_released": "foreact.world_models.rla_wm_released:CARD",
        "dino_wm": "foreact.world_models.dino_wm:CARD",
        "fm_wm": "foreact.world_models.fm_wm:CARD",
        "rae": "foreact.world_models.rae:CARD",
        "video_diffusion": "foreact.world_models.video_diffusion:CARD",
        "pretrained_video": "foreact.world_models.pretrained_video:CARD",
    },
    "image_decoder": {
        "image_decoder": "foreact.decoders.unet:CARD",
    },
}
"""Role -> kind -> where its card is."""


def card(kind: str, *, where: str = "the command line") -> ModelCard:
    """The card of a kind of model, by its name in `config.json` or on the command line.

    Raises:
        ForeactError: an unknown kind, or one whose package cannot be imported or has no whole card; `where` asked for it.
    """
    kind = kind.replace("-", "_")
    for known in MODELS.values():
        if kind in known:
            return _load(known[kind])
    if kind in _foreign():
        return _load_foreign(_foreign()[kind])
    raise ForeactError(f"{where} asks for an unknown kind of model {kind!r}; this foreact knows {', '.join(kinds())}")


def config_class(kind: str, *, where: str) -> Any:
    """The config class of a kind of model; raises as `card` does."""
    return card(kind, where=where).config


def kinds(role: str | None = None) -> tuple[str, ...]:
    """All kinds, or those of a role; of other packages those that can be imported."""
    own = tuple(kind for r, known in MODELS.items() for kind in known if role in (None, r))
    return own + tuple(kind for kind, found in foreign_cards().items() if role in (None, getattr(found, "role", "")))


def trainable(role: str | None = None) -> tuple[str, ...]:
    """Kinds that `foreact train` knows, of a role or all."""
    return tuple(kind for kind in kinds(role) if kind not in _LOADED_ONLY)


def foreign_cards() -> dict[str, ModelCard | ForeactError]:
    """Cards of other packages by kind, or what is wrong with them."""
    found: dict[str, ModelCard | ForeactError] = {}
    for kind, point in _foreign().items():
        try:
            found[kind] = _load_foreign(point)
        except ForeactError as error:
            found[kind] = error
    return found


_LOADED_ONLY = ("tiny_encoder", "rla_wm_released", "pretrained_video")


def _foreign() -> dict[str, EntryPoint]:
    own = {kind for known in MODELS.values() for kind in known}
    points = {point.name.replace("-", "_"): point for point in entry_points(group=GROUP)}
    return {kind: point for kind, point in points.items() if kind not in own}


@lru_cache
def _load(target: str) -> ModelCard:
    module, name = target.split(":")
    return getattr(import_module(module), name)


@lru_cache
def _load_foreign(point: EntryPoint) -> ModelCard:
    from foreact.core.cards import ModelCard

    package = point.dist.name if point.dist else "an unknown package"
    where = f"the entry point {point.name} of {package} ({point.value})"
    try:
        found = point.load()
    except Exception as error:
        raise ForeactError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(found, ModelCard):
        raise ForeactError(f"{where} is a {type(found).__name__}, not a ModelCard")
    if found.kind != point.name.replace("-", "_"):
        raise ForeactError(f"{where} has a card of the kind {found.kind!r}: both names must be the same")
    return found.check(where)
