"""Splits: by episode, per task, deterministic, with a hash."""

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
