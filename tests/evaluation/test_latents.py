"""What latents hold: controls, the common space, reconstruction, probes, rollouts and transfer on learners whose answers are known."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from foreact.data.lerobot import LeRobotDataset
from foreact.encoders.class_token import ClassTokenEncoder
from foreact.encoders.pixels import PixelEncoder
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.evaluation.claims import sufficiency
from foreact.evaluation.claims import topology as topology_figure
from foreact.evaluation.latent_pairs import CONTROLS, Learner, PairTokens, latents, move_camera, other_episode
from foreact.evaluation.latent_probes import Components, probe, targets
from foreact.evaluation.latent_reconstruction import NoiseToLatent, reconstruct, topology
from foreact.evaluation.latent_rollouts import most_changed, roll_out
from foreact.evaluation.latent_transfer import AgentReader, agent_places, centre, transfer, transfer_of_truth
from foreact.evaluation.latent_values import EpisodeTable
from foreact.evaluation.ridge import Ridge
from foreact.recordings.token_cache import LiveTokens

H, PAIRS = 4, 60


class Remembers:
    """z is s_{t+h} - s_t itself, so that decoding is exact."""

    def infer(self, tokens_t, tokens_th):
        return tokens_th - tokens_t

    def decode(self, tokens_t, z):
        return tokens_t + z


@pytest.fixture(scope="module")
def cache(tiny_dataset):
    torch.manual_seed(0)
    encoder = TinyEncoderConfig(stem=(8, 8, 8), dim=60, depth=1, heads=3, image_size=96).build().eval()
    return LiveTokens(LeRobotDataset(tiny_dataset), encoder)


@pytest.fixture(scope="module")
def pairs(cache):
    return PairTokens.draw(cache, (0, 2, 3, 5), count=PAIRS, horizon=H, seed=0)


@pytest.fixture(scope="module")
def learner(cache):
    return Learner(model=Remembers(), own=cache.encoder, base=cache.encoder)


def means(table):
    """Ratios of sums where there is a reference, else means: metric -> number, of the last chunk."""
    found = {v.metric: np.array(v.values) for v in table.values}
    plain = {m: v for m, v in found.items() if not m.endswith("/reference")}
    return {m: v.sum() / found.get(f"{m}/reference", np.ones_like(v)).sum() for m, v in plain.items()}


def mean_z(learner, pairs):
    return latents(learner, pairs, torch.zeros(()))["true"].mean(dim=0)


def test_every_control_replaces_z_as_it_says(learner, pairs):
    z = latents(learner, pairs, mean_z(learner, pairs))
    assert z.keys() == CONTROLS.keys()
    assert {tuple(v.shape) for v in z.values()} == {tuple(z["true"].shape)}
    partner = other_episode(pairs.episodes)
    torch.testing.assert_close(z["shuffled"], z["true"][partner])
    assert (pairs.episodes[partner] != pairs.episodes).all()
    assert not z["still"].any()
    assert not z["zero"].any()
    for control in ("other", "shifted", "shuffled"):
        assert not torch.allclose(z[control], z["true"]), control


def test_partners_are_of_other_episodes_as_long_as_there_are_some():
    for episodes in ([3, 3, 1, 7, 1, 3], [0, 1], [5, 5, 5, 1, 2, 2, 1]):
        partner = other_episode(np.array(episodes))
        assert sorted(partner) == list(range(len(episodes)))
        assert (np.array(episodes)[partner] != episodes).all()
    assert (other_episode(np.zeros(4, dtype=int)) != np.arange(4)).all()


def test_a_moved_camera_shows_the_same_a_little_further_up_and_left():
    frames = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    moved = move_camera(frames)
    assert moved.shape == frames.shape
    np.testing.assert_array_equal(moved[:, :-2, :-2], frames[:, 2:, 2:])
    np.testing.assert_array_equal(moved[:, -1, :-2], frames[:, -1, 2:])


def test_a_pair_at_another_time_stays_in_its_episode(cache, pairs):
    other = pairs._elsewhere()
    lengths = np.array([cache.dataset.episodes[e].length for e in other.episode])
    assert (other.start != pairs.pairs.start).all()
    assert (other.start + other.horizon < lengths).all()
    np.testing.assert_array_equal(other.episode, pairs.pairs.episode)


def test_learners_on_pixels_and_class_tokens_are_measured_in_the_same_tokens(cache, pairs):
    for own in (ClassTokenEncoder(cache.encoder), PixelEncoder(96)):
        learner = Learner(model=Remembers(), own=own, base=cache.encoder)
        assert (learner.to_base(pairs.tokens(own, 1.0)) - pairs.base(1.0)).abs().mean() < 0.01, own


def test_a_perfect_learner_has_skill_one_and_its_controls_do_not(learner, pairs):
    table = EpisodeTable(model="x")
    reconstruct(learner, pairs, latents(learner, pairs, mean_z(learner, pairs)), table, "held_out")
    skill = means(table)
    assert skill["skill_true"] == pytest.approx(1, abs=1e-3)
    assert skill["skill_still"] == pytest.approx(0, abs=1e-6)
    assert max(skill["skill_shuffled"], skill["skill_other"]) < 0
    values = next(v for v in table.values if v.metric == "skill_true")
    assert values.episodes == (0, 2, 3, 5)


def test_between_noise_and_z_ends_at_z(learner, pairs):
    z = latents(learner, pairs, mean_z(learner, pairs))
    way = NoiseToLatent.fit(z["true"])
    torch.testing.assert_close(way(z["true"], 1.0, seed=0), z["true"])
    assert not torch.allclose(way(z["true"], 0.5, seed=0), way(z["true"], 0.5, seed=1))
    table = EpisodeTable(model="x")
    topology(learner, pairs, z, way, table)
    skill = means(table)
    assert skill["between_0.5_nearer"] == pytest.approx(0)
    assert skill["between_0.5_line"] > skill["between_0.5_true"]  # straight lines between pixels beat noise on them


def test_ridge_finds_a_linear_law_and_no_other():
    rng = np.random.default_rng(0)
    x, law = rng.normal(size=(200, 13)) * 5 + 3, rng.normal(size=(13, 2))
    y = x @ law + 7
    held, noise = rng.normal(size=(50, 13)) * 5 + 3, rng.normal(size=(200, 2))
    error, spread = Ridge(x, y).errors(held, held @ law + 7)
    assert 1 - error.sum() / spread.sum() > 0.999
    error, spread = Ridge(x, noise).errors(held, rng.normal(size=(50, 2)))
    assert -0.1 < 1 - error.sum() / spread.sum() < 0.1
    wide, held = rng.normal(size=(60, 50)), rng.normal(size=(200, 50))  # least squares alone would have R^2 of about -5
    error, spread = Ridge(wide, noise[:60]).errors(held, rng.normal(size=(200, 2)))
    assert 1 - error.sum() / spread.sum() > -0.5


def test_probes_read_what_z_says_and_controls_say_less(cache, pairs):
    training = PairTokens.draw(cache, (1, 4), count=80, horizon=H, seed=1)
    wanted, fitted = targets(pairs), targets(training)
    assert wanted["actions"].shape == (len(pairs.episodes), 2 * H)
    assert wanted.keys() == {"actions", "agent", "object"}
    row = 7
    states = cache.dataset.column("observation.state", int(pairs.pairs.episode[row]))
    t = pairs.pairs.start[row]
    np.testing.assert_allclose(wanted["agent"][row], states[t + H] - states[t])
    z = torch.from_numpy(wanted["agent"])[:, None] / 100
    table = EpisodeTable(model="x")
    probe(torch.from_numpy(fitted["agent"])[:, None] / 100, training, {"true": z, "shuffled": z.flip(0)}, pairs, table)
    r2 = means(table)
    frame = EpisodeTable(model="x")
    fitted_z = torch.from_numpy(fitted["agent"])[:, None] / 100
    beside = Components.of_frame(training, pairs)
    probe(fitted_z, training, {"true": z, "shuffled": z.flip(0)}, pairs, frame, beside=beside)
    assert r2.items() <= means(frame).items()
    assert means(frame)["r2_agent_beside_true"] > 0.9 > means(frame)["r2_agent_beside_shuffled"]
    assert r2["r2_agent_true"] > 0.99
    assert r2["r2_agent_shuffled"] < 0.5
    assert r2["r2_object_true"] < 0.9


def test_rollouts_feed_predictions_back_and_a_perfect_learner_stays_on_the_truth(learner, cache):
    pairs = PairTokens.draw(cache, (0, 2, 3, 5), count=40, horizon=3 * H, seed=0)
    table = EpisodeTable(model="x")
    usual = pairs.base(0.0).mean(dim=0)
    roll_out(learner, pairs, 3, torch.zeros(36, 60), usual, table)
    assert {v["chunk"] for v in table.values} == {1, 2, 3}
    cosine = means(table)
    assert cosine["cosine_truth_true"] == pytest.approx(1, abs=1e-3)
    assert cosine["motion_cosine_truth_true"] == pytest.approx(1, abs=1e-3)
    assert cosine["cosine_truth_still"] == pytest.approx(cosine["cosine_copy"], abs=1e-4)
    assert cosine["cosine_start"] == pytest.approx(cosine["cosine_copy"], abs=1e-3)
    assert cosine["motion_cosine_copy"] < cosine["cosine_copy"]
    assert cosine["motion_cosine_truth_shuffled"] < 0.95


def test_the_region_that_moves():
    first = torch.zeros(2, 36, 5)
    last = first.clone()
    last[0, [3, 9, 30]] = 1
    last[1, [0, 1, 2]] = 2
    moving = most_changed(first, last)
    assert moving.sum(dim=1).tolist() == [3, 3]
    assert moving[0].nonzero().flatten().tolist() == [3, 9, 30]


def test_the_heat_map_has_its_centre_where_the_anchor_is():
    grid, anchor = (3, 5), torch.tensor([1.0, 0.0])
    tokens = torch.tensor([0.0, 1.0]).repeat(2, 15, 1)
    tokens[0, 5 * 1 + 3] = tokens[1, 5 * 2 + 0] = tokens[1, 5 * 2 + 2] = anchor
    places = centre(tokens, anchor.expand(2, 1, 2), grid)
    torch.testing.assert_close(places, torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64))


def test_directions_are_read_from_true_tokens(cache, pairs):
    places = agent_places(pairs, 0.0)
    row = cache.dataset.column("observation.state", int(pairs.pairs.episode[0]))[pairs.pairs.start[0]]
    np.testing.assert_allclose(places[0], row / 512)
    others = PairTokens.draw(cache, (0, 2, 3, 5), count=200, horizon=H, seed=1)
    reader, table = AgentReader.fit(others), EpisodeTable(model="x")
    transfer_of_truth(pairs, reader, table, "held_out")
    assert means(table)["directions_read_true"] > 0.5
    first, motion = pairs.base(0.0), np.ones_like(places)
    still = reader.agreements(first, first, places, motion)
    assert not np.abs(still["heat"]).any()
    assert not np.abs(still["read"]).any()


def test_a_heat_map_follows_the_patch_that_moves():
    rng, grid = np.random.default_rng(0), (3, 5)
    usual = torch.from_numpy(rng.normal(size=(15, 24))).float()
    agent = torch.from_numpy(rng.normal(size=24)).float() * 3

    def at(row, column):
        tokens = usual.clone()
        tokens[5 * row + column] += agent
        return tokens

    cells = [(r, c) for r in range(3) for c in range(5)]
    places = np.array([[(c + 0.5) / 5, (r + 0.5) / 3] for r, c in cells])
    reader = AgentReader(torch.stack([at(*cell) for cell in cells]), places, grid)
    here, right, down = np.array([[0.3, 0.5]]), np.array([[0.2, 0.0]]), np.array([[0.0, 0.3]])
    for goal, motion, expected in (((1, 3), right, 1), ((1, 0), right, -1), ((2, 1), right, 0), ((2, 1), down, 1)):
        found = reader.agreements(at(1, 1)[None], at(*goal)[None], here, motion)
        assert found["heat"] == pytest.approx([expected], abs=0.1)
        assert found["read"] == pytest.approx([expected], abs=0.1)


def test_transfer_tells_the_z_of_a_pair_from_that_of_another(learner, pairs):
    table, z = EpisodeTable(model="x"), latents(learner, pairs, mean_z(learner, pairs))
    itself, reader = np.arange(len(pairs.episodes)), AgentReader.fit(pairs)
    transfer(learner, pairs, z, pairs, itself, reader, table, "held_out")
    agreement = means(table)
    assert agreement["transfer_read_true"] > 0.9
    assert agreement["transfer_read_still"] == pytest.approx(0, abs=1e-6)
    assert agreement["transfer_read_shuffled"] < 0.5


def test_transfer_is_left_out_where_the_agents_place_is_unknown(learner, pairs, make_dataset):
    dataset = LeRobotDataset(make_dataset(lengths=(11, 13)))
    dataset.features["observation.state"]["names"] = ["a", "b"]
    unknown = PairTokens.draw(LiveTokens(dataset, learner.base), (0, 1), count=9, horizon=H, seed=0)
    table, reader = EpisodeTable(model="x"), AgentReader.fit(unknown)
    assert reader is None
    transfer(learner, pairs, {}, unknown, np.arange(9), reader, table, "unseen")
    transfer_of_truth(unknown, reader, table, "unseen")
    assert table.values == []


def test_the_claims_are_measured_as_the_study_measures_them(cache, learner):
    """`foreact claims` has values, not text: the perfect learner has skill 1, its controls have not."""
    drawn = {"count": PAIRS, "horizon": H, "seed": 0, "as_cached": True}
    training, held_out = (PairTokens.draw(cache, episodes, **drawn) for episodes in ((1, 4), (0, 2, 3, 5)))
    raw = Learner(model=Remembers(), own=cache.encoder, base=cache.encoder, as_cached=True)
    figure = sufficiency({"perfect": raw}, training, held_out, None)
    found = {(r["z"], r["metric"]): r["mean"] for r in figure["rows"]}
    assert found["its own z", "token_l1_skill"] == pytest.approx(1, abs=1e-3)
    assert found["z of another episode's pair", "token_l1_skill"] < 0
    assert found["", "token_l1_skill"] == 0  # persistence
    table = EpisodeTable(model="x")
    reconstruct(raw, held_out, latents(raw, held_out, torch.zeros(()), controls=("true", "still")), table)
    assert found["", "token_l1"] == pytest.approx(table.row("l1_still").mean)
    named = dataclasses.replace(raw, model=Remembers())
    named.model.config = SimpleNamespace(kind="rla")
    between = topology_figure(named, training, held_out, None, seed=0)["rows"]
    assert {r["a"] for r in between} == {0.25, 0.5, 0.75}
    assert {r["model"] for r in between} == {"RLA, noise to z", "tokens interpolated", "nearer end"}
    assert all(isinstance(r["mean"], float) for r in between)
