from __future__ import annotations

import numpy as np
import pytest

from foreact.evaluation.aggregate import PERSISTENCE, Scoreboard
from foreact.evaluation.intervals import Bootstrap
from foreact.evaluation.rows import select

EPISODES = (3, 3, 5, 8, 8, 8)
CHUNKS = 2
MASKS = {"all": np.ones(6, dtype=bool), "moving": np.array([True, False, True, False, False, True])}


@pytest.fixture
def board() -> Scoreboard:
    rng, board = np.random.default_rng(0), Scoreboard()
    for episode in EPISODES:
        scores = {}
        for model, factor in (("rla_wm", 0.5), ("dino_wm", 0.7), (PERSISTENCE, 1.0)):
            error = factor * (1 + rng.random(CHUNKS))
            scores[model] = {"token_l1": error, "sharpness": np.stack([error, np.full(CHUNKS, 4.0)])}
        scores["true_tokens"] = {"psnr": 30 + rng.random(CHUNKS)}
        board.add(episode, scores)
    return board


def pick(rows, **keys):
    found = select(rows, **keys)
    assert len(found) == 1
    return found[0]


def test_rows_average_episodes_of_the_subset(board):
    rows = board.rows(MASKS, Bootstrap())
    values = board.values("rla_wm", "token_l1")
    row = pick(rows, model="rla_wm", metric="token_l1", chunk=2, subset="all")
    means = [values[:2, 1].mean(), values[2, 1], values[3:, 1].mean()]
    assert (row.mean, row.n) == (pytest.approx(np.mean(means)), 3)
    assert row.low < row.mean < row.high
    row = pick(rows, model="rla_wm", metric="token_l1", chunk=1, subset="moving")
    assert (row.mean, row.n) == (pytest.approx(values[[0, 2, 5], 0].mean()), 3)


def test_skill_and_sharpness_are_ratios_of_sums(board):
    rows = board.rows(MASKS, Bootstrap())

    def means(model):
        values = board.values(model, "token_l1")[:, 0]
        return np.array([values[:2].mean(), values[2], values[3:].mean()])

    skill = pick(rows, model="rla_wm", metric="token_l1_skill", chunk=1, subset="all")
    assert skill.mean == pytest.approx(1 - means("rla_wm").sum() / means(PERSISTENCE).sum())
    sharpness = pick(rows, model="dino_wm", metric="sharpness", chunk=1, subset="all")
    assert sharpness.mean == pytest.approx(means("dino_wm").sum() / 12)
    still = pick(rows, model=PERSISTENCE, metric="token_l1_skill", chunk=1, subset="all")
    assert (still.mean, still.low, still.high) == (0, 0, 0)


def test_every_model_has_rows_for_what_is_known_of_it_only(board):
    rows = board.rows(MASKS, Bootstrap())
    assert {r.metric for r in rows if r["model"] == "true_tokens"} == {"psnr"}
    assert len(rows) == (3 * 3 + 1) * CHUNKS * 2


def test_an_empty_subset_has_no_rows(board):
    rows = board.rows({"all": MASKS["all"], "moving": np.zeros(6, dtype=bool)}, Bootstrap())
    assert {r["subset"] for r in rows} == {"all"}


def test_differences_are_paired_and_earlier_minus_later(board):
    pairs = board.differences(("rla_wm", "dino_wm", PERSISTENCE), MASKS, Bootstrap())
    pair = pick(pairs, model="rla_wm", reference="dino_wm", metric="token_l1", chunk=1, subset="all")
    difference = (board.values("rla_wm", "token_l1") - board.values("dino_wm", "token_l1"))[:, 0]
    assert pair.mean == pytest.approx(np.mean([difference[:2].mean(), difference[2], difference[3:].mean()]))
    assert {(p["model"], p["reference"]) for p in pairs} == {
        ("rla_wm", "dino_wm"),
        ("rla_wm", PERSISTENCE),
        ("dino_wm", PERSISTENCE),
    }
    assert {p.metric for p in pairs} == {"token_l1"}  # a difference of ratios of sums is not paired by window


def test_dropped_metrics_are_gone_with_their_twin(board):
    for scores in board.scores["rla_wm"]:
        scores["token_l1_best_of_k"] = scores["token_l1"]
    board.drop("token_l1")
    assert board.metrics("rla_wm") == ("sharpness",)
