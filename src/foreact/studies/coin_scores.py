"""How predictions in the coin world are scored, and what that says.

Shape legend: S training seeds, n held-out pairs, K futures per pair, N patch tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
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
from foreact.evaluation.aggregate import PERSISTENCE
from foreact.evaluation.figures import label
from foreact.evaluation.metrics import describe, energy_score, local_energy_score
from foreact.evaluation.residuals import SUFFIX
from foreact.evaluation.results import Results
from foreact.evaluation.tables import terminal_table
from foreact.evaluation.verdicts import Verdict, within
from foreact.studies.values import Key, Values, interval, smaller

HELD_OUT, FUTURES = 200, 4
IDEAL = "true_sampler"
_SEED = 2**40
_HIT = 0.35  # squared error of the green channel in squares, below which a future shows one possible place
_MEAN_SHARPNESS = 0.25  # of the mean of four places

Scores = dict[str, np.ndarray]
"""Per metric one number per held-out pair, (n,); ratios are stored as `metric` and `metric/reference`."""


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


def resample_residuals(frames: np.ndarray) -> np.ndarray:
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


def verdicts(values: Values) -> list[Verdict]:
    """What the numbers say about each expectation."""
    models = [m for m in dict.fromkeys(model for model, *_ in values) if m not in (PERSISTENCE, IDEAL)]
    samplers = [m for m in models if m not in ("dino_wm", "fm_wm_trap") and not m.endswith(SUFFIX)]
    told = smaller(
        values, "regression erases the random object", _key("dino_wm", "random_sharpness"), bound=_MEAN_SHARPNESS
    )
    for name in (n for n in models if n != "dino_wm" and not n.endswith(SUFFIX)):
        claim = f"regression has a lower L1 than {label(name)}"
        told += smaller(values, claim, _key("dino_wm", "token_l1"), _key(name, "token_l1"))
    for name in samplers:
        sharp = interval(values, _key(name, "random_sharpness"))
        told.append(within(f"{label(name)} keeps the random object whole (sharpness 0.7 to 1.3)", sharp, 0.7, 1.3))
        for rival, words in (("dino_wm", "regression"), (f"dino_wm{SUFFIX}", "regression + resampled residuals")):
            for metric in ("energy_score", "energy_score_local"):
                claim = f"{label(name)} has a lower {describe(metric).label} than {words}"
                told += smaller(values, claim, _key(name, metric), _key(rival, metric))
    claim = "FM-WM follows the actions better without seeing its source"
    return told + smaller(values, claim, _key("fm_wm", "driven_error"), _key("fm_wm_trap", "driven_error"))


def _key(model: str, metric: str) -> Key:
    return model, metric, "all", 1


def table(results: Results) -> Table:
    """The rows of a results file for the terminal."""
    settings = results.settings
    return terminal_table(
        results.rows,
        {"": lambda row: label(row["model"])},
        title=f"The coin world: {len(results.seeds)} training seeds, {settings['steps']} steps, {settings['held_out']} pairs",
        caption="mean and 95 % interval over seeds and pairs",
    )
