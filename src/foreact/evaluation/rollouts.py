"""Which futures are imagined and how: the protocol, the windows, and the rollouts of models and reference rows.

From one frame, `steps` actions are taken in chunks (the paper's ManiSkill protocol: 30 in chunks of 10); each chunk
starts from the tokens that the chunk before it predicted. A window is such a stretch of a held-out episode.

The K samples of one window are K rows of one dream, each with a seed of its own made of (seed, episode, start, k): the noise of
a sample depends neither on other samples, nor on other windows, nor on any batch size, nor on the device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.contracts import LatentActionModel, WorldModel
from foreact.core.errors import ForeactError
from foreact.data.lerobot import LeRobotDataset
from foreact.data.movement import object_positions
from foreact.dreams.dream import Dream
from foreact.evaluation.poses import PoseTarget

_MOVES = {2: (5.0, "5 pixels of the simulator's window"), 3: (0.01, "1 cm")}
"""By the dimension of object positions: displacement from which an object counts as moving."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is imagined.

    Attributes:
        steps: actions from the first frame to the last.
        chunk: actions per prediction; the last chunk takes what is left.
        starts_per_episode: at most, evenly spread from frame 0 to the last that leaves `steps` actions.
        samples: K, futures per window of a stochastic model.
        seed: of the sampling noise.
    """

    steps: int = 30
    chunk: int = 10
    starts_per_episode: int = 4
    samples: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "chunk", "starts_per_episode", "samples"):
            if getattr(self, name) < 1:
                raise ForeactError(f"the evaluation's {name} must be at least 1, not {getattr(self, name)}")

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Steps at which futures are compared, after step 0: 10, 20, 30."""
        return (*range(self.chunk, self.steps, self.chunk), self.steps)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of `Protocol.steps` actions of an episode, from frame `start`."""

    episode: int
    start: int


def select_windows(lengths: Mapping[int, int], protocol: Protocol) -> tuple[Window, ...]:
    """Windows of the episodes {episode: frames} that are long enough, in their order."""
    windows = []
    for episode, length in lengths.items():
        last = length - 1 - protocol.steps
        if last >= 0:
            starts = np.unique(np.linspace(0, last, protocol.starts_per_episode).round().astype(int))
            windows += [Window(episode=episode, start=int(start)) for start in starts]
    return tuple(windows)


def usable_lengths(dataset: LeRobotDataset, episodes: Iterable[int], protocol: Protocol) -> dict[int, int]:
    """Frames of the episodes that have actions and `steps` of them.

    Raises:
        ForeactError: no episode is usable, or an action is not finite.
    """
    episodes = tuple(episodes)
    with_actions = {e: dataset.episode(e).length for e in episodes if dataset.has_actions(e)}
    lengths = {e: length for e, length in with_actions.items() if length > protocol.steps}
    if not lengths:
        raise ForeactError(
            f"{dataset.root}: none of the {len(episodes)} held-out episodes can be evaluated; {len(with_actions)} have "
            f"actions, the longest of them {max(with_actions.values(), default=0)} frames, and {protocol.steps} steps "
            f"need {protocol.steps + 1}: evaluate with fewer steps"
        )
    for episode in lengths:
        dataset.actions(episode)  # refuses what is not finite, before the long work
    return lengths


def check_model(name: str, model: WorldModel, dataset: LeRobotDataset, protocol: Protocol) -> None:
    """Refuse a model of another action dimension or a shorter horizon.

    Raises:
        ForeactError: it cannot be rolled out on `dataset` by `protocol`.
    """
    config: Any = model.config
    if config.action_dim != dataset.action_dim:
        raise ForeactError(
            f"{name} was trained with actions of {config.action_dim} dimensions, {dataset.root} has {dataset.action_dim}"
        )
    if config.horizon < protocol.chunk:
        raise ForeactError(
            f"{name} was trained for chunks of at most {config.horizon} actions, not {protocol.chunk}: use a smaller chunk"
        )


def noise_seed(window: Window, seed: int, *sample: int) -> int:
    """Of what is drawn in a window, or in one sample of it."""
    state = np.random.SeedSequence((seed, window.episode, window.start, *sample)).generate_state(1, np.uint64)[0]
    return int(state) & (2**63 - 1)


@torch.no_grad()
def imagine(model: WorldModel, start: Tensor, actions: np.ndarray, window: Window, protocol: Protocol) -> Tensor:
    """Futures of a window, chunk by chunk.

    Args:
        model: to be rolled out.
        start: s_0, (N, C).
        actions: (steps, A) in the data's units.
        window: seeds the noise.
        protocol: chunks, samples and seed.

    Returns:
        (K, S, N, C) for S chunks; K is 1 for a deterministic model.
    """
    samples = protocol.samples if model.stochastic else 1
    dream = Dream(model)
    state = dream.start(
        start.expand(samples, *start.shape), [noise_seed(window, protocol.seed, k) for k in range(samples)]
    )
    futures = []
    for first, last in zip((0, *protocol.boundaries[:-1]), protocol.boundaries, strict=True):
        state = dream.step(state, np.repeat(actions[None, first:last], samples, axis=0))
        futures.append(state.tokens.float())
    return torch.stack(futures, dim=1)


def oracle(rla: LatentActionModel, truth: Tensor) -> Tensor:
    """What RLA can say at best: at each chunk the z of the true frames, decoded on the oracle's own previous tokens.

    Args:
        rla: the autoencoder.
        truth: true tokens at step 0 and at the end of each chunk, (S + 1, N, C).

    Returns:
        (1, S, N, C).
    """
    z = rla.infer(truth[:-1], truth[1:])
    tokens, futures = truth[:1], []
    for chunk in range(len(z)):
        tokens = rla.decode(tokens, z[chunk : chunk + 1]).float()
        futures.append(tokens)
    return torch.stack(futures, dim=1)


def persistence(truth: Tensor) -> Tensor:
    """Nothing changes: s_0 of `truth` (S + 1, N, C) as the future of every chunk, (1, S, N, C)."""
    return truth[:1].expand(len(truth) - 1, *truth.shape[1:])[None]


def moving_windows(
    dataset: LeRobotDataset,
    windows: tuple[Window, ...],
    protocol: Protocol,
    poses: tuple[PoseTarget, ...],
    token_change: np.ndarray,
) -> tuple[np.ndarray, str]:
    """In which windows something moves.

    Args:
        dataset: gives object positions where its columns are known.
        windows: W of them.
        protocol: how long they are.
        poses: what is known of the columns.
        token_change: mean |s_T - s_0| of each window, (W,).

    Returns:
        Mask (W,) and the rule in words.
    """
    if any(pose.name == "block" for pose in poses):
        positions = {e: object_positions(dataset, e) for e in {w.episode for w in windows}}
        paths = [positions[w.episode][w.start : w.start + protocol.steps + 1] for w in windows]  # type: ignore[index]
        travelled = np.array([np.linalg.norm(path - path[0], axis=1).max() for path in paths])
        threshold, words = _MOVES[paths[0].shape[1]]
        return travelled > threshold, f"the object gets more than {words} away from where it was"
    return token_change > np.median(token_change), "the tokens change more than in the median window"
