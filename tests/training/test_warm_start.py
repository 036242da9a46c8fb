"""Trainings that begin with trained weights: what they take over, and what they refuse."""

import dataclasses

import pytest
import torch
from small_models import FAST, PAPER, REGRESSION, RLA, TOKENS

from foreact.core import pretrained
from foreact.core.errors import ForeactError
from foreact.core.pretrained import find_local, load_model
from foreact.dreams.imagination import load
from foreact.training.warm_start import begin_with


def test_weights_and_statistics_are_taken_over():
    fresh, trained = RLA.build(), RLA.build()
    trained.scale.mean.fill_(3.0)
    begin_with(fresh, trained, source="runs/old")
    assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in trained.state_dict().items())


def test_pictures_of_another_size_are_no_obstacle():
    larger = dataclasses.replace(TOKENS, grid=(4, 6), image_size=64, fingerprint="test@0/64")
    trained = dataclasses.replace(RLA, tokens=dataclasses.replace(TOKENS, fingerprint="test@0/48")).build()
    fresh = dataclasses.replace(RLA, tokens=larger).build()
    begin_with(fresh, trained, source="runs/old")
    assert fresh.infer(torch.randn(2, 24, 7), torch.randn(2, 24, 7)).shape == (2, 13, 17)


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        (RLA, REGRESSION, "runs/old holds a dino_wm, this trains a rla"),
        (
            RLA,
            dataclasses.replace(RLA, latent_tokens=12),
            r"runs/old has other sizes \(decoder.slots: \(12, 44\), here",
        ),
        (
            RLA,
            dataclasses.replace(RLA, tokens=dataclasses.replace(TOKENS, fingerprint="other@1/48")),
            "tokens of encoder other@1/48, this run sees test@0",
        ),
        (REGRESSION, dataclasses.replace(REGRESSION, action_dim=5), "a robot with as many actions"),
    ],
    ids=["kind", "sizes", "encoder", "actions"],
)
def test_what_does_not_fit_is_named(mine, theirs, said):
    with pytest.raises(ForeactError, match=said):
        begin_with(mine.build(), theirs.build(), source="runs/old")


def test_a_frozen_part_must_be_the_same():
    fresh, trained = PAPER.build(), PAPER.build()
    with pytest.raises(ForeactError, match="another rla: name the one that it was trained with, --rla"):
        begin_with(fresh, trained, source="runs/old", frozen=["rla"])
    fresh.rla.load_state_dict(trained.rla.state_dict())
    begin_with(fresh, trained, source="runs/old", frozen=["rla"])


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A system of two world models that ships."""
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path / "systems")
    for name, config in {"dino-wm": REGRESSION, "rla-wm": FAST, "rla": RLA}.items():
        config.build().save_pretrained(tmp_path / "systems" / "table" / name)
    return tmp_path / "systems" / "table"


def test_what_ships_is_found_by_name_and_a_folder_of_that_name_comes_first(shipped, tmp_path, monkeypatch):
    assert find_local("table/rla") == shipped / "rla"
    assert load_model("table/rla").config == RLA
    assert find_local("table/none") is None
    assert find_local("../systems/table") is None
    monkeypatch.chdir(tmp_path)
    REGRESSION.build().save_pretrained(tmp_path / "table" / "rla")
    assert load_model("table/rla").config == REGRESSION


def test_of_a_folder_of_runs_the_world_model_is_loaded(shipped, monkeypatch):
    monkeypatch.setattr("foreact.dreams.imagination.load_encoder", lambda name, image_size: None)
    for source in ("table", shipped):
        assert load(source).world_model.config.kind == "rla_wm"
    with pytest.raises(ForeactError, match="holds no model"):
        load(shipped.parent)
