"""How predictions in the coin world are scored, and what that says.

Shape legend: S training seeds, n held-out pairs, K futures per pair, N patch tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from foreact.core.contracts import WorldModel
from foreact.core.token_spec import TokenSpec
from foreact.dreams.dream import Dream
from foreact.encoders.pixels import are_pixels, cut_patches, draw_pixels
from foreact.envs import coin
from foreact.evaluation.dressing import SUFFIX
from foreact.evaluation.figures import label
from foreact.evaluation.intervals import Bootstrap, Interval
from foreact.evaluation.metrics import energy_score, local_energy_score
from foreact.studies.verdicts import Verdict, below, within

HELD_OUT, FUTURES = 200, 4
IDEAL = "true_sampler"
_SEED = 2**40
_HIT = 0.35  # squared error of the green channel in squares, below which a future shows one possible place
_MEAN_SHARPNESS = 0.25  # of the mean of four places

Scores = dict[str, np.ndarray]
"""Per metric one number per held-out pair, (n,); ratios are stored as `metric` and `metric/reference`."""

METRICS = {
    "token_l1": "token L1",
    "energy_score": "energy score",
    "energy_score_local": "energy score of each token",
    "driven_error": "driven object: squared error / persistence's",
    "random_sharpness": "random object: energy / true",
    "random_hit": "random object: futures that show it in a possible place",
}


def held_out_pairs(count: int) -> coin.CoinPairs:
    """Pairs that no training draws."""
    return coin.draw_pairs(count, np.random.default_rng(_SEED))


def references() -> dict[str, np.ndarray]:
    """What needs no training, (K, n, 32, 32, 3): nothing changes, and the world itself drawn again."""
    pairs, rng = held_out_pairs(HELD_OUT), np.random.default_rng(0)
    drawn = rng.integers(len(coin.JUMPS), size=(FUTURES, HELD_OUT))
    return {"persistence": pairs.before[None], IDEAL: coin.possible_futures(pairs)[drawn, np.arange(HELD_OUT)]}


def imagine(model: WorldModel) -> np.ndarray:
    """A model's futures of the held-out pairs, (K, n, 32, 32, 3)."""
    pairs = held_out_pairs(HELD_OUT)
    return futures(model, pairs.before, pairs.actions)


def dress(frames: np.ndarray) -> np.ndarray:
    """One future of every held-out pair, (1, n, 32, 32, 3), with its errors in K other pairs, (K, n, 32, 32, 3)."""
    errors = held_out_pairs(HELD_OUT).after - frames[0]
    return np.stack([frames[0] + np.roll(errors, k + 1, axis=0) for k in range(FUTURES)])


def score(frames: np.ndarray) -> Scores:
    """Score K futures of every held-out pair, (K, n, 32, 32, 3)."""
    pairs = held_out_pairs(HELD_OUT)
    truth = torch.from_numpy(coin.to_tokens(pairs.after))
    futures_KnNC = torch.from_numpy(coin.to_tokens(frames.reshape(-1, *frames.shape[2:]))).unflatten(
        0, frames.shape[:2]
    )
    red, green = frames[..., 0], frames[..., 1]

    def squared(difference: np.ndarray) -> np.ndarray:
        return np.square(difference).sum(axis=(-2, -1))

    nearest = np.min([squared(green - possible[..., 1]) for possible in coin.possible_futures(pairs)], axis=0)
    return {
        "token_l1": (futures_KnNC - truth).abs().mean(dim=(0, 2, 3)).numpy(),
        "energy_score": energy_score(futures_KnNC, truth).numpy(),
        "energy_score_local": local_energy_score(futures_KnNC, truth).numpy(),
        "driven_error": squared(red - pairs.after[..., 0]).mean(axis=0),
        "driven_error/reference": squared(pairs.before[..., 0] - pairs.after[..., 0]),
        "random_sharpness": squared(green).mean(axis=0),
        "random_sharpness/reference": squared(pairs.after[..., 1]),
        "random_hit": (nearest < _HIT * coin.SQUARE**2).mean(axis=0),
    }


