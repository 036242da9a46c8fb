"""What z says of actions and of motion: linear probes, open-loop rollouts, and z carried to another scene or body.

    probes      ridge regression from z to the action chunk and to how agent and object move; R^2 on held-out pairs
    rollouts    u^_{k+1} = D(u^_k, z_k) from u^_0 = u_0 with z_k of the true pair (LaWAM, Fig. 10)
    transfer    D(u'_0, z) from another start u'_0: does the agent there move as the one that z was inferred from? (Fig. 5)

Transfer is measured twice: by a heat map, the similarity of every patch to the patch in which the agent starts, and by a linear
probe that reads the agent's place. The direction in which its centre or place moves is compared with the direction in which the
source's agent moved in its picture. The heat map is one of what differs from the scene's usual picture: of the tokens as they are,
which have most in common everywhere, it did not tell directions even of true frames.

Shape legend: P pairs, N patch tokens, C channels, K steps, D dimensions of a target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from foreact.data.lerobot import STATE, LeRobotDataset
from foreact.data.movement import object_positions
from foreact.evaluation.latents import TRUE, Latents, Learner, Scene, Tally, latents
from foreact.evaluation.poses import PoseTarget, find_poses
from foreact.recordings.pairs import gather_actions

_PENALTIES = tuple(10.0**k for k in range(-3, 4))  # of standardised features, times the number of pairs
_COMPONENTS = 32  # of a frame's tokens, for the probe that sees no z
_MOTION_SHARE = 24 / 256  # of the tokens count as the region that moves, as in LaWAM's figure
_LEAST_MOVE = 1 / 16  # of the picture's side that a source's agent moves


# Linear probes


def targets(scene: Scene) -> dict[str, np.ndarray]:
    """What is probed for, (P, D) each: the action chunk, and how far the agent's state and the object move."""
    data, pairs = scene.cache.dataset, scene.pairs
    episodes = [int(e) for e in np.unique(pairs.episode)]
    found = {}
    if all(data.has_actions(e) for e in episodes):
        chunks = gather_actions({e: data.actions(e) for e in episodes}, pairs, int(pairs.horizon.max()))
        found["actions"] = chunks.reshape(len(chunks), -1).astype(np.float64)
    if STATE in data.features:
        found["agent"] = _moved({e: data.column(STATE, e) for e in episodes}, scene)
    objects = {e: object_positions(data, e) for e in episodes}
    if all(rows is not None for rows in objects.values()):
        found["object"] = _moved({e: rows for e, rows in objects.items() if rows is not None}, scene)
    return found


def _moved(rows: Mapping[int, np.ndarray], scene: Scene) -> np.ndarray:
    triples = zip(scene.pairs.episode, scene.pairs.start, scene.pairs.horizon, strict=True)
    return np.stack([rows[int(e)][t + h] - rows[int(e)][t] for e, t, h in triples]).astype(np.float64)


