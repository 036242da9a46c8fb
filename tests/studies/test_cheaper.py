"""What makes imagination cheaper: verdicts with a margin, seeds, resume, divergence, and what cannot be studied."""

import json
import shutil

import numpy as np
import pytest

from foreact.cli import main
from foreact.core.errors import DivergedError
from foreact.studies import cheaper, sampler_variants, trained
from foreact.studies.sampler_variants import METRICS, SamplerVariant


def made_up(variant, factor, noise=0.0):
    """Three seeds of 40 episodes; every metric `factor` times a common course."""
    course = factor * np.random.default_rng(0).uniform(1, 2, (3, 40))
    return {variant.key(m, 3): course + np.random.default_rng(1).normal(0, noise, course.shape) for m in METRICS}


def test_the_margin_is_between_as_good_and_worse():
    merged, student = SamplerVariant(run="merged", solver="midpoint"), SamplerVariant(run="student", solver="euler")
    values = made_up(cheaper.REFERENCE, 1.0) | made_up(cheaper.VARIANTS[1], 1.01)
    values |= made_up(merged, 1.1) | made_up(student, 1.02, noise=0.5)
    told = {v.claim: v.verdict for v in cheaper.verdicts(values)}
    claim = "{} is at most 2% worse than plain, euler 30 in token L1"
    assert told[claim.format("plain, midpoint 1")] == "holds"
    assert told[claim.format("merged, midpoint 1")] == "does not hold"
    assert told[claim.format("student, euler 1")] == "undecided"


@pytest.fixture
def command(place, tiny_dataset, tmp_path, monkeypatch):
    """Two seeds of everything, two steps each, four patches by four."""
    root, common = place
    monkeypatch.setattr(cheaper, "PROTOCOL", cheaper.Protocol(starts_per_episode=1, samples=2))
    asked = [
        "--encoder",
        common[common.index("--encoder") + 1],
        "--image-size",
        "64",
        "--steps",
        "2",
        "--batch-size",
        "4",
    ]
    return ["benchmark", "cheaper", "--data", str(tiny_dataset), "--out", str(tmp_path), "--seeds", "2", "--merged-steps", "3", *asked,
            "--cache", str(root / "cache")]  # fmt: skip


@pytest.mark.slow
def test_it_trains_scores_resumes_and_reports_divergence(command, tmp_path, monkeypatch, capsys):
    main(command)
    results = json.loads((tmp_path / "results.json").read_text())
    cost = {(r["run"], r["solver"], r["steps"]): results["cost"][r["model"]]["flops"] for r in results["rows"]}
    assert cost["merged", "midpoint", 1] < cost["merged-condition", "midpoint", 1] < cost["plain", "midpoint", 1]
    assert cost["student-shallow", "euler", 1] < cost["student", "euler", 1] < cost["merged", "midpoint", 1]
    assert {r["seeds"] for r in results["rows"]} == {2}
    steps = {
        name: json.loads((tmp_path / "seed1" / name / "log.jsonl").read_text().splitlines()[-1])["step"]
        for name in ("plain", "rla-merged", "merged", "student")
    }
    assert steps == {"plain": 2, "rla-merged": 3, "merged": 3, "student": 2}
    assert "plain, euler 30" not in {v["claim"].split(" is at most")[0] for v in results["verdicts"]}
    assert "merged, midpoint 1 is at most 2% worse" in capsys.readouterr().out
    first = (tmp_path / "seed1/merged/results.json").read_bytes()
    monkeypatch.setattr(sampler_variants, "score", None)  # nothing is scored again
    main(command)
    assert (tmp_path / "seed1/merged/results.json").read_bytes() == first
    assert json.loads((tmp_path / "results.json").read_text()) == results

    def unlucky(study, model, run, progress, *, seed, **choices):
        if (run.name, seed) == ("merged", 0):
            raise DivergedError("the loss is nan")
        trained.train_run(study, model, run, progress, seed=seed, **choices)

    monkeypatch.setattr(cheaper, "train_run", unlucky)
    for name in ("merged", "student", "student-shallow"):  # a run that diverged leaves no model
        shutil.rmtree(tmp_path / "seed0" / name)
    main(command)
    again = json.loads((tmp_path / "results.json").read_text())
    assert again["diverged"] == {"merged": [0], "student": [0], "student-shallow": [0]}
    assert {r["seeds"] for r in again["rows"] if r["run"] == "merged"} == {1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--image-size", "48"], "--merge 2 does not fit 3 x 3 patches"),
        (["--data", "nowhere"], "no such dataset"),
    ],
)
def test_what_cannot_be_studied_is_one_line(command, capsys, change, message):
    with pytest.raises(SystemExit) as ended:
        main([*command, *change])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
