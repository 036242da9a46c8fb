"""Splits: by episode, per task, deterministic, with a hash."""

import time
from collections import Counter
from types import SimpleNamespace

import pytest

from foreact.core.errors import ForeactError
from foreact.data.lerobot import LeRobotDataset
from foreact.recordings.splits import Split, split_episodes


def test_no_episode_is_on_both_sides_and_every_task_is_held_out(make_dataset):
    dataset = LeRobotDataset(make_dataset(lengths=(5,) * 14, tasks=("push", "pull")))
    split = split_episodes(dataset)
    assert not set(split.train) & set(split.validation)
    assert len(split.train) + len(split.validation) == 14
    assert {dataset.episodes[e].task for e in split.validation} == {"push", "pull"}


def test_it_is_deterministic_and_the_hash_tells_splits_apart(tiny_dataset):
    dataset = LeRobotDataset(tiny_dataset)
    assert split_episodes(dataset) == split_episodes(dataset)
    assert split_episodes(dataset).hash == split_episodes(dataset).hash
    assert len({split_episodes(dataset, seed=seed).hash for seed in range(8)}) > 1


def test_file_round_trip(tiny_dataset, tmp_path):
    split = split_episodes(LeRobotDataset(tiny_dataset))
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(ForeactError, match="not a readable split"):
        Split.load(tmp_path / "split.json")


def test_episodes_of_one_frame_are_left_out_and_one_episode_is_not_enough(make_dataset):
    dataset = LeRobotDataset(make_dataset(lengths=(1, 9, 8, 7)))
    split = split_episodes(dataset)
    assert 0 not in (*split.train, *split.validation)
    assert split.validation
    with pytest.raises(ForeactError, match="needs at least two"):
        split_episodes(LeRobotDataset(make_dataset(lengths=(1, 9))))


def told(tasks):
    """A dataset of which nothing is known but its episodes' tasks."""
    episodes = [SimpleNamespace(index=2 * k, length=5, task=task) for k, task in enumerate(tasks)]
    return SimpleNamespace(root="told", episodes=episodes, fingerprint=lambda: "0123456789abcdef")


@pytest.mark.parametrize(
    ("tasks", "hashes"),
    [
        (["a"] * 6, ("ec702878925b", "f209883319cc")),
        (["a"] * 3, ("5cd4ef070eaa", "e7a6e97adf36")),
        (["a"] * 50, ("22aba7fa6336", "ee7852d37f3e")),
        (["a", "b"] * 7, ("3fb05c2a54d3", "a7f8023c5b04")),
        (["a"] * 9 + ["b"] * 3, ("f0997e5d7abc", "ec3d0db471ed")),
        (["a"] * 4 + ["b"] * 4, ("082bca6d9fff", "4dc8927be2f8")),
        (["a", "a", "b"], ("5cd4ef070eaa", "5cd4ef070eaa")),
        (["a"] * 20 + ["b"] * 13 + ["c"] * 4, ("d10094259bc5", "5280ca9ad597")),
        ([str(k % 10) for k in range(100)], ("0b139143de1a", "f573dd580fb3")),
    ],
)
def test_splits_of_before_stay_where_tasks_have_enough_episodes(tasks, hashes):
    assert tuple(split_episodes(told(tasks), seed=seed).hash for seed in (0, 3)) == hashes


@pytest.mark.parametrize("per_task", [1, 2, 3, 4, 40])
def test_the_share_is_held_out_however_few_episodes_a_task_has(per_task):
    tasks = [f"task {k // per_task}" for k in range(120)]
    split = split_episodes(told(tasks))
    assert len(split.validation) == 18
    assert not set(split.train) & set(split.validation)
    assert len(split.train) == 102
    held_out = Counter(tasks[number // 2] for number in split.validation)
    assert max(held_out.values()) <= max(1, round(0.15 * per_task) + 1)
    if per_task > 1:
        assert {tasks[number // 2] for number in split.train} == set(tasks)
    assert len({split_episodes(told(tasks), seed=seed).hash for seed in range(5)}) == 5


@pytest.mark.parametrize("large", [60, 100])
def test_a_large_task_keeps_its_share_beside_many_small_ones(large):
    tasks = ["large"] * large + [f"task {k}" for k in range(200 - large)]
    held_out = split_episodes(told(tasks)).validation
    assert len(held_out) == 30
    assert sum(number < 2 * large for number in held_out) == round(0.15 * large)


def test_twenty_thousand_sentences_are_split_in_linear_time():
    begun = time.perf_counter()
    assert len(split_episodes(told([f"sentence {k}" for k in range(20_000)])).validation) == 3000
    assert time.perf_counter() - begun < 5
