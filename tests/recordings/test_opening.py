"""Datasets opened: chosen, broken and missing episodes, caches of some episodes, splits of one and several, embodiments."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from edited_data import DATA, edit_feature, set_column

from foreact.core.batch import Columns
from foreact.core.errors import ForeactError
from foreact.core.progress import progress_bar
from foreact.core.recipe import PairSampling
from foreact.data.lerobot import LeRobotDataset
from foreact.recordings import opening
from foreact.recordings.batches import PairBatches
from foreact.recordings.describe import describe
from foreact.recordings.frames import FrameBatches, RecordedFrames
from foreact.recordings.opening import number_embodiments, open_recordings
from foreact.recordings.sources import EpisodeChoice, Source
from foreact.recordings.splits import Split, Splits, split_episodes, split_of_run
from foreact.recordings.windows import Window, WindowBatches


@pytest.fixture
def read(tmp_path):
    def open_(data, **options):
        return open_recordings(
            data, encoder="pixels", image_size=32, cache=tmp_path / "cache", progress=progress_bar, **options
        )

    return open_


@pytest.fixture
def copy(tiny_dataset, tmp_path):
    return shutil.copytree(tiny_dataset, tmp_path / "copy")


def used(split):
    return {*split.train, *split.validation}


def at_rate(root, fps):
    """The dataset as one of another rate: says so in its metadata alone."""
    path = root / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fps": fps}))
    return root


def test_nothing_chosen_is_the_split_of_before(read, tiny_dataset):
    recordings = read(tiny_dataset)
    assert recordings.split == split_episodes(LeRobotDataset(tiny_dataset))
    assert recordings.splits.hash == recordings.split.hash


def test_only_chosen_episodes_are_split_and_encoded_and_more_are_added_to_the_cache(read, tiny_dataset, tmp_path):
    some = read(tiny_dataset, episodes=EpisodeChoice.parse("1,3:5"))
    assert used(some.split) == {1, 3, 4}
    assert some.split.hash != split_episodes(some.dataset).hash
    (noted,) = (tmp_path / "cache").rglob("tokens.json")
    assert json.loads(noted.read_text())["episodes"] == [1, 3, 4]
    with pytest.raises(ForeactError, match=r"episode 0 .* was left out"):
        some.cache.tokens(0)
    before = some.cache.tokens(3).copy()
    assert some.cache.at(some.dataset, some.encoder, tmp_path / "cache").required_bytes(frames=False) == (
        (37 + 43 + 37) * before[0].nbytes
    )
    whole = read(tiny_dataset)
    np.testing.assert_array_equal(whole.cache.tokens(3), before)
    fresh = read(tiny_dataset, live=True)
    for episode in whole.dataset.episodes:
        np.testing.assert_array_equal(whole.cache.tokens(episode.index), fresh.cache.tokens(episode.index))
    assert json.loads(noted.read_text()) == {
        "frames": 258,
        "encoder": whole.tokens.fingerprint,
        "dataset": whole.dataset.fingerprint(),
    }


def test_a_choice_that_leaves_nothing_to_hold_out(read, tiny_dataset):
    with pytest.raises(ForeactError, match=r"1 episodes .* among the 1 that are chosen; a split needs at least two"):
        read(tiny_dataset, episodes=EpisodeChoice.parse("2"))


def test_a_missing_data_file_is_named_before_anything_is_learnt(read, copy):
    data = next(copy.glob("data/*/*.parquet"))
    data.unlink()
    with pytest.raises(ForeactError, match=rf"{data} is missing \(episode 0\), nor are the files of 5 more"):
        read(copy)


def test_an_action_that_leads_nowhere_is_in_no_batch(read, copy):
    whole = read(copy)
    edited = copy.with_name("edited")
    shutil.copytree(copy, edited)
    ends = np.cumsum([e.length for e in whole.dataset.episodes]) - 1
    values = pq.read_table(edited / DATA).column("action").to_pylist()
    for row in ends:
        values[row] = [float("nan")] * 2
    set_column(edited / DATA, "action", values)
    lacking = read(edited, splits=[whole.split])
    law = PairSampling(max_horizon=60, law="uniform", moving=0.0)
    for step in range(3):
        first, second = (
            PairBatches(r, law=law, columns=Columns(actions=60), batch_size=16, seed=0)(step, 0, 1)
            for r in (whole, lacking)
        )
        assert torch.equal(first.actions, second.actions)
    window = Window(columns={"action": tuple(range(60))})
    batch = WindowBatches(lacking, window=window, batch_size=64, seed=0)(0, 0, 1)
    assert torch.isfinite(batch.columns["action"]).all()
    for one, other in zip(whole.action_statistics(), lacking.action_statistics(), strict=True):
        assert torch.equal(one, other)


def test_a_column_of_words_is_refused_before_a_batch_is_drawn(read, copy):
    set_column(copy / DATA, "note", ["grasp"] * 258)
    edit_feature(copy, "note", {"dtype": "string", "shape": [1]})
    with pytest.raises(ForeactError, match="note holds no numbers, so it cannot be in a batch"):
        WindowBatches(read(copy), window=Window(columns={"note": (0,)}), batch_size=4, seed=0)


def test_missing_videos_are_named_or_left_out(read, copy, capfd):
    video = sorted(copy.rglob("*.mp4"))[2]
    video.unlink()
    with pytest.raises(ForeactError, match=rf"{video.name} is missing \(episode 2\).*--skip-missing"):
        read(copy)
    recordings = read(copy, skip_missing=True)
    assert used(recordings.split) == {0, 1, 3, 4, 5}
    assert f"left out episode 2 ({video} is missing)" in capfd.readouterr().err
    batch = FrameBatches(recordings, batch_size=8, seed=0)(0, 0, 1)
    assert batch.frames.shape == (8, 32, 32, 3)
    for lost in copy.rglob("*.mp4"):
        lost.unlink()
    with pytest.raises(ForeactError, match=r"every chosen episode is left out, such as 0 \(.*file-000\.mp4 is missing"):
        read(copy, skip_missing=True)


def test_broken_episodes_are_left_out_and_named(read, copy, capfd):
    videos = sorted(copy.rglob("*.mp4"))
    videos[4].write_bytes(videos[4].read_bytes()[:300])
    shutil.copy(videos[0], videos[5])  # as long as it, so the same pictures once more
    recordings = read(copy, skip_defective=True)
    assert used(recordings.split) == {0, 1, 2, 3}
    said = capfd.readouterr().err
    assert "left out episode 4 (" in said
    assert "left out episode 5 (episode 5: duplicate of episode 0 (the same pictures" in said


def test_two_cameras_of_one_dataset_hold_out_the_same_episodes(read, two_camera_dataset, tmp_path):
    root = shutil.copytree(two_camera_dataset, tmp_path / "two")
    (root / "videos/observation.images.side/chunk-000/file-001.mp4").unlink()
    recordings = read((root, Source(path=root, camera="side")), skip_missing=True)
    assert [s.dataset.camera.rsplit(".")[-1] for s in recordings.sources] == ["top", "side"]
    assert [used(s.split) for s in recordings.sources] == [{0, 2}] * 2
    assert recordings.sources[0].split.validation == recordings.sources[1].split.validation


def test_several_sources_are_drawn_by_their_weights(read, tiny_dataset, two_camera_dataset):
    recordings = read((f"{tiny_dataset}:3", two_camera_dataset))
    batches = PairBatches(
        recordings, law=PairSampling(), columns=Columns(actions=15, states=True), batch_size=4000, seed=0
    )
    source, pairs = batches.sample(5, 4000)
    assert (source == 0).mean() == pytest.approx(0.75, abs=0.03)
    for number, one in enumerate(recordings.sources):
        assert set(pairs.episode[source == number]) == set(one.split.train)
    batch = batches(5, 3, 100)  # rows 120 to 159
    for row, (k, e, t, h) in enumerate(zip(source, pairs.episode, pairs.start, pairs.horizon, strict=True)):
        if 120 <= row < 160:
            one = recordings.sources[k]
            np.testing.assert_array_equal(batch.tokens_t[row - 120], one.cache.tokens(e)[t])
            np.testing.assert_array_equal(batch.tokens_th[row - 120], one.cache.tokens(e)[t + h])
            np.testing.assert_array_equal(batch.actions[row - 120, :h], one.dataset.actions(e)[t : t + h])
            np.testing.assert_array_equal(batch.state_t[row - 120], one.dataset.column("observation.state", e)[t])
            assert not batch.actions[row - 120, h:].any()
    assert not np.array_equal(batches.sample(6, 4000)[0], source)
    frames = FrameBatches(recordings, batch_size=16, seed=0)
    assert torch.equal(frames(1, 1, 2).tokens, frames(1, 0, 1).tokens[8:])
    assert RecordedFrames(recordings, batch_size=4, seed=0)(0, 0, 1).frames.shape == (4, 48, 64, 3)


def test_statistics_of_several_sources_are_those_of_what_is_drawn(read, tiny_dataset, two_camera_dataset):
    recordings = read((f"{tiny_dataset}:3", two_camera_dataset))
    rows = [np.concatenate([a[:-1] for a in s.actions.values()]) for s in recordings.sources]
    rng = np.random.default_rng(0)
    drawn = np.concatenate([r[rng.integers(len(r), size=n)] for r, n in zip(rows, (300_000, 100_000), strict=True)])
    mean, std = recordings.action_statistics()
    np.testing.assert_allclose(mean, drawn.mean(axis=0), rtol=0.01)
    np.testing.assert_allclose(std, drawn.std(axis=0), rtol=0.01)
    told = describe(recordings)
    assert told["data"] == [str(tiny_dataset), str(two_camera_dataset)]
    for source, about in zip(recordings.sources, told["sources"], strict=True):
        assert about["action"]["mean"] == source.action_statistics()[0].astype(float).tolist()
        assert about["split_hash"] == source.split.hash


def test_other_rates_get_pairs_of_the_same_duration_and_are_refused_where_actions_count(read, tiny_dataset, copy):
    fast = at_rate(copy, 20)
    recordings = read((tiny_dataset, fast))
    batches = PairBatches(recordings, law=PairSampling(max_horizon=9), columns=Columns(), batch_size=500, seed=0)
    source, pairs = batches.sample(0, 500)
    assert [pairs.horizon[source == k].max() for k in (0, 1)] == [9, 18]
    with pytest.raises(ForeactError, match=r"copy has the actions per second 20, .* has 10: .* same rate"):
        PairBatches(recordings, law=PairSampling(), columns=Columns(actions=15), batch_size=8, seed=0)


def test_other_actions_are_refused_by_name(read, tiny_dataset, copy):
    path = copy / "meta/info.json"
    info = json.loads(path.read_text())
    info["features"]["action"]["names"] = ["left", "right"]
    path.write_text(json.dumps(info))
    recordings = read((tiny_dataset, copy))
    with pytest.raises(ForeactError, match=r"copy has the actions \(left, right\), .* has \(target_x, target_y\)"):
        recordings.require_actions()
    with pytest.raises(ForeactError, match="one dataset at a time, not with 2"):
        _ = recordings.split


def test_pictures_of_two_sizes_go_together_as_tokens_alone(read, tiny_dataset, make_dataset):
    recordings = read((tiny_dataset, make_dataset(lengths=(9, 9, 9), height=32, width=32)))
    assert FrameBatches(recordings, batch_size=8, seed=0)(0, 0, 1).frames.shape == (8, 32, 32, 3)
    with pytest.raises(ForeactError, match=r"32 x 32, those of .* 48 x 64: .* needs one size"):
        RecordedFrames(recordings, batch_size=8, seed=0)


def test_robots_of_one_type_share_a_number_and_states_are_padded(read, tiny_dataset, copy, actionless_dataset):
    path = copy / "meta/info.json"
    info = json.loads(path.read_text())
    del info["features"]["observation.state"]
    path.write_text(json.dumps(info | {"robot_type": "Human"}))
    recordings = read((tiny_dataset, copy, actionless_dataset))
    assert [s.embodiment for s in recordings.sources] == [1, 0, 1]
    batches = PairBatches(recordings, law=PairSampling(), columns=Columns(states=True), batch_size=60, seed=0)
    batch = batches(0, 0, 1)
    assert torch.equal(batch.state_t.isnan().all(dim=1), batch.embodiment == 0)
    states = batches.states()
    assert states.keys() == {1}
    assert len(states[1]) == sum(s.dataset.episode(e).length for s in recordings.sources[::2] for e in s.split.train)


def test_unnamed_robots_are_someone_of_their_own(tiny_dataset, copy):
    one, other = LeRobotDataset(tiny_dataset), LeRobotDataset(copy)
    one.robot_type = other.robot_type = None
    assert number_embodiments([one, other, one, LeRobotDataset(tiny_dataset)]) == [1, 2, 1, 3]


def test_a_runs_split_is_found_by_its_dataset(read, tiny_dataset, two_camera_dataset, tmp_path):
    recordings = read((tiny_dataset, two_camera_dataset))
    recordings.splits.save(tmp_path / "split.json")
    assert Splits.load(tmp_path / "split.json") == recordings.splits
    assert len({recordings.splits.hash, *(s.split.hash for s in recordings.sources)}) == 3
    for source in recordings.sources:
        assert split_of_run(tmp_path, source.dataset) == source.split
    assert split_of_run(tmp_path, LeRobotDataset(two_camera_dataset, camera="side")) is None
    with pytest.raises(ForeactError, match="splits 2 datasets, where one is expected"):
        Split.load(tmp_path / "split.json")
    given = [Split(dataset="x", train=(1, 2), validation=(0,)), None]
    assert [s.split for s in read((tiny_dataset, two_camera_dataset), splits=given).sources] == [
        given[0],
        recordings.sources[1].split,
    ]


def test_sources_of_several_encoders_are_refused(read, tiny_dataset, monkeypatch):
    one, other = (
        read(tiny_dataset),
        open_recordings(tiny_dataset, encoder="pixels", image_size=16, cache=None, live=True, progress=progress_bar),
    )
    with pytest.raises(ForeactError, match="encode all datasets with one encoder"):
        opening.Recordings(sources=(*one.sources, *other.sources))


def test_what_a_batch_takes_beside_the_disk(read, tiny_dataset):
    cached, live = read(tiny_dataset), read(tiny_dataset, live=True)
    size = {"batch_size": 4, "seed": 0}

    def takes(batches):
        return batches.on_disk, batches.encodes

    def pairs(recordings, **columns):
        return PairBatches(recordings, law=PairSampling(), columns=Columns(**columns), **size)

    def window(recordings, *names):
        return WindowBatches(recordings, window=Window(columns=dict.fromkeys(names, (0,))), **size)

    assert takes(pairs(cached)) == (True, False)
    assert takes(pairs(cached, two_views=True)) == takes(pairs(live)) == (False, True)
    assert takes(FrameBatches(read(tiny_dataset, frames=True), **size)) == (True, False)
    assert takes(FrameBatches(cached, **size)) == takes(RecordedFrames(live, **size)) == (False, False)
    assert takes(FrameBatches(live, **size)) == (False, True)
    assert takes(window(cached, "observation.images.top.tokens", "action")) == (True, False)
    assert (
        takes(window(cached, "observation.images.top"))
        == takes(window(live, "observation.images.top"))
        == (False, False)
    )
    assert takes(window(live, "observation.images.top.tokens")) == (False, True)
