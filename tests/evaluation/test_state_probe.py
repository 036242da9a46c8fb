from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from foreact.evaluation.poses import PoseTarget
from foreact.evaluation.state_probe import PoseCode, ProbeConfig, StateProbe, fit_probe, pool

GRID, CHANNELS, FRAMES, EPISODES = (5, 7), 11, 150, 6
FAST = ProbeConfig(steps=150, batch_size=64, width=32)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A blob on a grid as tokens (T, N, C); its place in a 100 x 140 window and its turn, (T, 3)."""
    rng = np.random.default_rng(seed)
    poses = np.stack([rng.uniform(20, 120, FRAMES), rng.uniform(20, 80, FRAMES), rng.uniform(-np.pi, np.pi, FRAMES)], 1)
    rows, columns = np.meshgrid(np.arange(GRID[0]) * 20 + 10, np.arange(GRID[1]) * 20 + 10, indexing="ij")
    distance = (columns.ravel() - poses[:, :1]) ** 2 + (rows.ravel() - poses[:, 1:2]) ** 2
    blob = np.exp(-distance / 2 / 15**2)
    basis = np.random.default_rng(99).normal(size=(3, CHANNELS))
    inside = np.stack([np.ones(FRAMES), np.cos(poses[:, 2]), np.sin(poses[:, 2])], 1) @ basis
    tokens = blob[..., None] * inside[:, None] + rng.normal(0, 0.02, size=(FRAMES, GRID[0] * GRID[1], CHANNELS))
    return tokens.astype(np.float16), poses


@pytest.fixture(scope="module")
def recording() -> SimpleNamespace:
    """What `fit_probe` asks of a token cache."""
    scenes = [scene(seed) for seed in range(EPISODES)]
    tokens = np.stack([tokens for tokens, _ in scenes])
    dataset = SimpleNamespace(
        episode=lambda number: SimpleNamespace(length=FRAMES), column=lambda key, episode: scenes[episode][1]
    )
    spec = SimpleNamespace(grid=GRID, channels=CHANNELS)
    return SimpleNamespace(
        dataset=dataset, spec=spec, gather=lambda episodes, times: tokens[episodes, times], scenes=scenes
    )


TARGETS = (
    PoseTarget(name="block", unit="px", read=lambda d, e: d.column("", e)[:, :2], about=""),
    PoseTarget(name="block", unit="deg", read=lambda d, e: d.column("", e)[:, 2:], period=2 * np.pi, about=""),
)


@pytest.fixture(scope="module")
def probe(recording) -> StateProbe:
    """Trained once."""
    return fit_probe(recording, range(EPISODES - 1), TARGETS, config=FAST)


def held_out(recording: SimpleNamespace) -> tuple[torch.Tensor, dict[str, np.ndarray]]:
    tokens, poses = recording.scenes[-1]
    return torch.from_numpy(tokens).float(), {"block_error_px": poses[:, :2], "block_error_deg": poses[:, 2:]}


def test_it_reads_held_out_poses_far_better_than_a_guess(recording, probe):
    tokens, truth = held_out(recording)
    errors, guesses = probe.errors(tokens, truth), probe.guess_errors(truth)
    assert errors["block_error_px"].mean() < 5  # a quarter of a token's side
    assert errors["block_error_deg"].mean() < 15
    assert guesses["block_error_px"].mean() > 25
    assert guesses["block_error_deg"].mean() > 60


def test_it_reads_where_imagined_tokens_put_the_object_not_where_it_is(recording, probe):
    tokens, truth = held_out(recording)
    frozen = tokens[:1].expand_as(tokens)
    expected = np.linalg.norm(truth["block_error_px"] - truth["block_error_px"][0], axis=1)
    assert probe.errors(frozen, truth)["block_error_px"] == pytest.approx(expected, abs=8)


def test_the_same_seed_gives_the_same_probe_whatever_was_drawn_before(recording):
    config = ProbeConfig(steps=5, frames=50)
    tokens, _ = held_out(recording)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fit_probe(recording, [0, 1], TARGETS, config=config).read(tokens)
    assert torch.equal(before, torch.get_rng_state())
    torch.randn(7)
    second = fit_probe(recording, [0, 1], TARGETS, config=config).read(tokens)
    other = fit_probe(recording, [0, 1], TARGETS, config=ProbeConfig(steps=5, frames=50, seed=1)).read(tokens)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["block_error_px"], other["block_error_px"])


def test_leading_axes_are_kept(recording):
    probe = fit_probe(recording, [0], TARGETS, config=ProbeConfig(steps=1))
    tokens, truth = held_out(recording)
    samples = tokens[:6].reshape(2, 3, *tokens.shape[1:])
    read = probe.read(samples)
    assert {name: pose.shape for name, pose in read.items()} == {
        "block_error_px": (2, 3, 2),
        "block_error_deg": (2, 3, 1),
    }
    errors = probe.errors(samples, {name: pose[:3] for name, pose in truth.items()})
    assert errors["block_error_deg"].shape == (2, 3)


def test_progress_is_reported(recording):
    seen = []
    fit_probe(recording, [0], TARGETS[:1], config=ProbeConfig(steps=3), on_progress=lambda *a: seen.append(a))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_large_grids_are_pooled_and_small_ones_left_alone():
    tokens = torch.arange(32 * 16 * 2.0).reshape(1, 32 * 16, 2)
    assert pool(tokens, (32, 16)).shape == (1, 16 * 16, 2)
    assert torch.equal(pool(tokens, (32, 16))[0, 0], (tokens[0, 0] + tokens[0, 16]) / 2)
    small = torch.randn(2, 35, 3)
    assert pool(small, (5, 7)) is small


@pytest.mark.parametrize("period", [None, 2 * np.pi, np.pi / 2])
def test_codes_can_be_undone(period):
    rng = np.random.default_rng(0)
    poses = rng.uniform(-0.7, 0.7, size=(20, 1)) if period else rng.normal(300, 50, size=(20, 3))
    code = PoseCode(PoseTarget(name="x", unit="", read=lambda d, e: poses, period=period, about=""), poses)
    assert code.decode(code.encode(poses)) == pytest.approx(poses)


def test_the_blind_guess_of_an_angle_does_not_average_across_the_seam():
    poses = np.array([[np.pi - 0.1], [-np.pi + 0.1]])
    code = PoseCode(PoseTarget(name="x", unit="deg", read=lambda d, e: poses, period=2 * np.pi, about=""), poses)
    assert abs(code.guess[0]) == pytest.approx(np.pi)
