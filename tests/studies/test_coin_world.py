"""The coin world's read-outs on predictors whose scores are known, and the study: resume, divergence, bad input."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from foreact.cli import main
from foreact.core.errors import DivergedError
from foreact.envs import coin
from foreact.studies import coin_scores, coin_world


class Still:
    """Imagines that nothing changes."""

    config = SimpleNamespace(horizon=15, action_dim=2, tokens=coin_world.TOKENS)
    stochastic = False

    def draw_noise(self, batch, generator):
        return torch.empty(batch, 0)

    def predict(self, tokens, actions, lengths, noise):
        return tokens


def ideals():
    """Futures of those who know the rules: red follows the actions; green is erased, or lands in one of its places."""
    mean = coin.possible_futures(coin_scores.held_out_pairs(coin_scores.HELD_OUT)).mean(axis=0, keepdims=True)
    erased = mean.copy()
    erased[..., 1] = 0
    return {"erased": erased, "mean": mean, "sampled": coin_scores.references()["true_sampler"]}


def summary(frames):
    scores = coin_scores.score(frames)
    ratio = {m: v.mean() / scores.get(f"{m}/reference", np.ones(1)).mean() for m, v in scores.items()}
    return SimpleNamespace(**ratio)


def test_scores_tell_erased_mean_and_sampled_futures_apart():
    still = summary(coin_scores.references()["persistence"])
    erased, mean, sampled = (summary(frames) for frames in ideals().values())
    resampled = summary(coin_scores.resample_residuals(ideals()["mean"]))
    assert still.driven_error == pytest.approx(1)
    for ideal in (erased, mean, sampled):
        assert ideal.driven_error == pytest.approx(0, abs=1e-6)
    assert erased.random_sharpness == pytest.approx(0, abs=1e-6)
    assert mean.random_sharpness == pytest.approx(0.25, abs=0.01)
    assert sampled.random_sharpness == pytest.approx(1, abs=0.01)
    assert (erased.random_hit, mean.random_hit, sampled.random_hit) == (0, 0, 1)
    assert erased.token_l1 < min(mean.token_l1, sampled.token_l1)
    assert sampled.energy_score < resampled.energy_score < min(erased.energy_score, mean.energy_score)
    assert sampled.energy_score_local < 0.6 * resampled.energy_score_local  # which tells more clearly
    assert resampled.random_hit < 0.05  # a better energy score than the mean's, though it never shows what can be


def test_frames_go_through_tokens_and_back():
    frames = coin_scores.imagine(Still())
    np.testing.assert_allclose(frames, coin_scores.references()["persistence"], atol=1e-5)


def test_verdicts_say_what_the_intervals_say():
    found = ideals()
    scores = {
        "dino_wm": coin_scores.score(found["erased"]),
        "dino_wm_dressed": coin_scores.score(coin_scores.resample_residuals(found["erased"])),
        "rla_wm": coin_scores.score(found["sampled"]),
    }
    told = {v.claim: v.verdict for v in coin_scores.verdicts(values(scores))}
    assert set(told.values()) == {"holds"}
    assert len(told) == 7
    swapped = {"dino_wm": scores["rla_wm"], "rla_wm": scores["dino_wm"]}
    assert {v.verdict for v in coin_scores.verdicts(values(swapped))} == {"does not hold"}


def values(scores):
    """The same scores with two training seeds."""
    return {(m, k, "all", 1): np.stack([v, v]) for m, found in scores.items() for k, v in found.items()}


def test_the_study_resumes_and_reports_a_diverged_seed(tmp_path, monkeypatch, capsys):
    for module in (coin_scores, coin_world):
        monkeypatch.setattr(module, "HELD_OUT", 16)
    command = ["benchmark", "coin-world", "--out", str(tmp_path), "--seeds", "2", "--steps", "3", "--models", "dino-wm"]
    main(command)
    assert (tmp_path / "futures.png").read_bytes()[1:4] == b"PNG"
    first = json.loads((tmp_path / "results.json").read_text())
    assert {row["model"] for row in first["rows"]} == {"persistence", "true_sampler", "dino_wm", "dino_wm_dressed"}
    assert {row["seeds"] for row in first["rows"]} == {2}
    weights = tmp_path / "seed1/dino_wm/model.safetensors"
    written = weights.read_bytes()
    main([*command[:-1], "dino-wm", "fm-wm"])
    assert weights.read_bytes() == written
    assert "erases the random object" in capsys.readouterr().out

    trained = coin_world.train_model

    def unlucky(name, seed, *rest):
        if name == "fm_wm" and seed == 1:
            raise DivergedError("the loss is nan")
        return trained(name, seed, *rest)

    monkeypatch.setattr(coin_world, "train_model", unlucky)
    main([*command[:-1], "dino-wm", "fm-wm"])
    again = json.loads((tmp_path / "results.json").read_text())
    assert again["diverged"] == {"fm_wm": [1]}
    assert {row["seeds"] for row in again["rows"] if row["model"] == "fm_wm"} == {1}
    assert [r for r in again["rows"] if r["model"] == "dino_wm"] == [
        r for r in first["rows"] if r["model"] == "dino_wm"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--data", "x"], "Unrecognized"),
        (["--models", "gan"], "unknown model 'gan'"),
        (["--seeds", "0"], "at least 1"),
        (["--steps", "0"], "at least 1"),
    ],
)
def test_bad_requests_end_with_one_line(tmp_path, capsys, change, message):
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", "coin-world", "--out", str(tmp_path / "new"), *change])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_runs_of_other_settings_are_not_mixed(tmp_path, capsys):
    command = ["benchmark", "coin-world", "--out", str(tmp_path), "--seeds", "1", "--models", "dino-wm", "--steps"]
    main([*command, "2"])
    with pytest.raises(SystemExit):
        main([*command, "3"])
    assert "other settings" in capsys.readouterr().err
