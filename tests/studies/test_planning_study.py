"""The study of planners at its smallest: two plans, two seeds, controls, and what is not done twice."""

from __future__ import annotations

import json

import pytest

from foreact.cli import main
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.evaluation.results import Results
from foreact.studies import planning
from tests.ring_world import demonstrate

PLANS = ("cem:1x8", "shooting:4x40")


@pytest.fixture(scope="module")
def study(ring, tmp_path_factory, in_small):
    root = tmp_path_factory.mktemp("planning")
    data = str(demonstrate(root / "data", 16, ring=True))
    TinyEncoderConfig(stem=(4, 4, 4), dim=8, depth=1, heads=2).build().save_pretrained(root / "encoder")
    with in_small():
        main(["train", "dino-wm", "--data", data, "--out", str(root / "wm"), "--cache", str(root / "cache"), "--encoder",
              str(root / "encoder"), "--image-size", "32", "--batch-size", "4", "--steps", "1", "--precision", "no"])  # fmt: skip
    words = ["benchmark", "planning", "--runs", str(root / "wm"), "--data", data, "--env", "ring", "--seeds", "2", "--episodes", "3",
             "--goals", "3", "6", "--plans", *PLANS, "--horizon", "4", "--execute", "2", "--out", str(root / "out")]  # fmt: skip
    main(words)
    return root / "out", words


def test_every_plan_and_control_is_in_the_table(study):
    results = Results.load(study[0] / "results.json")
    seeds = {row["model"]: row.seeds for row in results.rows if row.metric == "final_distance"}
    assert {name: seeds[f"wm/{name}"] for name in PLANS} == dict.fromkeys(PLANS, 2)
    assert {"recorded", "random", "persistence", "simulator"} <= seeds.keys()
    assert {row["subset"] for row in results.rows} == {"3", "6"}
    assert all(row.n == 3 for row in results.rows)
    assert "| wm/cem:1x8 | 3 |" in planning.table(results)


def test_verdicts_compare_with_all_controls_and_the_largest_budget(study):
    claims = [told.claim for told in Results.load(study[0] / "results.json").verdicts]
    assert len(claims) == 2 * (2 * 3 + 1)
    assert "wm/cem:1x8 takes 10 times fewer seconds per plan than wm/shooting:4x40, 3 actions ahead" in claims


def test_seeds_are_of_the_planner_and_goals_the_same(study):
    played = [Results.load(study[0] / f"seed{seed}" / "wm" / "shooting-4x40" / "plan.json") for seed in (0, 1)]
    starts, ends = (
        [next(e.values for e in one.episodes if e.metric == name) for one in played]
        for name in ("start_distance", "final_distance")
    )
    assert starts[0] == starts[1]
    assert ends[0] != ends[1]


def test_what_is_done_is_not_done_again(study, monkeypatch):
    out, words = study
    before = json.loads((out / "results.json").read_text())
    monkeypatch.setattr(planning, "plan", lambda *_: pytest.fail("played again"))
    main(words)
    assert json.loads((out / "results.json").read_text())["rows"] == before["rows"]


@pytest.mark.parametrize(
    ("wrong", "message"), [("cem", "write SOLVER:ITERATIONSxSAMPLES"), ("cem:0x8", "a budget of 0 iterations")]
)
def test_a_plan_that_means_nothing_is_named(study, wrong, message, capsys, tmp_path):
    words = [wrong if word == PLANS[0] else word for word in study[1]]
    with pytest.raises(SystemExit):
        main([*words[:-1], str(tmp_path)])
    assert message in capsys.readouterr().err
