"""Model cards of this package: whole, and their trainings configure models that build, in the sizes that presets promise."""

import dataclasses

import pytest

from foreact.core.cards import DataSpec, ModelCard, ModelTraining, RobotSpec, option_names
from foreact.core.errors import ForeactError
from foreact.core.presets import PRESETS, preset
from foreact.core.pretrained import meta_build
from foreact.core.registry import LOADED, MODELS, card
from foreact.core.token_spec import TokenSpec
from foreact.decoders.unet import ImageDecoderConfig
from foreact.encoders.pixels import PixelEncoder
from foreact.world_models.dino_wm import CARD as DINO_WM

OWN = [(role, kind) for table in (MODELS, LOADED) for role, known in table.items() for kind in known]
TRAINED = [kind for known in MODELS.values() for kind in known]
TOKENS = TokenSpec(grid=(8, 8), channels=192, fingerprint="test@0", encoder="tiny", image_size=128)
WITH_CLASS = dataclasses.replace(TOKENS, grid=(1, 65), encoder="cls:tiny")


ROBOT = RobotSpec(
    camera="observation.images.top",
    cameras={"observation.images.top": (96, 96)},
    action=tuple("abcdefgh"),
    state=tuple("ijklmnopq"),
    fps=10.0,
)


def configure(kind, size="tiny", **options):
    """The config of a kind over tokens that suit it, with eight actions and nine numbers of state."""
    tokens = {"adaworld": PixelEncoder(128).spec, "video_diffusion": PixelEncoder(128).spec, "dino_cls": WITH_CLASS}
    data = DataSpec(tokens=tokens.get(kind, TOKENS), action_dim=8, state_dim=9, robots=(ROBOT,))
    if kind == "wam":  # stands on a learner of z
        return card(kind).training(**options)._config(preset(size), data, {"latent": configure("rla", size).build()})
    return card(kind).training(**options).configure(preset(size), data)


@pytest.mark.parametrize(("role", "kind"), OWN, ids=[kind for _, kind in OWN])
def test_cards_are_whole_and_stand_where_the_registry_says(role, kind):
    found = card(kind)
    assert found.check("the registry") is found
    assert (found.role, found.kind, found.name) == (role, kind, kind.replace("_", "-"))
    assert (found.training is not None) == (kind in TRAINED)
    assert found.label


@pytest.mark.parametrize("size", PRESETS)
@pytest.mark.parametrize("kind", TRAINED)
def test_every_training_configures_a_model_that_builds(kind, size):
    config = configure(kind, size)
    assert type(config) is card(kind).config
    assert meta_build(config).num_parameters() > 0
    assert type(config).from_dict(config.to_dict()) == config
    plan_recipe = card(kind).training().recipe(preset(size))
    assert plan_recipe.steps >= 500


@pytest.mark.parametrize("size", PRESETS)
@pytest.mark.parametrize("kind", ["rla", "rla_wm"])
def test_variants_and_merged_patches_build(kind, size):
    for options in ({"variant": "released"}, {"merge": 2}):
        assert meta_build(configure(kind, size, **options)).num_parameters() > 0
    with pytest.raises(ForeactError, match="--merge is a choice of the paper's variant"):
        card(kind).training(merge=0).parts() if kind == "rla_wm" else configure(kind, merge=0)


@pytest.mark.parametrize(
    ("kind", "size", "expected"),
    [
        ("rla", "tiny", {"dim": 192, "depth": 2, "latent_tokens": 8, "latent_channels": 16, "standardise": True}),
        ("rla", "paper", {"dim": 1024, "depth": 12, "latent_tokens": 32, "latent_channels": 64, "standardise": False}),
        ("rla_wm", "tiny", {"flow_depth": 2, "steps": 2, "condition_depth": 2}),
        ("rla_wm", "small", {"flow_depth": 3, "steps": 4, "condition_depth": 3}),
        ("rla_wm", "paper", {"flow_depth": 8, "steps": 30, "condition_depth": 8}),
        ("lawm", "tiny", {"encoder_depth": 2, "log_variance": -4.0, "state_dim": 9, "embodiments": 2}),
        ("lawm", "paper", {"encoder_depth": 24, "log_variance": 0.0, "state_dim": 9, "embodiments": 32}),
        ("adaworld", "tiny", {"kl_weight": 2e-7}),
        ("adaworld", "paper", {"kl_weight": 2e-4}),
        ("dino_wm", "small", {"depth": 6, "residual_output": True}),
        ("fm_wm", "paper", {"depth": 20, "steps": 30}),
        ("rae", "tiny", {"head_dim": 512}),
        ("rae", "paper", {"head_dim": 2048}),
        ("video_diffusion", "small", {"widths": (64, 128, 192), "stages": 1, "stride": 5, "steps": 16}),
        ("image_decoder", "paper", {"channels": (512, 256, 128, 64), "blocks": 2}),
    ],
)
def test_presets_give_the_sizes_they_gave_before_cards(kind, size, expected):
    config = configure(kind, size)
    assert {name: getattr(config, name) for name in expected} == expected


def test_what_the_papers_do_not_have_is_off_in_the_papers_preset():
    from foreact.world_models.rla_wm_extras import RLAWorldModelExtras

    assert configure("rla_wm", "paper").extras == RLAWorldModelExtras()
    small = configure("rla_wm", "small").extras
    assert (small.draws, small.mean_weight, small.token_weight, small.spread_actions) == (4, 1.0, 1.0, True)
    released = configure("rla_wm", "tiny", variant="released")
    assert (released.kind, released.time_law, released.extras.l1_weight) == ("rla_wm_released", "logit_normal", 1.0)
    assert not released.extras.slots


def test_the_options_of_a_kind_are_told_from_those_of_all():
    assert option_names(card("rla").training) == ("latent", "variant", "merge")
    assert option_names(card("dino_wm").training) == ()


def test_a_model_of_pixels_refuses_another_encoder():
    training = card("video_diffusion").training
    assert training(encoder="pixels").frames(preset("tiny")) == ("pixels", 128)
    with pytest.raises(ForeactError, match="sees pixels, not tokens of tiny: leave out --encoder"):
        training(encoder="tiny").frames(preset("tiny"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unfinished(ModelTraining):
    """Does not say how to configure."""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"role": "chief"}, r"its role is 'chief', not one of \['world_model', "),
        ({"config": dict}, "its config is no ModelConfig"),
        ({"config": ImageDecoderConfig}, "its config's kind is 'image_decoder', not 'dino_wm'"),
        ({"cost": None}, "a world model needs a cost"),
        ({"training": dict}, "its training is no ModelTraining"),
        ({"training": "later"}, "its training is no ModelTraining"),
        ({"training": Unfinished}, "its training is no ModelTraining that can configure its model"),
    ],
)
def test_incomplete_cards_say_what_is_missing(change, said):
    with pytest.raises(ForeactError, match=rf"^somewhere: the model card is incomplete: .*{said}"):
        dataclasses.replace(DINO_WM, **change).check("somewhere")


def test_all_that_is_wrong_is_told_at_once():
    wrong: ModelCard = dataclasses.replace(DINO_WM, cost=None, training=dict)
    with pytest.raises(ForeactError, match="needs a cost; its training"):
        wrong.check("somewhere")
