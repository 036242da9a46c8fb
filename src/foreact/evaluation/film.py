"""The moving picture of a report: what was filmed, what was imagined, and how far apart they are, frame by frame.

A chunk's pictures are all imagined from its first one, after 1, 2, ... actions; the next chunk starts where this one ended. So a
film shows what the numbers are about: predictions fed back once per chunk, not once per picture.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageSequence
from torch import Tensor

from foreact.core.contracts import WorldModel
from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically
from foreact.dreams.dream import Dream, DreamState
from foreact.evaluation.figures import data_uri, label
from foreact.evaluation.results import Film, Results
from foreact.evaluation.rollout_scorer import RolloutScorer
from foreact.evaluation.rollouts import Protocol, Window, noise_seed

REAL, DIFFERENCE = "real", "difference"
_HOLD_MS = 900  # of the last frame
_GAP = 2  # white pixels between panels
_LINE = 14  # of their names
_FUTURES = 2  # of a stochastic model
_MODELS = 2


def make_films(scorer: RolloutScorer, models: Mapping[str, WorldModel], windows: Sequence[Window]) -> tuple[Film, ...]:
    """Films of some windows; none without an image decoder.

    Args:
        scorer: knows recordings, protocol and image decoder.
        models: the first ones that predict its tokens are shown.
        windows: to be shown.
    """
    same = [name for name, model in models.items() if model.config.tokens == scorer.cache.spec]  # type: ignore[attr-defined]
    if scorer.decoder is None or not same:
        return ()
    return tuple(_make_film(scorer, {name: models[name] for name in same[:_MODELS]}, window) for window in windows)


def _make_film(scorer: RolloutScorer, models: Mapping[str, WorldModel], window: Window) -> Film:
    protocol, dataset = scorer.config.protocol, scorer.cache.dataset
    size = scorer.decoder.config.image_size[0]
    truth = dataset.frames(window.episode, start=window.start, count=protocol.steps + 1, size=size)
    panels = {REAL: truth}
    for name, model in models.items():
        dream, futures = Dream(model, decoder=scorer.decoder), _FUTURES if model.stochastic else 1
        for k in range(futures):
            drawn = imagine_every_frame(
                dream, *scorer.example(window, model), protocol, noise_seed(window, protocol.seed, k)
            )
            panels[name if futures == 1 else f"{name} #{k + 1}"] = np.concatenate([truth[:1], drawn])
        if DIFFERENCE not in panels:
            panels[DIFFERENCE] = _difference(truth, panels[name if futures == 1 else f"{name} #1"])
    frames = [_side_by_side([panel[t] for panel in panels.values()]) for t in range(len(truth))]
    return Film(
        episode=window.episode,
        start=window.start,
        task=dataset.episode(window.episode).task,
        panels=tuple(panels),
        moving=animation(frames, dataset.fps),
        still=data_uri(frames[-1]),
    )


@torch.no_grad()
def imagine_every_frame(dream: Dream, start: Tensor, actions: np.ndarray, protocol: Protocol, seed: int) -> np.ndarray:
    """The picture after each action, uint8 (steps, height, width, 3): at the ends of chunks the future of `rollouts.imagine`.

    Args:
        dream: with an image decoder.
        start: tokens (N, C).
        actions: (steps, A) in the units of the recordings.
        protocol: steps and chunks.
        seed: of the future.
    """
    state, drawn = dream.start(start[None], [seed]), []
    for first, last in zip((0, *protocol.boundaries[:-1]), protocol.boundaries, strict=True):
        count = last - first
        lengths = torch.arange(1, count + 1)
        after = dream.step(_copies(state, count), np.repeat(actions[None, first:last], count, axis=0), lengths)
        drawn.append(dream.draw(after))
        state = dream.step(state, actions[None, first:last])
    return np.concatenate(drawn)


def animation(frames: Sequence[np.ndarray], fps: float) -> str:
    """Pictures uint8 (height, width, 3) as an animated data URI that repeats for ever and rests on its last picture."""
    durations = [round(1000 / fps)] * (len(frames) - 1) + [_HOLD_MS]
    return "data:image/webp;base64," + base64.b64encode(_webp(frames, durations)).decode()


def write_film(results: Results, path: str | Path, *, films: int = 2) -> None:
    """The first films of results, one below the other with the panels' names, as an animated WebP for a README.

    Raises:
        ForeactError: the results hold no films, or the file cannot be written.
    """
    if not results.films:
        raise ForeactError("the results hold no films: evaluate again, with an image decoder")
    read = [_frames(film.moving) for film in results.films[:films]]
    count, step = max(len(frames) for frames, _ in read), min(step for _, step in read)
    names = _names(results.films[0].panels, read[0][0][0].shape[1])
    together = [np.concatenate([names, *(frames[min(t, len(frames) - 1)] for frames, _ in read)]) for t in range(count)]
    write_atomically(Path(path), _webp(together, [step] * count))


def _webp(frames: Sequence[np.ndarray], durations: Sequence[int]) -> bytes:
    content = io.BytesIO()
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(content, "WEBP", save_all=True, append_images=others, duration=list(durations), loop=0, quality=80)
    return content.getvalue()


def _frames(moving: str) -> tuple[list[np.ndarray], int]:
    """Pictures of an animation, each shown for the same number of milliseconds, and that number; equal ones are stored once."""
    content = io.BytesIO(base64.b64decode(moving.partition(",")[2]))
    read = [(f.convert("RGB"), int(f.info["duration"])) for f in ImageSequence.Iterator(Image.open(content))]
    step = min(duration for _, duration in read)
    return [np.asarray(picture) for picture, duration in read for _ in range(round(duration / step))], step


def _names(panels: Sequence[str], width: int) -> np.ndarray:
    """A line with the panels' names over their middles, uint8 (_LINE, width, 3)."""
    line = Image.new("RGB", (width, _LINE), "white")
    for k, panel in enumerate(panels):
        ImageDraw.Draw(line).text(((k + 0.5) * width / len(panels), 2), name_of(panel), fill="black", anchor="mt")
    return np.asarray(line)


def name_of(panel: str) -> str:
    """A panel's name for a reader."""
    return {REAL: "filmed", DIFFERENCE: "difference"}.get(panel) or label(panel)


def _copies(state: DreamState, count: int) -> DreamState:
    return DreamState(
        tokens=state.tokens.expand(count, *state.tokens.shape[1:]),
        seeds=state.seeds * count,
        chunks=state.chunks,
        steps=state.steps.expand(count),
    )


def _difference(truth: np.ndarray, imagined: np.ndarray) -> np.ndarray:
    """How far pictures are apart, on white: the darker, the farther."""
    apart = np.abs(truth.astype(np.int16) - imagined).max(axis=-1, keepdims=True)
    return np.repeat(255 - np.minimum(255, 2 * apart), 3, axis=-1).astype(np.uint8)


def _side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((pictures[0].shape[0], _GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(parts[:-1], axis=1)
