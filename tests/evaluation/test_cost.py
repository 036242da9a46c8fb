"""The cost of the paper's sizes, as the reference arithmetic has them."""

import dataclasses
import io

import pytest
from rich.console import Console

from foreact.core import registry
from foreact.core.cards import DataSpec
from foreact.core.cost import total_flops
from foreact.core.presets import PRESETS
from foreact.core.registry import card
from foreact.core.token_spec import TokenSpec
from foreact.encoders.meta import meta_encoder
from foreact.evaluation.cost import cost_table, model_cost, preset_cost
from foreact.world_models.rla_wm_training import RLAWMTraining

TOKENS = TokenSpec(grid=(8, 8), channels=192, fingerprint="", encoder="tiny", image_size=128)


@pytest.fixture(scope="module")
def costs():
    return preset_cost(PRESETS["paper"]())


def test_paper_preset_stage_by_stage(costs):
    """Per chunk (TFLOP): encode 0.73, condition 0.25, a flow step 0.013, 30 of them 0.39, decode 0.37, draw about 0.5."""
    stages = {name: stage["flops"] / 1e12 for name, stage in costs["rla_wm"].items()}
    assert stages["encode"] == pytest.approx(0.73, rel=0.01)
    assert stages["condition"] == pytest.approx(0.25, rel=0.02)
    assert stages["flow_step"] == pytest.approx(0.013, rel=0.02)
    assert stages["flow"] == pytest.approx(0.39, rel=0.02)
    assert stages["decode"] == pytest.approx(0.374, rel=0.02)
    assert stages["draw"] == pytest.approx(0.51, rel=0.1)
    assert stages["flow"] == pytest.approx(30 * stages["flow_step"])
    core = total_flops(costs["rla_wm"], drawn=False)
    assert core / 1e12 == pytest.approx(1.01, rel=0.02)
    assert total_flops(costs["rla_wm"]) < 3.5e12  # the paper's total, whose accounting is not stated
    assert total_flops(costs["dino_wm"]) < 2.1e12
    assert costs["rla_wm"]["encode"]["params"] == pytest.approx(303e6, rel=0.01)
    assert costs["rla_wm"]["decode"]["params"] == pytest.approx(153e6, rel=0.01)


def test_papers_rivals(costs):
    """Calls per chunk as published: one regression, 30 Euler steps, RAE's 50; 15 frames of 50 guided DDIM steps, each remembered."""
    calls = {name: stages.get("flow", stages.get("decode"))["calls"] for name, stages in costs.items()}
    assert calls == {"rla_wm": 30, "dino_wm": 1, "fm_wm": 30, "rae": 50, "video_diffusion": 15 * (2 * 50 + 1)}
    assert costs["fm_wm"]["flow"]["flops"] == 30 * costs["fm_wm"]["flow_step"]["flops"]
    assert costs["fm_wm"]["flow"]["flops"] == pytest.approx(30 * costs["dino_wm"]["decode"]["flops"], rel=0.01)
    assert "encode" not in costs["video_diffusion"]
    assert total_flops(costs["video_diffusion"]) == pytest.approx(1.06e15, rel=0.02)  # the paper's: 1.1e15


def test_released_variant_with_cached_keys_and_values():
    preset = PRESETS["paper"]()
    _, tokens, _ = meta_encoder(preset.encoder, image_size=preset.image_size)
    config = RLAWMTraining(variant="released").configure(preset, DataSpec(tokens=tokens, action_dim=8))
    costs = {"rla_wm": model_cost(config)}
    assert costs["rla_wm"]["flow"]["flops"] / 1e12 == pytest.approx(0.26, rel=0.03)
    condition_and_flow = costs["rla_wm"]["condition"]["params"] + costs["rla_wm"]["flow_step"]["params"]
    assert condition_and_flow == pytest.approx(345e6, rel=0.02)


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_dino_wm_is_as_deep_as_condition_and_decoder_together(name):
    preset, costs = PRESETS[name](), preset_cost(PRESETS[name]())
    depth = preset.condition_depth + preset.latent_depth
    assert card("dino_wm").training().configure(preset, DataSpec(tokens=TOKENS, action_dim=2)).depth == depth
    token_work = costs["rla_wm"]["condition"]["flops"] + costs["rla_wm"]["decode"]["flops"]
    assert costs["dino_wm"]["decode"]["flops"] == pytest.approx(token_work, rel=0.25)
    assert costs["rla_wm"]["encode"]["params"] <= 3e6


def test_a_model_of_another_package_is_counted(monkeypatch):
    """As an entry point would bring it: its card, and no other line."""
    own = dataclasses.replace(card("dino_wm"), kind="other_wm", label="Other", published_flops=1e12)
    monkeypatch.setattr(registry, "foreign_cards", lambda: {"other_wm": own})
    monkeypatch.setattr(registry, "_foreign", lambda: {"other_wm": None})
    monkeypatch.setattr(registry, "_load_foreign", lambda point: own)
    costs = preset_cost(PRESETS["tiny"]())
    assert costs["other_wm"] == costs["dino_wm"]
    shown = Console(width=120, file=io.StringIO())
    shown.print(cost_table({"other_wm": costs["other_wm"]}, "paper"))
    assert "(paper: 1.0 T)" in shown.file.getvalue()
