"""The `tiny` preset at its own sizes, for a tenth of its steps: what it has learned of held-out episodes by then.

Measured with seeds 0, 1 and 2: RLA-WM's skill is 0.20, 0.21 and 0.20, and 0.12, 0.09 and 0.14 with the actions of other
moments; DINO-WM's 0.27, 0.27 and 0.26, and -0.05, -0.02 and 0.00. What is asserted leaves 40 % of the smallest, and more.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from foreact.core.pretrained import load_model
from foreact.core.registry import card
from foreact.data.lerobot import LeRobotDataset
from foreact.encoders.loading import load_encoder
from foreact.training.run import TrainRequest, run_training

SIZE, STEPS, CHUNK = 64, 80, 10
PARTS = {"rla-wm": ("rla",)}


def train(kind: str, data: Path, root: Path, *, seed: int = 0) -> Path:
    """The preset's own recipe, but shorter: its Muon, its schedule, its loss."""

    @contextlib.contextmanager
    def silent(title: str, unit: str) -> Iterator[Any]:
        yield lambda done, total, values=None: None

    request = TrainRequest(
        kind=kind,
        data=data,
        out=root / kind,
        preset="tiny",
        options=card(kind).training(image_size=SIZE),
        cache=root / "cache",
        overrides={
            "steps": STEPS,
            "batch_size": 16,
            "warmup": 10,
            "save_every": STEPS,
            "precision": "no",
            "seed": seed,
        },
    )
    run_training(request, silent)
    return root / kind


def held_out_chunks(data: Path, run: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens before and after CHUNK actions, all over the episodes that were held out, and the actions, padded."""
    dataset, encoder = LeRobotDataset(data), load_encoder("tiny", image_size=SIZE)
    before, actions, after = [], [], []
    for episode in json.loads((run / "split.json").read_text())["validation"]:
        tokens = encoder.encode(torch.from_numpy(dataset.frames(episode, size=SIZE))).float()
        taken = torch.from_numpy(dataset.actions(episode)).float()
        for t in range(0, len(tokens) - CHUNK, 2):
            before.append(tokens[t])
            after.append(tokens[t + CHUNK])
            actions.append(taken[t : t + CHUNK])
    assert len(before) > 100
    return torch.stack(before), torch.stack(actions), torch.stack(after)


def skill_of(run: Path, before: Tensor, actions: Tensor, after: Tensor) -> float:
    """1 - L1 / L1 of persistence, in tokens, after one chunk."""
    model = load_model(run)
    padded = torch.zeros(len(actions), model.config.horizon, actions.shape[2])
    padded[:, :CHUNK] = actions
    noise = model.draw_noise(len(before), torch.Generator().manual_seed(0))
    with torch.no_grad():
        future = model.predict(before, padded, torch.full((len(before),), CHUNK), noise)
    return 1 - ((future - after).abs().mean() / (before - after).abs().mean()).item()


@pytest.fixture(scope="module")
def learned(
    make_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[float, float]]:
    """Of a world model its skill with the true actions, and with those of moments half the list away."""
    data = make_dataset(lengths=[37 + i % 7 for i in range(60)], height=SIZE, width=SIZE, seed=4)
    root = tmp_path_factory.mktemp("learned")

    @lru_cache
    def of(kind: str) -> tuple[float, float]:
        run = [train(part, data, root) for part in (*PARTS.get(kind, ()), kind)][-1]
        before, actions, after = held_out_chunks(data, run)
        others = actions.roll(len(actions) // 2, dims=0)
        return skill_of(run, before, actions, after), skill_of(run, before, others, after)

    return of


RLA_WM = pytest.param("rla-wm", 0.12, marks=pytest.mark.slow), pytest.param("rla-wm", 0.03, marks=pytest.mark.slow)


@pytest.mark.parametrize(("kind", "least"), [RLA_WM[0], ("dino-wm", 0.15)])
def test_it_predicts_unseen_episodes_better_than_standing_still(learned, kind: str, least: float) -> None:
    assert learned(kind)[0] > least


@pytest.mark.parametrize(("kind", "least"), [RLA_WM[1], ("dino-wm", 0.15)])
def test_it_predicts_worse_from_the_actions_of_another_moment(learned, kind: str, least: float) -> None:
    right, wrong = learned(kind)
    assert right - wrong > least
