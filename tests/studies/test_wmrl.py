"""The study of reinforcement learning in the imagination at its smallest: rows, honest selection, calibration."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foreact.cli import main
from foreact.decoders.unet import ImageDecoderConfig
from foreact.encoders.loading import load_encoder
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.evaluation.results import Results
from foreact.imagination.ppo import PPOConfig
from foreact.studies import wmrl
from foreact.world_models.dino_wm import DinoWMConfig
from tests.imagination.worlds import save
from tests.ring_world import SIDE, demonstrate

pytestmark = pytest.mark.usefixtures("ring")


@pytest.fixture(scope="module")
def small_ppo():
    """PPO as the study asks for it, with next to nothing to do."""
    own = PPOConfig.__init__.__kwdefaults__
    kept = dict(own)
    own.update(envs=4, steps=1, minibatch=4, epochs=1, rank=0)
    yield
    own.update(kept)


@pytest.fixture(scope="module")
def study(ring, small_ppo, tmp_path_factory, in_small):
    root = tmp_path_factory.mktemp("study")
    data = demonstrate(root / "demos", 14, linger=20)
    TinyEncoderConfig(stem=(4, 4, 4), dim=8, depth=1, heads=2).build().save_pretrained(root / "encoder")
    tokens = load_encoder(str(root / "encoder"), image_size=SIDE).spec
    save(DinoWMConfig(tokens=tokens, action_dim=2, horizon=8, dim=12, heads=2, depth=1), root / "worlds" / "dino-wm")
    save(ImageDecoderConfig(tokens=tokens, channels=(4, 4, 4, 4), blocks=1), root / "worlds" / "image-decoder")
    words = ["benchmark", "wmrl", "--data", str(data), "--env", "ring", "--world-models", str(root / "worlds" / "dino-wm"),
             "--steps", "2", "--batch-size", "4", "--seeds", "2", "--rollouts", "4", "--snapshots", "2", "--episodes", "3",
             "--judge-episodes", "2", "--out", str(root / "out"), "--cache", str(root / "cache")]  # fmt: skip
    with in_small():
        main(words)
    return root / "out", words


def test_every_row_is_reported_on_seeds_that_nothing_was_chosen_on(study):
    out, _ = study
    results = Results.load(out / "results.json")
    seeds = {row["model"]: row.seeds for row in results.rows if row.metric == "success"}
    assert seeds == {"bc": 2, "bc-longer": 2, "ppo-dino-wm": 2, "ppo-simulator": 1, "expert": 2, "random": 2}
    assert {row.metric for row in results.rows} >= {"success", "success_last", "success_imagined", "return_imagined"}
    played = json.loads((out / "seed0/ppo-dino-wm/act-ppo-dino-wm.json").read_text())
    assert played["seeds"] == [1_000_000, 1_000_001, 1_000_002]
    assert json.loads((out / "seed1/ppo-dino-wm/judged.json").read_text()).keys() == {"0", "2", "4"}
    assert [v.claim.split()[0] for v in results.verdicts[:3]] == ["ppo-dino-wm", "bc-longer", "ppo-simulator"]
    assert "rank correlation" in results.verdicts[3].claim
    assert "| ppo-dino-wm |" in wmrl.table(results)
    assert len(results.notes["success of each training seed, bc"].split(", ")) == 2


def test_what_is_done_is_not_done_again(study, monkeypatch):
    out, words = study
    before = json.loads((out / "results.json").read_text())["rows"]
    monkeypatch.setattr(wmrl.WMRL, "train", lambda *_: None)
    monkeypatch.setattr(wmrl.WMRL, "score", lambda *_: pytest.fail("scored again"))
    main(words)
    assert json.loads((out / "results.json").read_text())["rows"] == before


def test_the_rank_correlation_by_hand():
    imagined, real = np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[0.1, 0.2, 0.2, 0.9]])
    found = wmrl.rank_correlation(imagined, real)
    assert found.mean == pytest.approx(0.9486833)
    assert found.low <= found.mean <= found.high
    assert wmrl.rank_correlation(imagined, -real).mean == pytest.approx(-0.9486833)
    assert wmrl.rank_correlation(imagined, 0 * real).mean == 0
