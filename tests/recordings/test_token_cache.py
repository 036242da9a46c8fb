"""The token cache: right rows, resumed builds, space told before and disks that fill up, encoders kept apart."""

import errno
import pickle
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch

from foreact.core.errors import ForeactError
from foreact.core.token_spec import TokenSpec
from foreact.data.lerobot import LeRobotDataset
from foreact.recordings import token_cache
from foreact.recordings.token_cache import LiveTokens, TokenCache


class MeanColours:
    """An encoder of 2 x 3 patches whose tokens are mean colours; counts its calls."""

    def __init__(self, name="mean@0"):
        self.spec = TokenSpec(grid=(2, 3), channels=3, fingerprint=name, encoder="mean", image_size=12)
        self.image_size = 12
        self.frames = 0

    def encode(self, frames):
        self.frames += len(frames)
        B = len(frames)
        return frames.float().view(B, 2, 6, 3, 4, 3).mean((2, 4)).view(B, 6, 3) / 255


@pytest.fixture
def dataset(tiny_dataset):
    return LeRobotDataset(tiny_dataset)


def test_rows_are_the_tokens_of_their_frames(dataset, tmp_path):
    encoder = MeanColours()
    cache = TokenCache.open(dataset, encoder, tmp_path, frames=True)
    for episode in (0, 3, 5):
        frames = dataset.frames(episode, size=12)
        expected = encoder.encode(torch.from_numpy(frames)).numpy()
        np.testing.assert_allclose(cache.tokens(episode), expected, atol=2e-3)
        np.testing.assert_array_equal(cache.frames(episode), frames)
    episodes, indices = np.array([5, 0, 3]), np.array([2, 7, 36])
    gathered = cache.gather(episodes, indices)
    for row, (e, t) in enumerate(zip(episodes, indices, strict=True)):
        np.testing.assert_array_equal(gathered[row], cache.tokens(e)[t])
        np.testing.assert_array_equal(cache.gather_frames(episodes, indices)[row], cache.frames(e)[t])


def test_encoding_on_the_fly_gives_the_same(dataset, tmp_path):
    encoder = MeanColours()
    cache, live = TokenCache.open(dataset, encoder, tmp_path), LiveTokens(dataset, encoder)
    np.testing.assert_array_equal(live.tokens(2), cache.tokens(2))
    where = np.array([1, 4]), np.array([3, 30])
    np.testing.assert_array_equal(live.gather(*where), cache.gather(*where))
    np.testing.assert_array_equal(live.gather_frames(*where), cache.gather_frames(*where))


def test_a_second_opening_encodes_nothing_and_another_encoder_has_its_own_cache(dataset, tmp_path):
    TokenCache.open(dataset, MeanColours(), tmp_path)
    again = MeanColours()
    TokenCache.open(dataset, again, tmp_path)
    assert again.frames == 0
    other = MeanColours("mean@1")
    TokenCache.open(dataset, other, tmp_path)
    assert other.frames == dataset.total_frames


def test_an_interrupted_build_goes_on_where_it_was(dataset, tmp_path):
    seen = []

    def interrupt(done, total):
        seen.append(done)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TokenCache.open(dataset, MeanColours(), tmp_path, on_progress=interrupt)
    encoder = MeanColours()
    cache = TokenCache.open(dataset, encoder, tmp_path)
    assert encoder.frames == dataset.total_frames - seen[-1]
    whole = TokenCache.open(dataset, MeanColours(), tmp_path / "other")
    for episode in dataset.episodes:
        np.testing.assert_array_equal(cache.tokens(episode.index), whole.tokens(episode.index))


def test_the_size_is_told_and_refused_before_anything_is_written(dataset, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    cache = TokenCache(dataset, MeanColours(), tmp_path / "x")
    assert cache.required_bytes(frames=True) == dataset.total_frames * (6 * 3 * 2 + 12 * 12 * 3)
    monkeypatch.setattr(token_cache.shutil, "disk_usage", lambda _: usage(10, 9, 1))
    encoder = MeanColours()
    with pytest.raises(ForeactError, match=r"needs [1-9][0-9.]* kB in .* --no-cache"):
        TokenCache.open(dataset, encoder, tmp_path)
    assert encoder.frames == 0
    assert not list(tmp_path.rglob("*.bin"))


def test_a_disk_that_fills_up_loses_nothing(dataset, tmp_path, monkeypatch):
    calls = []

    def full(fd):
        calls.append(fd)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(token_cache.os, "fdatasync", full)
    with pytest.raises(ForeactError, match="No space left on device; run again to go on at frame"):
        TokenCache.open(dataset, MeanColours(), tmp_path)
    monkeypatch.undo()
    encoder = MeanColours()
    TokenCache.open(dataset, encoder, tmp_path)
    assert encoder.frames == sum(e.length for e in dataset.episodes[2:])


def test_a_broken_video_is_named_and_earlier_episodes_are_kept(tiny_dataset, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(tiny_dataset, root)
    dataset = LeRobotDataset(root)
    video = sorted(root.rglob("*.mp4"))[2]
    video.write_bytes(video.read_bytes()[:200])
    with pytest.raises(ForeactError, match=video.name):
        TokenCache.open(dataset, MeanColours(), tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    assert '"frames": 78' in (folder / "tokens.json").read_text()


def test_another_process_opens_the_files_again_and_copies_nothing(dataset, tmp_path):
    cache = TokenCache.open(dataset, MeanColours(), tmp_path, frames=True)
    sent = pickle.dumps(cache)
    without = TokenCache(dataset, MeanColours(), tmp_path)
    assert len(sent) < len(pickle.dumps(without)) + 1000
    twin = pickle.loads(sent)
    assert isinstance(twin.tokens(0), np.memmap)
    np.testing.assert_array_equal(twin.tokens(3), cache.tokens(3))
    np.testing.assert_array_equal(twin.frames(3), cache.frames(3))
