"""The study of latent actions: sizes, verdicts and tables from known numbers, resume, divergence, clear errors."""

import json

import numpy as np
import pytest

from foreact.cli import main
from foreact.core.errors import DivergedError, ForeactError
from foreact.core.presets import preset
from foreact.evaluation.results import Results
from foreact.evaluation.rows import EpisodeValues
from foreact.studies import latent_actions
from foreact.studies.latent_actions import latent_sizes, learners_of
from foreact.studies.latent_claims import markdown, verdicts
from foreact.studies.settings import LatentStudy
from foreact.studies.values import rows, stack

EPISODES = tuple(range(30))


def test_sizes_go_from_a_thirty_second_of_the_presets_to_all_of_it(tmp_path):
    assert latent_sizes(preset("paper")) == ("1x64", "4x64", "16x64", "32x64")
    assert latent_sizes(preset("tiny")) == ("1x4", "1x16", "4x16", "8x16")
    study = LatentStudy(data=tmp_path, out=tmp_path, models=("rla", "lawm"), latents=("2x3",))
    assert learners_of(study) == {
        "rla-2x3": ("rla", {"latent": "2x3"}),
        "lawm": ("lawm", {}),
        "lawm-one-view": ("lawm", {"augment": False}),
    }
    with pytest.raises(ForeactError, match="unknown learner 'gan'"):
        learners_of(LatentStudy(data=tmp_path, out=tmp_path, models=("gan",)))


def measured(model, seed, **numbers):
    """Results of one run in which every metric is `numbers` plus noise, and every skill has the denominator 1."""
    rng = np.random.default_rng((seed, len(model)))
    values = []
    for name, number in numbers.items():
        metric, _, subset = name.partition("__")
        metric = metric.replace("half", "0.5")
        keys = {"model": model, "chunk": 1, "subset": subset or "held_out"}
        shared = {"keys": keys, "episodes": EPISODES}
        noise = rng.normal(0, 0.01, len(EPISODES))
        values.append(EpisodeValues(metric=metric, values=tuple(number + noise), **shared))
        if not metric.startswith(("motion", "transfer")):
            values.append(EpisodeValues(metric=f"{metric}/reference", values=(1.0,) * len(EPISODES), **shared))
    return Results(split_hash="a", seeds=(seed,), rows=(), episodes=tuple(values))


def told(results, sizes):
    return {v.claim: v.verdict for v in verdicts(stack(results), sizes)}


def test_verdicts_follow_the_numbers():
    results = []
    for seed in range(3):
        results.append(
            measured(
                "rla-1x4", seed, skill_true=0.5, skill_shuffled=0.1, skill_shifted=-0.2, skill_true__unseen=-1,
                r2_actions_beside_true=0.3, between_half_true=0.2, between_half_line=0.2,
            )
        )  # fmt: skip
        results.append(
            measured(
                "lawm", seed, skill_true=0.7, skill_shuffled=0.7, skill_true__unseen=0.2, r2_actions_beside_true=0.6,
                motion_cosine_truth_true=0.8, motion_cosine_start=0.5, motion_cosine_copy=0.9,
                transfer_read_true=0.4, transfer_read_shuffled=0.1,
            )
        )  # fmt: skip
        results.append(measured("current_frame", seed, r2_actions_true=0.4))
    found = told(results, {"rla-1x4": 4, "lawm": 32})
    assert found["RLA 1x4 reconstructs better with its own z than with another episode's"] == "holds"
    assert found["LaWM reconstructs better with its own z than with another episode's"] != "holds"
    assert found["RLA 1x4's z survives a moved camera (above the copy)"] == "does not hold"
    assert found["RLA with |z| = 4 reconstructs better than LaWM with 32"] == "does not hold"
    assert found["RLA 1x4: half-way from noise to z lies nearer to the frame in between than interpolated tokens"] != (
        "holds"
    )
    assert found["RLA 1x4 reconstructs an unseen scene better than a copy of the current frame"] == "does not hold"
    assert found["LaWM reconstructs an unseen scene better than a copy of the current frame"] == "holds"
    assert found["RLA 1x4's z adds to what the current frame tells of actions"] == "does not hold"
    assert found["LaWM's z adds to what the current frame tells of actions"] == "holds"
    assert found["LaWM rolled out 1 strides stays nearer to the truth than to its start, where it moves"] == "holds"
    assert found["LaWM rolled out 1 strides stays nearer to the truth than a copy, where it moves"] == "does not hold"
    moved = [verdict for claim, verdict in found.items() if "moves the agent" in claim]
    assert moved == ["holds"]