@torch.no_grad()
def futures(model: WorldModel, before: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """K futures of every pair as frames (K, n, 32, 32, 3); one where the model is deterministic."""
    config: Any = model.config
    seen, drawn = views(config.tokens)
    dream, tokens, pairs = Dream(model), seen(before), range(len(before))
    count = FUTURES if model.stochastic else 1
    starts = [dream.start(tokens, [FUTURES * pair + k for pair in pairs]) for k in range(count)]
    return np.stack([drawn(dream.step(start, actions).tokens) for start in starts])


def views(tokens: TokenSpec) -> tuple[Callable[[np.ndarray], Tensor], Callable[[Tensor], np.ndarray]]:
    """How a model of these tokens sees frames (B, 32, 32, 3), and how its predictions become frames again."""
    if are_pixels(tokens):
        return lambda frames: cut_patches(torch.from_numpy(frames)), lambda t: draw_pixels(t, tokens.grid).numpy()
    return lambda frames: torch.from_numpy(coin.to_tokens(frames)), lambda t: coin.to_frames(t.numpy())


def rows(scores: Mapping[str, list[Scores]]) -> list[dict[str, Any]]:
    """Mean and interval over training seeds and pairs, for every model and metric."""
    found = []
    for model, runs in scores.items():
        for metric in METRICS:
            interval = _interval(runs, metric)
            found.append(
                {
                    "model": model, "metric": metric, "mean": interval.mean, "low": interval.low, "high": interval.high,
                    "n": interval.n, "seeds": len(runs),
                }
            )  # fmt: skip
    return found


def verdicts(scores: Mapping[str, list[Scores]]) -> list[Verdict]:
    """What the numbers say about each expectation."""
    told: list[Verdict] = []
    if "dino_wm" in scores:
        sharp = _interval(scores["dino_wm"], "random_sharpness")
        told.append(below("regression erases the random object", sharp, _MEAN_SHARPNESS))
        for name in (n for n in scores if n not in ("dino_wm", "persistence", IDEAL) and not n.endswith(SUFFIX)):
            less = _difference(scores["dino_wm"], scores[name], "token_l1")
            told.append(below(f"regression has a lower L1 than {label(name)}", less))
    for name in (n for n in ("rla_wm", "fm_wm", "rae", "video_diffusion") if n in scores):
        sharp = _interval(scores[name], "random_sharpness")
        told.append(within(f"{label(name)} keeps the random object whole (sharpness 0.7 to 1.3)", sharp, 0.7, 1.3))
        for rival, words in (("dino_wm", "regression"), (f"dino_wm{SUFFIX}", "dressed regression")):
            if rival in scores:
                for metric in ("energy_score", "energy_score_local"):
                    lower = _difference(scores[name], scores[rival], metric)
                    told.append(below(f"{label(name)} has a lower {METRICS[metric]} than {words}", lower))
    if {"fm_wm", "fm_wm_trap"} <= scores.keys():
        worse = _difference(scores["fm_wm"], scores["fm_wm_trap"], "driven_error")
        told.append(below("FM-WM follows the actions better without seeing its source", worse))
    return told


def table(results: Mapping[str, Any]) -> Table:
    """The rows of a results file for the terminal."""
    shown = Table(
        title=f"The coin world: {len(results['seeds'])} training seeds, {results['steps']} steps, {results['held_out']} pairs",
        caption="mean and 95 % interval over seeds and pairs",
    )
    shown.add_column("")
    for heading in METRICS.values():
        shown.add_column(heading, justify="right")
    for model in dict.fromkeys(row["model"] for row in results["rows"]):
        cells = {row["metric"]: row for row in results["rows"] if row["model"] == model}
        texts = [f"{cells[m]['mean']:.3f}\n[dim]{cells[m]['low']:.3f} to {cells[m]['high']:.3f}[/dim]" for m in METRICS]
        shown.add_row(label(model), *texts)
    return shown


def _interval(runs: list[Scores], metric: str) -> Interval:
    values = np.stack([run[metric] for run in runs])
    known = f"{metric}/reference" in runs[0]
    return Bootstrap().over_seeds(values, np.stack([run[f"{metric}/reference"] for run in runs]) if known else None)


def _difference(runs: list[Scores], others: list[Scores], metric: str) -> Interval:
    """Paired by pair and, as far as both have them, by training seed."""
    return Bootstrap().over_seeds(np.stack([a[metric] - b[metric] for a, b in zip(runs, others, strict=False)]))