class Ridge:
    """Linear regression on standardised features; of the penalties the one with the least leave-one-out error."""

    def __init__(self, features_PF: np.ndarray, targets_PD: np.ndarray) -> None:
        self._mean, self._scale = features_PF.mean(axis=0), np.maximum(features_PF.std(axis=0), 1e-8)
        self.centre, self.spread = targets_PD.mean(axis=0), np.maximum(targets_PD.std(axis=0), 1e-8)
        x, y = self._standardise(features_PF), (targets_PD - self.centre) / self.spread
        values, vectors = np.linalg.eigh(x @ x.T)
        turned = vectors.T @ y
        best = np.inf
        for penalty in _PENALTIES:
            inverse = 1 / (np.maximum(values, 0) + penalty * len(x))
            dual = vectors @ (inverse[:, None] * turned)
            left_out = dual / (np.square(vectors) @ inverse)[:, None]
            if (error := np.square(left_out).mean()) < best:
                best, self._weights = error, x.T @ dual

    def errors(self, features_PF: np.ndarray, targets_PD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared errors of the prediction and of the training mean, per pair, in units of the targets' variance; both (P,)."""
        wrong = np.square((self.predict(features_PF) - targets_PD) / self.spread).mean(axis=1)
        return wrong, np.square((targets_PD - self.centre) / self.spread).mean(axis=1)

    def predict(self, features_PF: np.ndarray) -> np.ndarray:
        """Targets (P, D) in their own units."""
        return self._standardise(features_PF) @ self._weights * self.spread + self.centre

    def _standardise(self, features_PF: np.ndarray) -> np.ndarray:
        return (features_PF - self._mean) / self._scale


@dataclass(frozen=True, kw_only=True)
class Components:
    """The first principal components of the tokens of training and held-out pairs, (P, F) each, fitted on the former."""

    training: Tensor
    held_out: Tensor

    @classmethod
    def of_frame(cls, training: Scene, held_out: Scene) -> Components:
        """Of the current frame."""
        return cls._fit(training.base(0.0), held_out.base(0.0))

    @classmethod
    def of_change(cls, training: Scene, held_out: Scene) -> Components:
        """Of the difference of both frames."""
        return cls._fit(*(scene.base(1.0) - scene.base(0.0) for scene in (training, held_out)))

    @classmethod
    def _fit(cls, training: Tensor, held_out: Tensor) -> Components:
        mean = training.flatten(1).mean(dim=0)
        centred = training.flatten(1) - mean
        axes = torch.linalg.svd(centred, full_matrices=False).Vh[:_COMPONENTS].T
        return cls(training=centred @ axes, held_out=(held_out.flatten(1) - mean) @ axes)


def probe(
    z_training: Tensor,
    training: Scene,
    z: Mapping[str, Tensor],
    held_out: Scene,
    tally: Tally,
    *,
    beside: Components | None = None,
) -> None:
    """R^2 of linear probes that are fitted on z of training pairs and read z of held-out pairs, or what replaces it.

    With `beside`, also of probes that see the current frame beside z: what z adds to what the frame tells.
    """
    wanted, known = targets(held_out), {"": (_flat(z_training), {c: _flat(latent) for c, latent in z.items()})}
    if beside is not None:
        frame, held = _flat(beside.training), _flat(beside.held_out)
        plain, read = known[""]
        known["beside_"] = np.hstack([plain, frame]), {c: np.hstack([latent, held]) for c, latent in read.items()}
    for name, truth in targets(training).items():
        for prefix, (fitted, read) in known.items():
            ridge = Ridge(fitted, truth)
            for control, features in read.items():
                error, spread = ridge.errors(features, wanted[name])
                tally.add(f"r2_{name}_{prefix}{control}", spread - error, held_out.episodes, reference=spread)


def probe_frames(training: Scene, held_out: Scene) -> list[Tally]:
    """The same probes without any z: from the current frame alone, and from the change of the tokens itself."""
    seen = {
        "current_frame": Components.of_frame(training, held_out),
        "token_change": Components.of_change(training, held_out),
    }
    tallies = [Tally(model=name) for name in seen]
    for tally, found in zip(tallies, seen.values(), strict=True):
        probe(found.training, training, {TRUE: found.held_out}, held_out, tally)
    return tallies


def _flat(z: Tensor) -> np.ndarray:
    return z.flatten(1).double().numpy()


# Open-loop rollouts


def roll_out(learner: Learner, scene: Scene, steps: int, mean_z: Tensor, usual: Tensor, tally: Tally) -> None:
    """Cosine of u^_k with u_k, of u^_k with u_0 and of u_k with u_0: `cosine` over all patches, `motion_cosine` over those that
    move most and of what differs from the usual picture, since most of a token is the same in every frame.

    Args:
        learner: decodes z.
        scene: pairs whose horizon is the whole trajectory, of `steps` equal strides.
        steps: K.
        mean_z: (Q, Z) of training pairs.
        usual: tokens (N, C) of the scene's mean picture.
        tally: gets the values, with k as the chunk.
    """
    first = scene.base(0.0)

    def add(name: str, tokens: Tensor, others: Tensor, moving: Tensor, step: int) -> None:
        cosine = F.cosine_similarity(tokens, others, dim=2).mean(dim=1)
        there = (F.cosine_similarity(tokens - usual, others - usual, dim=2) * moving).sum(dim=1) / moving.sum(dim=1)
        for metric, values in (("cosine", cosine), ("motion_cosine", there)):
            tally.add(f"{metric}_{name}", values.numpy(), scene.episodes, chunk=step)

    rolled: dict[str, Tensor] = {}
    for k in range(steps):
        z = latents(learner, scene, mean_z, start=k / steps, end=(k + 1) / steps)
        truth = scene.base((k + 1) / steps)
        moving = most_changed(first, truth)
        for control, latent in z.items():
            tokens = rolled.get(control, scene.tokens(learner.own, 0.0))
            rolled[control] = learner.decode(tokens, latent)
            predicted = learner.to_base(rolled[control])
            add(f"truth_{control}", predicted, truth, moving, k + 1)
            if control == TRUE:
                add("start", predicted, first, moving, k + 1)
        add("copy", first, truth, moving, k + 1)


def most_changed(first: Tensor, last: Tensor) -> Tensor:
    """Which patches change most, boolean (P, N): about a tenth of them, at least one."""
    count = max(1, round(_MOTION_SHARE * first.shape[1]))
    change = (last - first).norm(dim=2)
    return torch.zeros_like(change, dtype=torch.bool).scatter(1, change.topk(count, dim=1).indices, True)


# Transfer


def agent_pose(dataset: LeRobotDataset) -> PoseTarget | None:
    """Where the agent is in the picture, if the dataset tells."""
    return next((p for p in find_poses(dataset) if p.name == "agent" and p.side is not None), None)


def agent_places(scene: Scene, share: float) -> np.ndarray | None:
    """Places (P, 2) of the agent at t + share * h, as shares of the picture (x to the right, y down); None if unknown."""
    target = agent_pose(scene.cache.dataset)
    if target is None or target.side is None:
        return None
    rows = {int(e): target.poses(scene.cache.dataset, int(e)) for e in np.unique(scene.episodes)}
    times = scene.pairs.start + np.rint(share * scene.pairs.horizon).astype(np.int64)
    return np.stack([rows[int(e)][t] for e, t in zip(scene.pairs.episode, times, strict=True)]) / target.side


class AgentReader:
    """Reads the direction in which the agent moves from true or imagined tokens of one scene.

    Args:
        tokens: true ones (F, N, C): what the scene usually looks like, and what the linear probe is fitted on.
        places: where the agent is in these frames, (F, 2), as shares of the picture (x to the right, y down).
        grid: rows and columns of the patches.
    """

    def __init__(self, tokens: Tensor, places: np.ndarray, grid: tuple[int, int]) -> None:
        self.grid, self.usual = grid, tokens.mean(dim=0)
        self._ridge = Ridge(_flat(tokens - self.usual), places)

    @classmethod
    def fit(cls, scene: Scene) -> AgentReader | None:
        """A reader fitted on both frames of a scene's pairs; None where the dataset does not tell the agent's place."""
        ends = [(scene.base(share), agent_places(scene, share)) for share in (0.0, 1.0)]
        places = [p for _, p in ends if p is not None]
        if len(places) < len(ends):
            return None
        return cls(torch.cat([t for t, _ in ends]), np.concatenate(places), scene.cache.spec.grid)

    def agreements(self, first: Tensor, last: Tensor, places: np.ndarray, motion: np.ndarray) -> dict[str, np.ndarray]:
        """Cosine between `motion` and the agent's motion from `first` to `last`, read in both ways; 0 where it rests.

        Args:
            first: tokens (P, N, C).
            last: tokens (P, N, C).
            places: (P, 2), where the agent is in `first`.
            motion: (P, 2).
        """
        start, end = first - self.usual, last - self.usual
        rows, columns = self.grid
        column, row = np.clip((places * [columns, rows]).astype(int), 0, [columns - 1, rows - 1]).T
        anchor = start[torch.arange(len(start)), torch.from_numpy(row * columns + column)][:, None]
        heat = centre(end, anchor, self.grid) - centre(start, anchor, self.grid)
        read = self._ridge.predict(_flat(end)) - self._ridge.predict(_flat(start))
        return {"heat": _cosine(heat.numpy(), motion), "read": _cosine(read, motion)}


def _cosine(shift: np.ndarray, motion: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(shift, axis=1)
    cosine = (shift * motion).sum(axis=1) / np.maximum(length * np.linalg.norm(motion, axis=1), 1e-12)
    return np.where(length > 1e-6, cosine, 0.0)


def transfer(
    learner: Learner,
    source: Scene,
    z: Latents,
    goal: Scene,
    partner: np.ndarray,
    reader: AgentReader | None,
    tally: Tally,
    subset: str,
) -> None:
    """Agreement of directions, from -1 to 1, when z of each source pair is decoded at the start of the goal's pair `partner`.

    The copy of the goal's frame moves nothing and scores 0. Where either dataset does not tell the agent's place in the picture,
    nothing is added. `reader` is one of the goal's scene, fitted on other pairs.
    """
    motion, starts = agent_motion(source), agent_places(goal, 0.0)
    if motion is None or starts is None or reader is None:
        return
    tokens, first = goal.tokens(learner.own, 0.0)[partner], goal.base(0.0)[partner]
    for control, latent in z.items():
        predicted = learner.to_base(learner.decode(tokens, latent))
        for way, agreement in reader.agreements(first, predicted, starts[partner], motion).items():
            _add_moved(tally, f"transfer_{way}_{control}", agreement, motion, source, subset)


def transfer_of_truth(scene: Scene, reader: AgentReader | None, tally: Tally, subset: str) -> None:
    """What is read from the true frames that follow: how well directions can be told at all."""
    motion, starts = agent_motion(scene), agent_places(scene, 0.0)
    if motion is None or starts is None or reader is None:
        return
    for way, agreement in reader.agreements(scene.base(0.0), scene.base(1.0), starts, motion).items():
        _add_moved(tally, f"directions_{way}_{TRUE}", agreement, motion, scene, subset)


def agent_motion(scene: Scene) -> np.ndarray | None:
    """How the agent moves from t to t + h, (P, 2) as shares of the picture; None if unknown."""
    before, after = agent_places(scene, 0.0), agent_places(scene, 1.0)
    return None if before is None or after is None else after - before


def _add_moved(tally: Tally, metric: str, values: np.ndarray, motion: np.ndarray, scene: Scene, subset: str) -> None:
    """Add the values of pairs in which the agent moves."""
    moved = np.linalg.norm(motion, axis=1) >= _LEAST_MOVE
    if moved.any():
        tally.add(metric, values[moved], scene.episodes[moved], subset=subset)


def centre(tokens: Tensor, anchor: Tensor, grid: tuple[int, int]) -> Tensor:
    """Centre (P, 2), x and y in patches, of the similarity of tokens (P, N, C) to an anchor (P, 1, C), cut at 0.4 as in LaWAM."""
    heat = (F.cosine_similarity(tokens, anchor, dim=2).double().clamp(0.4, 1.0) - 0.4) + 1e-9
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    places = torch.stack([columns, rows], dim=-1).flatten(0, 1)
    return heat @ places / heat.sum(dim=1, keepdim=True)
