"""Which episodes a policy learns from: labels that are chosen, silent rows whose actions and states no one looks at."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.core.cards import Demonstrations
from foreact.core.errors import ForeactError
from foreact.core.progress import progress_bar
from foreact.data.lerobot import ACTION, STATE
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.latent_actions.rla import RLAConfig
from foreact.recordings import latents as module
from foreact.recordings.demonstrations import LATENT, DemonstrationBatches, labelled_episodes
from foreact.recordings.latents import infer_latents
from foreact.recordings.opening import open_recordings
from foreact.recordings.recording import IMAGES, TOKENS
from foreact.recordings.windows import Window
from tests.ring_world import demonstrate

HORIZON = 5
WINDOW = Window(columns={IMAGES: (0,), STATE: (0,), ACTION: tuple(range(HORIZON))})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    TinyEncoderConfig(stem=(8, 8, 8), dim=24, depth=1, heads=3).build().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return demonstrate(tmp_path_factory.mktemp("dot") / "data", 12, actionless=(2, 5, 7))


@pytest.fixture(scope="module")
def recordings(data, encoder):
    return open_recordings(data, encoder=encoder, image_size=32, cache=None, live=True, progress=progress_bar)


@pytest.fixture(scope="module")
def learner(recordings):
    torch.manual_seed(0)
    config = RLAConfig(tokens=recordings.tokens, dim=24, depth=1, heads=3, latent_tokens=2, latent_channels=3)
    return config.build().eval()


@pytest.fixture(scope="module")
def latents(recordings, learner):
    return infer_latents(learner, recordings, horizon=HORIZON, cache=None, progress=progress_bar)


def batches(recordings, **options):
    asked = {"demonstrations": Demonstrations(), "latents": None, "batch_size": 8, "seed": 3} | options
    return DemonstrationBatches(recordings, window=WINDOW, **asked)


def test_shares_of_labels_are_nested_and_rounded(recordings):
    shares = [{*labelled_episodes(recordings, Demonstrations(labelled=s))[0]} for s in (0.2, 0.5, 0.9, 1.0)]
    assert [len(s) for s in shares] == [round(s * len(shares[-1])) for s in (0.2, 0.5, 0.9, 1.0)]
    assert all(small < large for small, large in itertools.pairwise(shares))
    assert not {2, 5, 7} & shares[-1]


def test_a_share_that_leaves_no_episode_says_what_is_needed(recordings):
    with pytest.raises(ForeactError, match=r"leaves none: at least 0\.\d+ is needed"):
        labelled_episodes(recordings, Demonstrations(labelled=0.01))


def test_without_z_every_row_is_labelled(recordings):
    drawn = batches(recordings)
    assert drawn(0, 0, 1).labelled.all()
    with_actions = {e for part in drawn.labelled for e in part}
    rows = [drawn._labelled.sample(step, 0, 1) for step in range(20)]
    assert {int(e) for _, episodes, _ in rows for e in episodes} == with_actions


def test_half_of_a_batch_is_silent(recordings, latents):
    drawn = batches(recordings, demonstrations=Demonstrations(labelled=0.3), latents=latents)
    batch = drawn(4, 0, 1)
    assert batch.labelled.tolist() == [True] * 4 + [False] * 4
    assert not batch.inside[ACTION][4:].any()
    assert batch.inside[ACTION][:4, 0].all()
    assert not batch.columns[ACTION][4:].any()
    assert not batch.columns[STATE][4:].any()
    assert batch.inside[LATENT][4:].all(), "silent rows without z would teach nothing"
    silent = {int(e) for step in range(20) for e in drawn._silent_rows.sample(step, 0, 1)[1]}
    long = {e for e in recordings.split.train if recordings.single.lengths[e] > HORIZON}
    assert silent == long - set(drawn.labelled[0])


def test_actions_come_from_the_named_dataset_alone(data, encoder, tmp_path, learner):
    other = demonstrate(tmp_path / "labelled", 4, seed=77)
    both = open_recordings([data, other], encoder=encoder, image_size=32, cache=None, live=True, progress=progress_bar)
    asked = Demonstrations(actions_from=str(other))
    assert labelled_episodes(both, asked) == [(), both.sources[1].split.train]
    found = infer_latents(learner, both, horizon=HORIZON, cache=None, progress=progress_bar)
    drawn = batches(both, demonstrations=asked, latents=found)
    sources = [drawn._labelled.sample(step, 0, 1)[0] for step in range(10)]
    assert {int(k) for part in sources for k in part} == {1}
    silent = [drawn._silent_rows.sample(step, 0, 1)[0] for step in range(10)]
    assert {int(k) for part in silent for k in part} == {0}


def test_what_silent_episodes_do_is_not_looked_at(recordings, latents):
    """Their actions and states are made absurd: statistics and batches stay the same."""
    asked = {"demonstrations": Demonstrations(labelled=0.3), "latents": latents}
    before = batches(recordings, **asked)
    source = recordings.single
    absurd = replace(source)
    chosen = set(before.labelled[0])
    absurd.__dict__["actions"] = {e: v if e in chosen else v * 1e6 for e, v in source.actions.items()}
    absurd.__dict__["states"] = {e: v if e in chosen else v * np.nan for e, v in source.states.items()}
    after = batches(replace(recordings, sources=(absurd,)), **asked)
    for name in (ACTION, STATE):
        assert all(torch.equal(a, b) for a, b in zip(before.limits(name), after.limits(name)))
    for step in range(5):
        one, other = before(step, 0, 1), after(step, 0, 1)
        assert all(torch.equal(one.columns[name], other.columns[name]) for name in one.columns)


def test_two_processes_draw_what_one_draws(recordings, latents):
    drawn = batches(recordings, demonstrations=Demonstrations(labelled=0.3), latents=latents)
    whole, parts = drawn(2, 0, 1), [drawn(2, rank, 2) for rank in range(2)]
    for name in whole.columns:
        labelled = torch.cat([p.columns[name][p.labelled] for p in parts])
        silent = torch.cat([p.columns[name][~p.labelled] for p in parts])
        assert torch.equal(torch.cat([labelled, silent]), whole.columns[name])


def test_limits_leave_out_the_action_that_leads_nowhere(recordings):
    drawn = batches(recordings)
    rows = np.concatenate([recordings.single.actions[e][:-1] for e in drawn.labelled[0]])
    low, high = drawn.limits(ACTION)
    np.testing.assert_allclose([low, high], [rows.min(axis=0), rows.max(axis=0)])


def test_z_is_what_the_learner_infers_and_masked_beyond_the_end(recordings, learner, latents):
    source, episode = recordings.single, recordings.split.train[1]
    length = source.dataset.episode(episode).length
    times = np.array([0, length - HORIZON - 1, length - HORIZON, length - 1])
    z, inside = latents.read(np.zeros(4, int), np.full(4, episode), times)
    assert inside.tolist() == [True, True, False, False]
    tokens = torch.from_numpy(source.read(IMAGES + TOKENS, np.full(2, episode), times[:2]))
    then = torch.from_numpy(source.read(IMAGES + TOKENS, np.full(2, episode), times[:2] + HORIZON))
    with torch.no_grad():
        wanted = learner.infer(tokens.float(), then.float())
    torch.testing.assert_close(z[:2], wanted, rtol=1e-2, atol=1e-2)
    assert not z[2:].any()


def test_z_is_inferred_once_and_read_again(recordings, learner, tmp_path, monkeypatch):
    first = infer_latents(learner, recordings, horizon=HORIZON, cache=tmp_path, progress=progress_bar)
    (kept,) = (tmp_path / "latents").iterdir()
    monkeypatch.setattr(module, "_infer", lambda *_: pytest.fail("inferred again"))
    again = infer_latents(learner, recordings, horizon=HORIZON, cache=tmp_path, progress=progress_bar)
    rows = np.zeros(3, int), np.array(recordings.split.train[:3]), np.arange(3)
    assert torch.equal(first.read(*rows)[0], again.read(*rows)[0])
    monkeypatch.undo()
    kept.write_bytes(kept.read_bytes()[:100])
    mended = infer_latents(learner, recordings, horizon=HORIZON, cache=tmp_path, progress=progress_bar)
    assert torch.equal(first.read(*rows)[0], mended.read(*rows)[0])


def test_episodes_shorter_than_the_horizon_have_no_z(recordings, learner):
    with pytest.raises(ForeactError, match="longer than the 500 frames"):
        infer_latents(learner, recordings, horizon=500, cache=None, progress=progress_bar)


def test_what_comes_after_success_is_not_learnt_from(encoder, tmp_path):
    """A recorder lingers; a policy that learnt from these frames would stand still."""
    data = demonstrate(tmp_path / "told", 6, linger=9, told=True)
    found = open_recordings(data, encoder=encoder, image_size=32, cache=None, live=True, progress=progress_bar)
    drawn = batches(found)
    rows = [drawn._labelled.sample(step, 0, 1) for step in range(60)]
    last = {}
    for _, episodes, frames in rows:
        for e, t in zip(episodes.tolist(), frames.tolist(), strict=True):
            last[e] = max(t, last.get(e, 0))
    done = {e: int(np.flatnonzero(found.dataset.column("next.success", e).ravel())[0]) for e in found.split.train}
    assert last == done
    assert all(found.single.lengths[e] > done[e] + 5 for e in done)


def test_an_odd_batch_cannot_be_halved(recordings, latents):
    with pytest.raises(ForeactError, match="half with actions"):
        batches(recordings, demonstrations=Demonstrations(labelled=0.3), latents=latents, batch_size=7)
