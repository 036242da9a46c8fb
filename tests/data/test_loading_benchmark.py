"""benchmarks/loading.py: all its ways give the same samples, rates count samples, and warm is cold once more."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from foreact.data.lerobot import LeRobotDataset

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIZE, HORIZON = 32, 5


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import loading

    return loading


@pytest.fixture
def setting(loading: ModuleType, make_dataset: Any, tmp_path: Path) -> Any:
    """Of square pictures, so that no way scales them otherwise than another."""
    dataset = LeRobotDataset(make_dataset(lengths=(37, 41, 29), height=SIZE, width=SIZE))
    actions = {episode.index: dataset.actions(episode.index) for episode in dataset.episodes}
    return loading.Setting(dataset=dataset, actions=actions, image_size=SIZE, horizon=HORIZON, folder=tmp_path)


def test_all_ways_give_the_frames_and_actions_that_were_asked_for(loading: ModuleType, setting: Any) -> None:
    pairs = next(setting.pairs(0))
    assert len(set(zip(pairs.episode, pairs.start))) > 32
    films = {e.index: setting.dataset.frames(e.index) for e in setting.dataset.episodes}
    wanted = [np.stack([films[e][t + gap] for e, t in zip(pairs.episode, pairs.start)]) for gap in (0, HORIZON)]
    chunks = [setting.actions[int(e)][t : t + HORIZON] for e, t in zip(pairs.episode, pairs.start)]
    encode = loading.PatchMeans(SIZE).encode
    for make in (loading.random_access, loading.token_cache, loading.one_access_per_sample):
        *both, actions = make(setting)(pairs)
        np.testing.assert_allclose(np.asarray(actions)[:, :HORIZON], np.stack(chunks), rtol=1e-6)
        for found, frames in zip(both, wanted):
            found, truth = torch.as_tensor(found), torch.from_numpy(frames)
            if make is loading.token_cache:
                torch.testing.assert_close(found.float(), encode(truth), atol=0.01, rtol=0.01)
            elif make is loading.one_access_per_sample:
                assert (255 * found.permute(0, 2, 3, 1) - truth).abs().mean() < 2  # another conversion of colours
            else:
                assert torch.equal(found, truth)


def test_frames_in_order_are_each_of_every_episode(loading: ModuleType, setting: Any) -> None:
    batches = itertools.islice(loading.in_order(setting), 3)
    for episode, (first, second, actions) in zip(setting.dataset.episodes, batches):
        frames = setting.dataset.frames(episode.index)
        np.testing.assert_array_equal(first, frames[:-HORIZON])
        np.testing.assert_array_equal(second, frames[HORIZON:])
        assert len(actions) == episode.length - HORIZON


def test_a_rate_counts_samples_over_the_time_they_took(loading: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=2.0)  # seconds; it is asked at the start, after each batch and at the end
    monkeypatch.setattr(loading.time, "perf_counter", lambda: next(clock))
    batch = (None, None, np.zeros(64))
    assert loading.rate(iter([batch] * 3), seconds=100) == (3 * 64 / 8, 3)
    assert loading.rate(itertools.repeat(batch), seconds=3.5) == (2 * 64 / 6, 2)


def test_warm_reads_once_more_what_cold_read(
    loading: ModuleType, setting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Any] = []

    def rate(batches: Iterator[Any], seconds: float) -> tuple[float, int]:
        read = list(itertools.islice(batches, 4 if events[-1] == "forgotten" else 5))
        events.append(read)
        return 1.0 + len(events), 2

    monkeypatch.setattr(loading, "forget", lambda files: events.append("forgotten"))
    monkeypatch.setattr(loading, "rate", rate)
    monkeypatch.setattr(type(setting), "pairs", lambda self, repeat: ((repeat, k) for k in itertools.count()))
    monkeypatch.setattr(loading, "BATCH", 16)  # so that a pass has several
    rates = loading.measure(setting, lambda setting: lambda pairs: pairs, 1.0)
    cold = setting.dataset.total_frames // 16
    assert cold > 2
    for repeat in range(loading.REPEATS):
        forgotten, first, second = events[3 * repeat : 3 * repeat + 3]
        assert forgotten == "forgotten"
        assert first == [(repeat, k) for k in range(cold)][:4]
        assert second == [(repeat, k % 2) for k in range(5)]
    assert [len(rates[kind]) for kind in ("cold", "warm")] == [loading.REPEATS] * 2
    assert max(rates["cold"]) < max(rates["warm"])


@pytest.mark.slow
def test_it_runs_shows_and_writes(
    loading: ModuleType, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    out = tmp_path / "out.json"
    asked = [str(tiny_dataset), "--seconds", "0", "--image-size", str(SIZE), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["loading.py", *asked])
    loading.main()
    results, shown = json.loads(out.read_text()), capsys.readouterr().out
    ways = ["decoding in order", "decoding at random", "token cache", "LeRobot's way, with PyAV"]
    assert list(results["ways"])[:4] == ways
    for name, rates in results["ways"].items():
        assert name.split()[0] in shown
        assert all(len(rates[kind]) == 3 for kind in ("cold", "warm"))
    assert results["setting"]["image_size"] == SIZE