def test_differences_are_paired_by_the_seeds_that_both_have():
    results = [measured("lawm", s, skill_true=0.5) for s in range(3)] + [measured("rla-1x4", 0, skill_true=0.9)]
    found = told(results, {"rla-1x4": 4, "lawm": 32})
    assert found["RLA with |z| = 4 reconstructs better than LaWM with 32"] == "holds"
    by_model = {row["model"]: row for row in rows(stack(results))}
    assert (by_model["lawm"].seeds, by_model["rla-1x4"].seeds) == (3, 1)
    assert by_model["lawm"].mean == pytest.approx(0.5, abs=0.01)
    asked = {"steps": 7, "preset": "tiny", "sizes": {"lawm": 32, "rla-1x4": 4}}
    told_of = Results(split_hash="a", seeds=(0, 1, 2), rows=tuple(by_model.values()), settings=asked)
    heading, _, *table = markdown(told_of).splitlines()
    assert heading == "3 training seeds, 7 steps, preset tiny"
    assert table[0] == "| learner | z | skill |"
    assert table[2].startswith("| LaWM | 32 | 0.50 [")
    assert len(table) == 4


@pytest.fixture
def command(place, tiny_dataset, two_camera_dataset, tmp_path):
    root, _ = place
    return [
        "benchmark", "latent-actions", "--data", str(tiny_dataset), "--out", str(tmp_path), "--seeds", "2",
        "--cache", str(root / "cache"), "--encoder", str(root / "encoder"), "--image-size", "32", "--pairs", "24",
        "--steps", "2", "--batch-size", "4", "--seconds", "0.5",
    ]  # fmt: skip


def test_the_study_trains_measures_resumes_and_reports_divergence(
    command, tiny_dataset, two_camera_dataset, tmp_path, monkeypatch, capsys
):
    command += ["--unseen", str(two_camera_dataset), "--models", "rla", "dino-cls", "--latents", "2x3"]
    trained = latent_actions.train_run

    def unlucky(study, kind, run, progress, *, seed, **rest):
        if (kind, seed) == ("dino_cls", 1):
            raise DivergedError("the loss is nan")
        trained(study, kind, run, progress, seed=seed, **rest)

    monkeypatch.setattr(latent_actions, "train_run", unlucky)
    main(command)
    said = capsys.readouterr().out
    assert "| RLA 2x3 | 6 |" in said
    assert "diverged       dino-cls: training seeds [1]" in said
    results = json.loads((tmp_path / "results.json").read_text())
    found = {(r["model"], r["metric"], r["subset"]): r for r in results["rows"]}
    assert found["rla-2x3", "skill_true", "unseen"]["seeds"] == 2
    assert found["dino-cls", "skill_true", "held_out"]["seeds"] == 1
    assert {"current_frame", "token_change", "true_tokens"} <= {model for model, *_ in found}
    assert found["rla-2x3", "transfer_read_true", "unseen"]["n"] >= 1
    assert results["settings"]["sizes"] == {"rla-2x3": 6, "dino-cls": 24}
    assert (tmp_path / "seed0/rla-2x3/transfer.png").read_bytes()[1:4] == b"PNG"

    monkeypatch.setattr(latent_actions, "train_run", trained)
    monkeypatch.setattr(latent_actions, "measure", only(latent_actions.measure, {("dino-cls", 0), ("dino-cls", 1)}))
    main(command)
    again = json.loads((tmp_path / "results.json").read_text())
    assert again["diverged"] == {}
    same = [r for r in again["rows"] if r["model"] == "rla-2x3"]
    assert same == [r for r in results["rows"] if r["model"] == "rla-2x3"]


def only(measure, allowed):
    """`measure` that may be called for the learners that were not measured before."""

    def checked(study, name, *rest):
        assert name in {n for n, _ in allowed}, f"{name} was measured again"
        return measure(study, name, *rest)

    return checked


def test_other_settings_and_bad_requests_end_with_one_line(command, tmp_path, capsys):
    def error_of(*change):
        with pytest.raises(SystemExit) as ended:
            main([*command, *change])
        assert ended.value.code == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "unknown learner 'gan'" in error_of("--models", "gan")
    assert "at least 1" in error_of("--seeds", "0")
    assert "choose a shorter gap" in error_of("--seconds", "9")
    main([*command, "--models", "rla", "--latents", "1x2", "--seeds", "1"])
    assert "begun with other settings" in error_of(
        "--models", "rla", "--latents", "1x2", "--seeds", "1", "--steps", "3"
    )
    with pytest.raises(SystemExit):
        main(["benchmark", "latent-actions", "--out", str(tmp_path)])
    assert "--data" in capsys.readouterr().err
