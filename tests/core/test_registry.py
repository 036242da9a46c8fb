"""Kinds of model by name: this package's own, and those of others, which may be broken."""

import pytest
from foreign import install

from foreact.core.errors import ForeactError
from foreact.core.registry import card, config_class, foreign_cards, kinds, trainable

WHOLE = """
import dataclasses
from foreact.world_models.dino_wm import CARD as DINO_WM, DinoWMConfig

@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(DinoWMConfig):
    kind = "my_wm"

CARD = dataclasses.replace(DINO_WM, kind="my_wm", label="mine", config=Config)
LOADED = dataclasses.replace(CARD, training=None)
UNPRICED = dataclasses.replace(CARD, kind="unpriced", cost=None)
STOLEN = dataclasses.replace(CARD, label="stolen")
"""


@pytest.fixture
def others(tmp_path, monkeypatch):
    """A package with one whole card and every kind of broken one."""
    points = {
        "my-wm": "whole_model:CARD",
        "dino-wm": "whole_model:STOLEN",
        "gone": "no_such_module:CARD",
        "raises": "raising_model:CARD",
        "missing": "whole_model:NOTHING",
        "no_card": "whole_model:Config",
        "unpriced": "whole_model:UNPRICED",
        "other_name": "whole_model:CARD",
    }
    install(tmp_path, points, {"whole_model": WHOLE, "raising_model": "raise RuntimeError('no licence')"})
    monkeypatch.syspath_prepend(tmp_path)


def test_kinds_are_found_by_either_spelling_and_unknown_ones_are_told():
    assert card("rla-wm") is card("rla_wm")
    assert config_class("dino_wm", where="x").kind == "dino_wm"
    with pytest.raises(
        ForeactError, match=r"^runs/x asks for an unknown kind of model 'os\.system'; .* rla_wm, dino_wm"
    ):
        card("os.system", where="runs/x")


def test_roles_and_what_is_only_loaded():
    assert kinds("image_decoder") == ("image_decoder",)
    assert "rla_wm_released" in kinds("world_model")
    assert "rla_wm_released" not in trainable("world_model")
    assert set(trainable()) < set(kinds())
    assert trainable("encoder") == ("encoder",)


def test_a_whole_card_of_another_package_is_a_kind_like_any(others):
    found = card("my-wm")
    assert (found.label, found.role) == ("mine", "world_model")
    assert "my_wm" in kinds("world_model")
    assert "my_wm" in trainable("world_model")
    assert "my_wm" not in kinds("encoder")


def test_no_package_takes_the_place_of_a_kind_of_this_one(others):
    assert card("dino_wm").label == "DINO-WM"
    assert kinds().count("dino_wm") == 1


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("gone", r"gone of foreign \(no_such_module:CARD\) cannot be imported: ModuleNotFoundError"),
        ("raises", r"raises of foreign .* cannot be imported: RuntimeError: no licence"),
        ("missing", r"missing of foreign .* cannot be imported: AttributeError"),
        ("no-card", r"no_card of foreign .* is a ABCMeta, not a ModelCard"),
        ("unpriced", r"unpriced of foreign .*: the model card is incomplete: .*a world model needs a cost"),
        ("other_name", r"other_name of foreign .* has a card of the kind 'my_wm': both names must be the same"),
    ],
)
def test_a_broken_one_is_told_when_asked_for_and_disturbs_nobody(others, kind, said):
    with pytest.raises(ForeactError, match=rf"^the entry point {said}"):
        card(kind)
    broken = foreign_cards()[kind.replace("-", "_")]
    assert isinstance(broken, ForeactError)
    assert kind.replace("-", "_") not in kinds()
    assert kind.replace("-", "_") not in trainable()
    assert card("my_wm").label == "mine"
    assert card("rla").role == "latent_action"
