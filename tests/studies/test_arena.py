"""The arena: seeds put together with intervals, verdicts, resume, divergence, and results that do not fit together."""

import dataclasses
import json

import numpy as np
import pytest

from foreact.cli import main
from foreact.core.errors import DivergedError, ForeactError
from foreact.evaluation.results import Results
from foreact.evaluation.rows import EpisodeValues, Row
from foreact.studies import trained, world_models
from foreact.studies.values import rows, stack
from foreact.studies.world_models import verdicts, with_skill

EPISODES = tuple(range(40))
KEYS = {"subset": "moving", "chunk": 3}


def seed_results(seed, *, better=0.3, split="abc", episodes=EPISODES):
    """RLA-WM's L1 lies `better` below DINO-WM's; FM-WM cannot be told from RLA-WM."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(1, 2, len(episodes))
    l1 = {
        "rla_wm": base - better,
        "dino_wm": base,
        "fm_wm": base - better + rng.normal(0, 0.3, len(episodes)),
        "persistence": np.linspace(3, 4, len(episodes)),
    }
    values = [
        EpisodeValues(keys={"model": m, **KEYS}, metric="token_l1", episodes=episodes, values=tuple(v))
        for m, v in l1.items()
    ]
    rows = tuple(
        Row(keys={"model": m, **KEYS}, metric="token_l1", mean=float(v.mean()), n=len(v)) for m, v in l1.items()
    )
    return Results(split_hash=split, seeds=(0,), rows=rows, episodes=tuple(values))


def test_seeds_are_put_together_and_verdicts_follow_the_intervals():
    values = with_skill(stack([seed_results(seed) for seed in range(3)]))
    l1 = {model: values[model, "token_l1", "moving", 3] for model in ("rla_wm", "persistence")}
    assert l1["rla_wm"].shape == (3, 40)
    found = {(r["model"], r.metric): r for r in rows(values)}
    mean, still = l1["rla_wm"].mean(), l1["persistence"].mean()
    assert found["rla_wm", "token_l1"].mean == pytest.approx(mean)
    assert found["rla_wm", "token_l1_skill"].mean == pytest.approx(1 - mean / still)
    assert found["persistence", "token_l1_skill"].mean == pytest.approx(0)
    assert found["rla_wm", "token_l1"].seeds == 3
    told = {v.claim.split(" in ")[0].split("than ")[1]: v.verdict for v in verdicts(values, "moving", 3)}
    assert told == {"DINO-WM": "holds", "FM-WM": "undecided", "persistence": "holds"}
    worse = stack([seed_results(seed, better=-0.3) for seed in range(3)])
    assert {v.verdict for v in verdicts(worse, "moving", 3) if "DINO-WM" in v.claim} == {"does not hold"}


def test_other_splits_and_episodes_do_not_mix():
    with pytest.raises(ForeactError, match="different splits"):
        stack([seed_results(0), seed_results(1, split="xyz")])
    with pytest.raises(ForeactError, match="different episodes"):
        stack([seed_results(0), seed_results(1, episodes=EPISODES[1:])])


def test_values_of_episodes_survive_the_file(tmp_path):
    results = seed_results(0)
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results


def test_models_that_are_evaluated_later_join_without_changing_what_was_there():
    whole = seed_results(0)
    first = only(whole, "rla_wm", "persistence")
    joined = first.with_models_of(whole)
    assert joined.rows[: len(first.rows)] == first.rows
    assert set(joined.rows) == set(whole.rows)
    assert sorted(e["model"] for e in joined.episodes) == sorted(e["model"] for e in whole.episodes)
    assert joined.with_models_of(whole) == joined
    with pytest.raises(ForeactError, match="put together"):
        first.with_models_of(seed_results(0, split="xyz"))


def only(results, *models):
    kept = {field: tuple(v for v in getattr(results, field) if v["model"] in models) for field in ("rows", "episodes")}
    return dataclasses.replace(results, **kept)


@pytest.fixture
def small_arena(monkeypatch, place):
    """The tiny preset with the tests' encoder, so that a seed takes seconds."""
    root, common = place
    plain = trained.run_training
    small = {"encoder": common[common.index("--encoder") + 1]}

    def train(request, progress):
        overrides = {**request.overrides, "steps": 2, "batch_size": 4, "precision": "no"}
        options = dataclasses.replace(request.options, image_size=32, **small)
        plain(dataclasses.replace(request, overrides=overrides, options=options), progress)

    monkeypatch.setattr(trained, "run_training", train)
    return root


def test_the_arena_trains_evaluates_resumes_and_reports_divergence(
    small_arena, tiny_dataset, tmp_path, monkeypatch, capsys
):
    command = ["benchmark", "world-models", "--data", str(tiny_dataset), "--out", str(tmp_path), "--seeds", "2"]
    command += ["--cache", str(small_arena / "cache"), "--models", "rla-wm", "dino-wm"]
    main(command)
    results = json.loads((tmp_path / "results.json").read_text())
    assert {"rla_wm", "dino_wm", "persistence", "oracle"} <= {row["model"] for row in results["rows"]}
    assert results["cost"]["dino_wm"]["calls"] == 1 < results["cost"]["rla_wm"]["calls"]
    assert "RLA-WM is better than DINO-WM in token L1" in capsys.readouterr().out
    first = (tmp_path / "seed0/rla-wm/results.json").read_bytes()
    main(command)
    assert (tmp_path / "seed0/rla-wm/results.json").read_bytes() == first
    assert json.loads((tmp_path / "results.json").read_text()) == results

    def unlucky(arena, model, run, progress, *, seed):
        if (model, seed) == ("fm_wm", 0):
            raise DivergedError("the loss is nan")
        trained.train_run(arena, model, run, progress, seed=seed)

    monkeypatch.setattr(world_models, "train_run", unlucky)
    evaluated = []
    plain = world_models.evaluate_runs
    monkeypatch.setattr(
        world_models, "evaluate_runs", lambda runs, *a, **k: evaluated.append(runs[0]) or plain(runs, *a, **k)
    )
    main([*command, "fm-wm"])
    assert evaluated == [tmp_path / "seed1/fm-wm"]
    again = json.loads((tmp_path / "results.json").read_text())
    assert again["diverged"] == {"fm_wm": [0]}
    assert {row["seeds"] for row in again["rows"] if row["model"] == "fm_wm"} == {1}
    assert "diverged" in capsys.readouterr().out
    assert list(again["cost"]) == ["rla_wm", "dino_wm", "fm_wm"]
    assert rows_of(again, "rla_wm") == rows_of(results, "rla_wm")


def rows_of(results, model):
    return [row for row in results["rows"] if row["model"] == model]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], "--data"),
        (["--data", "nowhere", "--models", "gan"], "unknown model 'gan'"),
        (["--data", "nowhere", "--seeds", "0"], "at least 1"),
        (["--data", "nowhere"], "no such dataset"),
    ],
)
def test_bad_requests_end_with_one_line(tmp_path, capsys, change, message):
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", "world-models", "--out", str(tmp_path / "new"), *change])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
