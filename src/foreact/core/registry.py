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
        "dino_wm": "foreact.world_models.dino_wm:CARD",
        "fm_wm": "foreact.world_models.fm_wm:CARD",
        "rae": "foreact.world_models.rae:CARD",
        "video_diffusion": "foreact.world_models.video_diffusion:CARD",
    },
    "image_decoder": {
        "image_decoder": "foreact.decoders.unet:CARD",
    },
    "policy": {
        "bc": "foreact.policies.bc_training:CARD",
        "wam": "foreact.policies.wam:CARD",
        "lawam": "foreact.policies.lawam_training:CARD",
    },
}
"""Role -> kind -> where its card is, of the kinds that `foreact train` knows."""
LOADED: dict[str, dict[str, str]] = {
    "encoder": {"tiny_encoder": "foreact.encoders.tiny:CARD"},
    "latent_action": {"future_tokens": "foreact.latent_actions.future_tokens:CARD"},
    "world_model": {
        "rla_wm_released": "foreact.world_models.rla_wm_released:CARD",
        "pretrained_video": "foreact.world_models.pretrained_video:CARD",
    },
    "policy": {"residual": "foreact.policies.residual:CARD"},
}
"""The same of kinds that are what trainings of another name leave behind."""


def card(kind: str, *, where: str = "the command line") -> ModelCard:
    """The card of a kind of model, by its name in `config.json` or on the command line.

    Raises:
        ForeactError: an unknown kind, or one whose package cannot be imported or has no whole card; `where` asked for it.
    """
    kind, own = str(kind).replace("-", "_"), _own()
    if kind in own:
        return _load(own[kind])
    if kind in _foreign():
        return _load_foreign(_foreign()[kind])
    raise ForeactError(f"{where} asks for an unknown kind of model {kind!r}; this foreact knows {', '.join(kinds())}")


def config_class(kind: str, *, where: str) -> Any:
    """The config class of a kind of model; raises as `card` does."""
    return card(kind, where=where).config


def kinds(role: str | None = None) -> tuple[str, ...]:
    """All kinds, or those of a role; of other packages those whose cards are whole."""
    return (*_own(role), *(kind for kind, found in _whole().items() if role in (None, found.role)))


def trainable(role: str | None = None) -> tuple[str, ...]:
    """Kinds that `foreact train` knows, of a role or all; of other packages those whose cards are whole."""
    own = (kind for r, known in MODELS.items() for kind in known if role in (None, r))
    foreign = (kind for kind, found in _whole().items() if found.training and role in (None, found.role))
    return (*own, *foreign)


def foreign_cards() -> dict[str, ModelCard | ForeactError]:
    """Cards of other packages by kind, or what is wrong with them."""
    found: dict[str, ModelCard | ForeactError] = {}
    for kind, point in _foreign().items():
        try:
            found[kind] = _load_foreign(point)
        except ForeactError as error:
            found[kind] = error
    return found


def _whole() -> dict[str, ModelCard]:
    return {kind: found for kind, found in foreign_cards().items() if not isinstance(found, ForeactError)}


def _own(role: str | None = None) -> dict[str, str]:
    """Kind -> where its card is, of this package."""
    return {
        kind: at
        for table in (MODELS, LOADED)
        for r, known in table.items()
        if role in (None, r)
        for kind, at in known.items()
    }


def _foreign() -> dict[str, EntryPoint]:
    points = {point.name.replace("-", "_"): point for point in entry_points(group=GROUP)}
    return {kind: point for kind, point in points.items() if kind not in _own()}


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
