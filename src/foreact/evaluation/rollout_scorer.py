"""The loop over windows: the truth is read, every model imagines it, and both are handed to the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from foreact.core.contracts import LatentActionModel, WorldModel
from foreact.core.errors import ForeactError
from foreact.core.progress import OnProgress
from foreact.encoders.pixels import PixelEncoder, draw_pixels
from foreact.evaluation.aggregate import PERSISTENCE, Scoreboard
from foreact.evaluation.figures import film_strip
from foreact.evaluation.intervals import Bootstrap
from foreact.evaluation.poses import PoseTarget
from foreact.evaluation.residuals import ResampledResiduals
from foreact.evaluation.results import FilmStrip
from foreact.evaluation.rollouts import Protocol, Window, imagine, oracle, persistence
from foreact.evaluation.scoring import Judge, Truth
from foreact.evaluation.state_probe import ProbeConfig
from foreact.recordings.token_cache import TokenCache, encode_frames

ORACLE = "oracle"
TRUE_TOKENS = "true_tokens"

Future = tuple[Tensor, Tensor | None]
"""Imagined tokens (K, S, N, C) and, of a model that imagines pictures, these (K, S, height, width, 3)."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is evaluated.

    Attributes:
        protocol: windows, chunks, samples, seed.
        pose_columns: float columns to be read by the state probe besides the known ones.
        probe: how the state probe is trained.
        bootstrap: how intervals are made.
        strips: film strips, each of another episode.
        films: of the first film strips, how many are moving pictures as well.
        strip_samples: samples of a stochastic model in a strip.
        timing_batch: batch size of the second timing, beside 1.
        keep_episodes: whether the values of single episodes are kept in the results.
    """

    protocol: Protocol = field(default_factory=Protocol)
    pose_columns: tuple[str, ...] = ()
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    strips: int = 6
    films: int = 3
    strip_samples: int = 3
    timing_batch: int = 16
    keep_episodes: bool = False


@dataclass(frozen=True, kw_only=True)
class RolloutScorer:
    """Rolls models out on a dataset and has what they imagine judged: the one loop over windows.

    Attributes:
        cache: tokens of the dataset, in which all are judged.
        config: protocol and film strips.
        device: of models and tokens.
        decoder: image decoder or None.
    """

    cache: TokenCache
    config: EvaluationConfig
    device: torch.device
    decoder: Any = None

    @torch.no_grad()
    def run(
        self,
        models: Mapping[str, WorldModel],
        judge: Judge,
        windows: Sequence[Window],
        on_progress: OnProgress,
        *,
        oracle_model: LatentActionModel | None = None,
        references: bool = True,
        shown: Mapping[Window, bool] | None = None,
    ) -> tuple[Scoreboard, tuple[FilmStrip, ...]]:
        """Scores of all windows, and film strips of some.

        Args:
            models: by name.
            judge: what all predictions are held against.
            windows: to be rolled out.
            on_progress: called with (windows done, windows).
            oracle_model: of the oracle row, which is left out without one.
            references: whether persistence, true tokens and regressions with resampled residuals are rows, too.
            shown: windows to be drawn, and whether something moves in them.
        """
        board, strips = Scoreboard(), []
        residuals = ResampledResiduals.collect(models if references else {}, windows, self.config.protocol, self.error)
        for index, window in enumerate(windows):
            truth = self.truth(window, judge)
            futures = {name: self.future(model, window) for name, model in models.items()}
            if references:
                futures[PERSISTENCE] = persistence(truth.tokens), None
            if oracle_model is not None:
                futures[ORACLE] = oracle(oracle_model, truth.tokens), None
            _require_finite(futures, window)
            judged = {name: judge.score(samples, truth, own) for name, (samples, own) in futures.items()}
            scores = {name: found for name, (found, _) in judged.items()}
            pictures = {name: images for name, (_, images) in judged.items()}
            if references:
                scores |= residuals.scores({name: samples for name, (samples, _) in futures.items()}, truth, window)
                drawn = pictures[TRUE_TOKENS] = judge.draw(truth.tokens[None, 1:])
                scores[TRUE_TOKENS] = judge.score_images(drawn, truth) | judge.score_poses(
                    truth.tokens[None, 1:], truth
                )
            board.add(window.episode, scores)
            if shown and window in shown and truth.images is not None:
                strips.append(self.strip(window, truth.images, pictures, moving=shown[window]))
            on_progress(index + 1, len(windows))
        return board, tuple(strips)

    def strip(self, window: Window, truth: Tensor, pictures: Mapping[str, Tensor | None], *, moving: bool) -> FilmStrip:
        """The film strip of a window; `pictures` are samples (K, S, height, width, 3) by row."""
        return film_strip(
            truth,
            {name: images[: self.config.strip_samples] for name, images in pictures.items() if images is not None},
            episode=window.episode,
            frames=tuple(self._times(window)),
            task=self.cache.dataset.episode(window.episode).task,
            moving=moving,
        )

    def future(self, model: WorldModel, window: Window) -> Future:
        """Imagined tokens (K, S, N, C) in the common encoder's space.

        What a model of pixels imagines is seen by that encoder as if it had been filmed; its pictures are its own.
        """
        start, actions = self.example(window, model)
        futures = imagine(model, start, actions, window, self.config.protocol)
        config: Any = model.config
        if config.tokens == self.cache.spec or not futures.isfinite().all():
            return futures, None
        images = draw_pixels(futures.flatten(0, 1), config.tokens.grid)
        filmed = (images * 255).round().to(torch.uint8)
        tokens = torch.from_numpy(encode_frames(self.cache.encoder, filmed.cpu().numpy()).astype(np.float32)).to(
            self.device
        )
        shape = futures.shape[:2]
        return tokens.unflatten(0, shape), self._fitted(images).unflatten(0, shape)

    def error(self, model: WorldModel, window: Window) -> Tensor:
        """What happened minus what a deterministic model imagined, (S, N, C)."""
        return self._true_tokens(window)[1:] - self.future(model, window)[0][0]

    def _fitted(self, images: Tensor) -> Tensor:
        """Pictures (B, height, width, 3) in the size of the true ones."""
        size = images.shape[1:3] if self.decoder is None else self.decoder.config.image_size
        if images.shape[1:3] == torch.Size(size):
            return images
        channels_first = images.permute(0, 3, 1, 2)
        resized = F.interpolate(channels_first, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
        return resized.permute(0, 2, 3, 1)

    def truth(self, window: Window, judge: Judge) -> Truth:
        """What happened in a window, at step 0 and at the end of each chunk."""
        times = self._times(window)
        images = None
        if self.decoder is not None:
            size = self.decoder.config.image_size[0]
            read = [self.cache.dataset.frames(window.episode, start=t, count=1, size=size)[0] for t in times]
            images = torch.from_numpy(np.stack(read)).to(self.device).float() / 255
        return Truth(
            tokens=self._true_tokens(window),
            images=images,
            poses=self.poses(window, judge.probe.targets if judge.probe else ()),
        )

    def poses(self, window: Window, targets: Sequence[PoseTarget]) -> dict[str, np.ndarray]:
        """True poses at step 0 and at the end of each chunk: metric -> (S + 1, D)."""
        times = self._times(window)
        return {t.metric: t.poses(self.cache.dataset, window.episode)[times] for t in targets}

    def example(self, window: Window, model: WorldModel) -> tuple[Tensor, np.ndarray]:
        """s_0 (N, C), as the model sees it, and actions (steps, A) of a window."""
        config: Any = model.config
        dataset, last = self.cache.dataset, window.start + self.config.protocol.steps
        actions = dataset.actions(window.episode)[window.start : last]
        if config.tokens == self.cache.spec:
            return self._tokens([window.episode], [window.start])[0], actions
        size = config.tokens.image_size
        frame = dataset.frames(window.episode, start=window.start, count=1, size=size)
        return PixelEncoder(size).encode(torch.from_numpy(np.ascontiguousarray(frame)))[0].to(self.device), actions

    def token_changes(self, windows: Sequence[Window]) -> np.ndarray:
        """Mean |s_T - s_0| of each window, (W,)."""
        ends = [self._tokens([w.episode] * 2, [w.start, w.start + self.config.protocol.steps]) for w in windows]
        return np.array([float((last - first).abs().mean()) for first, last in ends])

    def motion_threshold(self, episodes: Sequence[int], pairs: int = 256) -> float:
        """Mean change of a token (RMS over channels) over one chunk, in random pairs of the training episodes."""
        chunk = self.config.protocol.chunk
        lengths = {e: self.cache.dataset.episode(e).length for e in episodes}
        places = np.array([(e, t) for e, length in lengths.items() for t in range(length - chunk)])
        if not len(places):
            return 0.0
        chosen = places[np.random.default_rng(0).integers(len(places), size=pairs)]
        changes = [
            (self._tokens([e, e], [t, t + chunk]).diff(dim=0).square().mean(dim=-1).sqrt()).mean() for e, t in chosen
        ]
        return float(torch.stack(changes).mean())

    def _times(self, window: Window) -> list[int]:
        """Frames of step 0 and of the ends of the chunks."""
        return [window.start + step for step in (0, *self.config.protocol.boundaries)]

    def _true_tokens(self, window: Window) -> Tensor:
        times = self._times(window)
        return self._tokens([window.episode] * len(times), times)

    def _tokens(self, episodes: Sequence[int], times: Sequence[int]) -> Tensor:
        tokens = self.cache.gather(np.asarray(episodes), np.asarray(times))
        return torch.from_numpy(np.asarray(tokens, dtype=np.float32)).to(self.device)


def _require_finite(futures: Mapping[str, Future], window: Window) -> None:
    for name, (samples, _) in futures.items():
        if not samples.isfinite().all():
            raise ForeactError(
                f"{name} imagines values that are not finite (episode {window.episode}, frame {window.start}): "
                "its training diverged, train it again"
            )


def choose_strips(windows: Sequence[Window], moving: np.ndarray, count: int) -> dict[Window, bool]:
    """Windows to be shown, chosen without looking at any prediction, and whether something moves in them.

    Of each episode the first window in which something moves (or the first, where nothing ever does); of these at most
    `count`, evenly spread over the episodes with movement, filled up from the others.
    """
    first: dict[bool, dict[int, Window]] = {True: {}, False: {}}
    for window, moves in zip(windows, moving, strict=True):
        first[bool(moves)].setdefault(window.episode, window)
    active = list(first[True].values())
    still = [window for episode, window in first[False].items() if episode not in first[True]]
    chosen = _spread(active, count)
    return {window: window in active for window in (*chosen, *_spread(still, count - len(chosen)))}


def _spread(items: list[Window], count: int) -> list[Window]:
    if count <= 0 or not items:
        return []
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))]
