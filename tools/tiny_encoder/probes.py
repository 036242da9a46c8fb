"""How much an encoder's tokens know: linear probes of positions and angles, beside random weights and raw pixels.

A probe is ridge regression in closed form from all tokens of a frame, on held-out episodes or frames. Two local probes
ask a single token, the one whose patch holds the agent: where in that patch the agent is, and what the patch looks like.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from foreact.core.contracts import Encoder
from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically
from foreact.data.lerobot import LeRobotDataset
from foreact.evaluation.intervals import Bootstrap
from foreact.evaluation.poses import find_poses

Array = np.ndarray
PENALTIES = np.logspace(-8, -1, 15)  # as a share of the features' total variance
AGENT = "agent_xy"
LOCAL = "agent_xy within its patch"
LOOK = "pixels of the agent's patch"


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """Labelled frames.

    Attributes:
        name: for tables.
        frames: uint8 (n, size, size, 3).
        labels: name -> (n, D); names that end in `_angle` are radians (n, 1), all others pixels of the frames.
        groups: (n,) what is kept together when frames are split: episodes, or each frame by itself.
    """

    name: str
    frames: Array
    labels: dict[str, Array]
    groups: Array


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """One cell of the table: the error of one probe on held-out frames, with 95 % bootstrap intervals over groups."""

    probe_set: str
    target: str
    features: str
    unit: str
    mean: float
    mean_interval: tuple[float, float]
    median: float
    median_interval: tuple[float, float]
    train: int
    test: int


def probe_encoder(encoder: Encoder, probe_set: ProbeSet, *, name: str, seed: int = 0) -> list[ProbeRow]:
    """Probe an encoder's tokens for every label of a set.

    Args:
        encoder: what is probed, at its own image size.
        probe_set: labelled frames.
        name: the encoder's name in the table.
        seed: of split and bootstrap.
    """
    tokens = encode_all(encoder, probe_set.frames)
    return _probe(tokens, encoder.spec.grid, probe_set, name, seed)


def probe_pixels(probe_set: ProbeSet, *, patch: int = 16, seed: int = 0) -> list[ProbeRow]:
    """The same probes of raw patches: tokens are the pixels of `patch` x `patch` squares."""
    count, size = probe_set.frames.shape[:2]
    rows = size // patch
    squares = probe_set.frames.reshape(count, rows, patch, rows, patch, 3).swapaxes(2, 3)
    tokens = squares.reshape(count, rows * rows, patch * patch * 3).astype(np.float32) / 255
    return _probe(tokens, (rows, rows), probe_set, "raw patches", seed)


def encode_all(encoder: Encoder, frames: Array, *, batch_size: int = 64) -> Array:
    """Tokens (n, N, C) float32 of frames uint8 (n, height, width, 3)."""
    parts = [encoder.encode(torch.from_numpy(frames[i : i + batch_size])) for i in range(0, len(frames), batch_size)]
    return torch.cat(parts).float().cpu().numpy()


def panda_probe_set(root: Path, size: int, *, per_episode: int = 12, seed: int = 0) -> ProbeSet:
    """Frames of a recording whose poses are known (ManiSkill), with object and hand in pixels of `size`.

    Raises:
        ForeactError: the dataset has no such poses.
    """
    dataset = LeRobotDataset(root)
    targets = {"block": "object_xy", "agent": AGENT}
    poses = [(targets[pose.name], pose) for pose in find_poses(dataset) if pose.name in targets and pose.unit == "px"]
    if not poses:
        raise ForeactError(
            f"{root} has no object and hand poses in pixels to probe: give ManiSkill recordings of the Panda"
        )
    rng = np.random.default_rng(seed)
    frames, groups = [], []
    labels: dict[str, list[Array]] = {name: [] for name, _ in poses}
    for episode in dataset.episodes:
        rows = np.sort(rng.choice(episode.length, min(per_episode, episode.length), replace=False))
        frames.append(dataset.frames(episode.index, size=size)[rows])
        groups.append(np.full(len(rows), episode.index))
        for name, pose in poses:
            labels[name].append(pose.read(dataset, episode.index)[rows] * size / dataset.image_shape[0])
    stacked = {name: np.concatenate(values) for name, values in labels.items()}
    name = f"{dataset.robot_type} recordings (unseen domain)"
    return ProbeSet(name=name, frames=np.concatenate(frames), labels=stacked, groups=np.concatenate(groups))


def ridge(features: Array, targets: dict[str, Array], groups: Array, seed: int) -> tuple[dict[str, Array], Array]:
    """Linear regressions from the same features, each with a penalty chosen on a fifth of the training groups.

    Args:
        features: (n, F).
        targets: name -> (n, D).
        groups: (n,).
        seed: of the split.

    Returns:
        Predictions name -> (m, D) for the held-out quarter of the groups, and their rows (m,).
    """
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    test = np.isin(groups, order[: len(order) // 4])
    validation = np.isin(groups, order[len(order) // 4 : len(order) * 2 // 5])
    features = (features - features[~test].mean(0)).astype(np.float32)
    gram = (features @ features.T).astype(np.float64)
    choosing, final = _Ridge(gram, ~test & ~validation, validation), _Ridge(gram, ~test, test)
    predictions = {}
    for name, target in targets.items():
        errors = [np.abs(choosing.predict(target, p) - target[validation]).mean() for p in PENALTIES]
        predictions[name] = final.predict(target, PENALTIES[int(np.argmin(errors))])
    return predictions, np.flatnonzero(test)


class _Ridge:
    """Dual ridge regression: one eigendecomposition serves all targets and penalties."""

    def __init__(self, gram: Array, train: Array, test: Array) -> None:
        self.train = train
        self.values, self.vectors = np.linalg.eigh(gram[np.ix_(train, train)])
        self.across = gram[np.ix_(test, train)] @ self.vectors

    def predict(self, target: Array, penalty: float) -> Array:
        """(n, D) of which the training rows are used -> predictions of the test rows (m, D)."""
        mean = target[self.train].mean(0)
        shrunk = np.maximum(self.values, 0) + penalty * max(self.values.sum(), 1e-12)
        return mean + self.across @ (self.vectors.T @ (target[self.train] - mean) / shrunk[:, None])


def _probe(tokens: Array, grid: tuple[int, int], probe_set: ProbeSet, name: str, seed: int) -> list[ProbeRow]:
    angles = {t for t in probe_set.labels if t.endswith("_angle")}
    wanted = {
        t: np.concatenate([np.sin(y), np.cos(y)], axis=1) if t in angles else y for t, y in probe_set.labels.items()
    }
    predicted, test = ridge(tokens.reshape(len(tokens), -1), wanted, probe_set.groups, seed)
    rows = []
    for target, guess in predicted.items():
        truth = wanted[target][test]
        error = _degrees(guess, truth) if target in angles else np.linalg.norm(guess - truth, axis=1)
        rows.append(_row(probe_set, target, name, "deg" if target in angles else "px", error, test, len(tokens), seed))
    return rows + (_local_rows(tokens, grid, probe_set, name, seed) if AGENT in wanted else [])


def _local_rows(tokens: Array, grid: tuple[int, int], probe_set: ProbeSet, name: str, seed: int) -> list[ProbeRow]:
    """Probes of the one token whose patch holds the agent, on the frames that show it."""
    truth, size = probe_set.labels[AGENT], probe_set.frames.shape[1]
    shown = np.flatnonzero(np.all((truth >= 0) & (truth < size), axis=1))
    patch = np.array([size // grid[1], size // grid[0]])
    cell = (truth[shown] // patch).astype(int)
    offset = truth[shown] - cell * patch
    corners = zip(shown, cell * patch, strict=True)
    pixels = np.stack([probe_set.frames[i, y : y + patch[1], x : x + patch[0]].ravel() for i, (x, y) in corners])
    features, groups = tokens[shown, cell[:, 1] * grid[1] + cell[:, 0]], probe_set.groups[shown]
    guess, test = ridge(features, {LOCAL: offset, LOOK: pixels.astype(np.float64)}, groups, seed)
    distance = np.linalg.norm(guess[LOCAL] - offset[test], axis=1)
    difference = np.abs(guess[LOOK] - pixels[test]).mean(axis=1)
    kept, count = shown[test], len(shown)
    return [
        _row(probe_set, LOCAL, name, "px", distance, kept, count, seed),
        _row(probe_set, LOOK, name, "of 255", difference, kept, count, seed),
    ]


def _degrees(predicted: Array, wanted: Array) -> Array:
    turn = np.arctan2(predicted[:, 0], predicted[:, 1]) - np.arctan2(wanted[:, 0], wanted[:, 1])
    return np.degrees(np.abs((turn + np.pi) % (2 * np.pi) - np.pi))


def _row(
    probe_set: ProbeSet, target: str, name: str, unit: str, error: Array, kept: Array, count: int, seed: int
) -> ProbeRow:
    groups = probe_set.groups[kept]
    mean = Bootstrap(seed=seed).mean(error, groups)
    low, high = _median_interval(error, groups, seed)
    return ProbeRow(
        probe_set=probe_set.name,
        target=target,
        features=name,
        unit=unit,
        mean=float(error.mean()),
        mean_interval=(mean.low, mean.high)
        if mean and mean.low is not None and mean.high is not None
        else (np.nan, np.nan),
        median=float(np.median(error)),
        median_interval=(low, high),
        train=count - len(kept),
        test=len(kept),
    )


def _median_interval(error: Array, groups: Array, seed: int, *, resamples: int = 500) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    members = [error[groups == group] for group in np.unique(groups)]
    draws = rng.integers(len(members), size=(resamples, len(members)))
    medians = [np.median(np.concatenate([members[i] for i in draw])) for draw in draws]
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)


def write_results(path: Path, rows: Sequence[ProbeRow], about: dict[str, object]) -> None:
    """Write probe results as JSON: `{"schema": 1, "about": ..., "rows": [...]}`."""
    content = {"schema": 1, "about": about, "rows": [dataclasses.asdict(row) for row in rows]}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def probe_table(rows: Sequence[ProbeRow]) -> str:
    """A Markdown table: one line per set and target, one column per kind of features, `median (mean low..high)`."""
    names = list(dict.fromkeys(row.features for row in rows))
    lines = [f"| frames | target | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    cells = {(r.probe_set, r.target, r.features): r for r in rows}
    for probe_set, target in dict.fromkeys((r.probe_set, r.target) for r in rows):
        found = [cells.get((probe_set, target, name)) for name in names]
        lines.append(f"| {probe_set} | {target} | {' | '.join(_cell(row) for row in found)} |")
    return "\n".join(lines)


def _cell(row: ProbeRow | None) -> str:
    if row is None:
        return ""
    low, high = row.mean_interval
    return f"{row.median:.2f} {row.unit} ({row.mean:.2f}, {low:.2f} to {high:.2f})"
