"""What a results file says about its world models, in sentences; computed, never typed in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from foreact.evaluation.figures import is_reference, label
from foreact.evaluation.metrics import describe
from foreact.evaluation.residuals import PROPER, SUFFIX
from foreact.evaluation.results import Results
from foreact.evaluation.rows import PairedDifference
from foreact.evaluation.tables import number

_BESIDE = ("oracle", "true_tokens")  # bounds, not competitors
_AGAINST_COPY = {
    "better": ("is nearer to the truth than", "are nearer to the truth than"),
    "undecided": ("cannot be told from", "cannot be told from"),
    "worse": ("is farther from the truth than", "are farther from the truth than"),
}


def verdict(results: Results) -> str:
    """The one sentence that stands first: which world models beat a copy of the first frame, and which is the best.

    By token L1 after the last chunk; a difference counts where its interval excludes zero. Empty where no model was rolled out.
    """
    chunk, subset = results.last_chunk, results.headline_subset
    models = [name for name in results.names() if not is_reference(name)]
    against = {model: results.difference(model, "persistence", "token_l1", chunk, subset) for model in models}
    found = {model: _side(pair) for model, pair in against.items() if pair is not None}
    if not found:
        return ""
    steps = (results.protocol.get("boundaries") or [chunk])[-1]
    parts = []
    for side, words in _AGAINST_COPY.items():
        those = [label(model) for model in found if found[model] == side]
        if those:
            parts.append(f"{_listed(those)} {words[len(those) > 1]} a copy of the first frame")
    best = winner(results, "token_l1", chunk, subset)
    if len(found) > 1:
        told = f"{label(best)} is the nearest" if best in found else "which of the models is the nearest is undecided"
        parts.append(told)
    return f"After {steps} steps, {'; '.join(parts)} (by token L1)."


def _side(pair: PairedDifference) -> str:
    if pair.low is None or pair.high is None or not pair.excludes_zero:
        return "undecided"
    return "better" if pair.mean < 0 else "worse"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def winner(results: Results, metric: str, chunk: int, subset: str) -> str | None:
    """The model that is better than every other one with an interval of the paired difference that excludes zero.

    Oracle and true tokens do not compete; skill is compared by the errors that it is made of.
    """
    better = describe(metric).better
    rows = [results.row(m, metric, chunk, subset) for m in results.names() if m not in _BESIDE]
    known = [row for row in rows if row is not None]
    if better == "one" or len(known) < 2:
        return None
    best = (min if better == "lower" else max)(known, key=lambda row: row.mean)["model"]
    compared = "token_l1" if metric == "token_l1_skill" else metric
    rivals = [row["model"] for row in known if row["model"] != best]
    pairs = [results.difference(best, rival, compared, chunk, subset) for rival in rivals]
    return best if all(pair is not None and pair.excludes_zero for pair in pairs) else None


def details(results: Results) -> list[str]:
    """What the numbers say about each world model after the last chunk, in sentences."""
    chunk, subset = results.last_chunk, results.headline_subset
    models = [name for name in results.names() if not is_reference(name)]
    sentences = []
    for model in models:
        row = results.row(model, "token_l1_skill", chunk, subset)
        if row is not None:
            side = "below" if row.mean >= 0 else "above"
            sure = "" if row.low is None or row.high is None else f" (skill {_span(row.low, row.high, 2)})"
            sentences.append(f"{label(model)}'s token error is {abs(row.mean):.0%} {side} persistence's{sure}.")
    poses = [m for m in results.metrics() if m.endswith(("_error_px", "_error_mm"))][:1]
    compared = [(pair, ("token_l1", "ssim", *poses)) for pair in pairwise(models)]
    samplers = [name for name in models if results.models.get(name, {}).get("stochastic")]
    resampled = [name for name in results.names() if name.endswith(SUFFIX)]
    compared += [((sampler, row), PROPER) for sampler in samplers for row in resampled]
    for (first, second), metrics in compared:
        told = [t for m in metrics if (t := _told(results.difference(first, second, m, chunk, subset)))]
        if told:
            sentences.append(f"{label(first)} against {label(second)}: {'; '.join(told)}.")
    return sentences


def _told(pair: PairedDifference | None) -> str:
    """A paired difference in words."""
    if pair is None or pair.low is None or pair.high is None:
        return ""
    metric = describe(pair.metric)
    if not pair.excludes_zero:
        numbers = f"{number(pair.mean, metric.digits)} [{_span(pair.low, pair.high, metric.digits)}]"
        return f"{metric.label} not told apart ({numbers})"
    good = (pair.mean < 0) == (metric.better == "lower")
    low, high = sorted((abs(pair.low), abs(pair.high)))
    numbers = f"{number(abs(pair.mean), metric.digits)} [{_span(low, high, metric.digits)}]"
    return f"{metric.label} {'better' if good else 'worse'} by {numbers}"


def _span(low: float, high: float, digits: int) -> str:
    return f"{number(low, digits)} to {number(high, digits)}"
