"""The study of policies at its smallest: every kind of row, seeds, controls, and what is not done twice."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from foreact.cli import main
from foreact.core.pretrained import load_model
from foreact.core.token_spec import TokenSpec
from foreact.evaluation.results import Results
from foreact.latent_actions.future_tokens import FutureTokensConfig
from foreact.recordings.latents import Latents
from foreact.studies import actionless
from tests.ring_world import demonstrate

ROWS = ("bc", "wam-rla", "wam-shuffled", "wam-future-tokens", "wam-rla-own")


@pytest.fixture(scope="module")
def study(ring, tmp_path_factory, in_small):
    root = tmp_path_factory.mktemp("study")
    data, play = demonstrate(root / "demos", 14, linger=20), demonstrate(root / "play", 6, seed=3000, linger=20)
    words = ["benchmark", "actionless", "--data", str(data), "--play", str(play), "--env", "ring", "--labelled", "0.3",
             "--image-size", "32", "--steps", "10", "--learner-steps", "2", "--batch-size", "4", "--seeds", "2", "--few-seeds", "1",
             "--episodes", "4", "--rows", *ROWS, "--out", str(root / "out"), "--cache", str(root / "cache")]  # fmt: skip
    with in_small():
        main(words)
    return root / "out", words


def test_every_row_is_judged_on_its_seeds(study):
    out, _ = study
    results = Results.load(out / "results.json")
    seeds = {row["model"]: row.seeds for row in results.rows if row.metric == "success"}
    assert {name: seeds[name] for name in ROWS} == dict.fromkeys(ROWS[:4], 2) | {"wam-rla-own": 1}
    assert {"expert", "random"} <= seeds.keys()
    assert {row.metric for row in results.rows} >= {"success", "success_last", "length", "return"}
    assert all(row.n == 4 for row in results.rows)
    assert len(results.verdicts) == 6, "against BC and both controls, over five checkpoints and at the last"
    assert "| wam-rla |" in actionless.table(results)


def test_the_mean_is_that_of_the_last_five_checkpoints(study):
    out, _ = study
    run = out / "seed0" / "bc"
    played = [json.loads(path.read_text()) for path in sorted(run.glob("act-step-*.json"))]
    assert len(played) == 5
    lengths = [next(e for e in p["episodes"] if e["metric"] == "length")["values"] for p in played]
    kept = next(e for e in Results.load(run / "results.json").episodes if e.metric == "length")
    np.testing.assert_allclose(kept.values, np.mean(lengths, axis=0))


def test_policies_differ_in_nothing_but_what_they_learn_from(study):
    out, _ = study
    configs = {name: json.loads((out / "seed0" / name / "config.json").read_text())["config"] for name in ROWS}
    shared = configs["bc"].keys()
    assert all({k: configs[name][k] for k in shared} == configs["bc"] for name in ROWS)
    assert configs["wam-rla"]["latent"] == configs["wam-future-tokens"]["latent"]
    states = [
        json.loads(p.read_text()) for name in ROWS for p in (out / "seed0" / name / "checkpoints").glob("*/state.json")
    ]
    assert len({json.dumps(state["about"]["labelled"]) for state in states}) == 1
    assert len({state["about"]["latents"] for state in states}) == len(ROWS)


def test_what_is_done_is_not_done_again(study, monkeypatch):
    out, words = study
    before = (out / "results.json").read_bytes()
    monkeypatch.setattr("foreact.studies.trained.run_training", lambda *_: pytest.fail("trained again"), raising=True)
    monkeypatch.setattr(actionless, "act", lambda *_: pytest.fail("played again"))
    monkeypatch.setattr(actionless.Actionless, "train", lambda *_: None)
    main(words)
    told, known = json.loads((out / "results.json").read_text()), json.loads(before)
    assert told["rows"] == known["rows"]


def test_an_unknown_row_is_named(study, capsys):
    _, words = study
    with pytest.raises(SystemExit):
        main([word if word != "bc" else "bcc" for word in words])
    assert "unknown row 'bcc': choose among bc, bc-all" in capsys.readouterr().err


def test_shuffled_z_is_that_of_another_episode():
    parts = {e: np.full((length, 1, 2), e, np.float32) for e, length in ((3, 5), (4, 9), (7, 6))}
    latents = Latents([parts], [[3, 4, 7]], horizons=[2], name="z")
    other = latents.shuffled()
    rows = np.zeros(3, int), np.array([3, 4, 7]), np.array([4, 8, 5])
    own, taken = latents.read(*rows)[0][:, 0, 0], other.read(*rows)[0][:, 0, 0]
    assert not (own == taken).any()
    assert sorted(taken.tolist()) == [3, 4, 7]
    assert torch.equal(latents.read(*rows)[1], other.read(*rows)[1])
    assert other.name != latents.name


def test_future_tokens_keep_what_varies_most(tmp_path):
    torch.manual_seed(0)
    spec = TokenSpec(grid=(2, 3), channels=4, fingerprint="test", encoder="tiny", image_size=48)
    model = FutureTokensConfig(tokens=spec, latent_tokens=2, latent_channels=2).build()
    causes = torch.randn(200, 4)
    tokens = (causes @ torch.randn(4, 24)).view(200, 6, 4) + 0.01 * torch.randn(200, 6, 4) + 5
    model.fit(tokens)
    z = model.infer(torch.zeros_like(tokens), tokens).flatten(1)
    restored = z @ model.axes.T + model.mean
    assert ((restored - tokens.flatten(1)).square().mean() / tokens.var()).item() < 1e-3
    model.save_pretrained(tmp_path)
    assert torch.equal(load_model(tmp_path).infer(tokens, tokens).flatten(1), z)
