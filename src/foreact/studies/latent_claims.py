"""What the measurements of latent-action learners say: a verdict per claim, a table.

Shape legend: S training seeds, n held-out episodes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from foreact.evaluation import figures
from foreact.evaluation.latent_pairs import TRUE
from foreact.evaluation.results import Results
from foreact.evaluation.rows import Row
from foreact.evaluation.verdicts import Verdict
from foreact.studies.values import Key, Values, smaller

Expectation = tuple[str, Key, Key | None]
"""A claim, what must be larger, and than what; than 0 if None."""

_NAMES = {
    "current_frame": "current frame alone",
    "token_change": "change of the tokens itself",
    "lawm-one-view": "LaWM (one view)",
}
SUBSETS = {
    "held_out": "the trained scene",
    "unseen": "an unseen scene",
    "embodiment": "another embodiment",
}
_TARGETS = {"actions": "actions", "agent": "the agent's motion", "object": "the object's motion"}


def label(learner: str) -> str:
    """How a learner is called in tables and claims."""
    if learner.startswith("rla-"):
        return f"RLA {learner.removeprefix('rla-')}"
    return _NAMES.get(learner) or figures.label(learner)


def verdicts(values: Values, sizes: Mapping[str, int]) -> list[Verdict]:
    """The papers' claims, each paired by training seed and episode.

    Args:
        values: see `studies.values.stack`.
        sizes: |z| of every learner.
    """
    latents = sorted((n for n in sizes if n.startswith("rla-")), key=lambda n: sizes[n])
    strides = max((chunk for _, metric, _, chunk in values if metric.startswith("motion_cosine_")), default=0)
    expected = itertools.chain(
        _reconstruction(sizes, latents), _topology(sizes, latents), _generalisation(sizes),
        _probes(sizes, latents), _rollouts(sizes, strides), _transfers(sizes),
    )  # fmt: skip
    return [told for claim, own, rival in expected for told in smaller(values, claim, own, rival, sign=-1.0)]


def _key(model: str, metric: str, *, subset: str = "held_out", chunk: int = 1) -> Key:
    return model, metric, subset, chunk


def _reconstruction(sizes: Mapping[str, int], latents: list[str]) -> Iterator[Expectation]:
    own = f"skill_{TRUE}"
    for name in sizes:
        claim = f"{label(name)} reconstructs better with its own z than with another episode's"
        yield claim, _key(name, own), _key(name, "skill_shuffled")
        yield f"{label(name)}'s z survives a moved camera (above the copy)", _key(name, "skill_shifted"), None
    claim = "LaWM's z of two views survives a moved camera better than its z of one view"
    yield claim, _key("lawm", "skill_shifted"), _key("lawm-one-view", "skill_shifted")
    for rla in dict.fromkeys([*latents[:1], *latents[-1:]]):
        for rival in (n for n in sizes if n not in latents):
            claim = f"RLA with |z| = {sizes[rla]} reconstructs better than {label(rival)} with {sizes[rival]}"
            yield claim, _key(rla, own), _key(rival, own)


def _topology(sizes: Mapping[str, int], latents: list[str]) -> Iterator[Expectation]:
    for name in [*latents[-1:], *(n for n in sizes if n not in latents)]:
        claim = f"{label(name)}: half-way from noise to z lies nearer to the frame in between than"
        for rival, words in (("line", "interpolated tokens"), ("shuffled", "with another episode's z")):
            yield f"{claim} {words}", _key(name, f"between_0.5_{TRUE}"), _key(name, f"between_0.5_{rival}")


def _generalisation(sizes: Mapping[str, int]) -> Iterator[Expectation]:
    for subset in ("unseen", "embodiment"):
        for name in sizes:
            claim = f"{label(name)} reconstructs {SUBSETS[subset]} better than a copy of the current frame"
            yield claim, _key(name, f"skill_{TRUE}", subset=subset), None


def _probes(sizes: Mapping[str, int], latents: list[str]) -> Iterator[Expectation]:
    for target, words in _TARGETS.items():
        metric = f"r2_{target}_{TRUE}"
        for name in sizes:
            claim = f"{label(name)}'s z adds to what the current frame tells of {words}"
            yield claim, _key(name, f"r2_{target}_beside_{TRUE}"), _key("current_frame", metric)
        for rla in latents[-1:]:
            for rival in (n for n in sizes if n not in latents):
                yield (
                    f"{label(rla)}'s z tells {words} better than {label(rival)}'s",
                    _key(rla, metric),
                    _key(rival, metric),
                )


def _rollouts(sizes: Mapping[str, int], strides: int) -> Iterator[Expectation]:
    rivals = {
        "motion_cosine_start": "nearer to the truth than to its start",
        "motion_cosine_copy": "nearer to the truth than a copy",
        "motion_cosine_truth_shuffled": "nearer to the truth than with another episode's z",
    }
    for name in sizes:
        own = _key(name, f"motion_cosine_truth_{TRUE}", chunk=strides)
        for rival, words in rivals.items():
            claim = f"{label(name)} rolled out {strides} strides stays {words}, where it moves"
            yield claim, own, _key(name, rival, chunk=strides)


def _transfers(sizes: Mapping[str, int]) -> Iterator[Expectation]:
    for subset, words in SUBSETS.items():
        where = "another start in the trained scene" if subset == "held_out" else words
        for name in sizes:
            claim = f"{label(name)}'s z moves the agent from {where} in the source's direction, more than another episode's z"
            own, other = (_key(name, f"transfer_read_{z}", subset=subset) for z in (TRUE, "shuffled"))
            yield claim, own, other


_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("skill", f"skill_{TRUE}", "held_out"),
    ("with another episode's z", "skill_shuffled", "held_out"),
    ("with z of a moved camera", "skill_shifted", "held_out"),
    ("half-way from noise", f"between_0.5_{TRUE}", "held_out"),
    ("unseen scene", f"skill_{TRUE}", "unseen"),
    ("other embodiment", f"skill_{TRUE}", "embodiment"),
    ("R² actions", f"r2_actions_{TRUE}", "held_out"),
    ("R² actions, with the current frame", f"r2_actions_beside_{TRUE}", "held_out"),
    ("R² agent", f"r2_agent_{TRUE}", "held_out"),
    ("R² object", f"r2_object_{TRUE}", "held_out"),
    ("rollout: cosine with truth", f"motion_cosine_truth_{TRUE}", "held_out"),
    ("with start", "motion_cosine_start", "held_out"),
    ("copy with truth", "motion_cosine_copy", "held_out"),
    ("transfer: direction read", f"transfer_read_{TRUE}", "held_out"),
    ("with another episode's z ", "transfer_read_shuffled", "held_out"),
    ("by heat map", f"transfer_heat_{TRUE}", "held_out"),
    ("to the unseen scene, read", f"transfer_read_{TRUE}", "unseen"),
    ("to the other embodiment, read", f"transfer_read_{TRUE}", "embodiment"),
)


def markdown(results: Results) -> str:
    """The headline of results as a table in Markdown, one learner per row."""
    last = {
        (row["model"], row.metric, row["subset"]): row for row in sorted(results.rows, key=lambda row: row["chunk"])
    }
    columns = [c for c in _COLUMNS if any(key[1:] == c[1:] for key in last)]
    lines = [["learner", "z", *(heading.strip() for heading, _, _ in columns)]]
    for model in results.names():
        cells = [_cell(last.get((model, metric, subset))) for _, metric, subset in columns]
        lines.append([label(model), str(results.settings["sizes"].get(model, "")), *cells])
    lines.insert(1, ["---"] * len(lines[0]))
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    steps, sizes = results.settings["steps"], results.settings["preset"]
    return f"{len(results.seeds)} training seeds, {steps} steps, preset {sizes}\n\n{table}"


def _cell(row: Row | None) -> str:
    return "" if row is None else f"{row.mean:.2f} [{row.low:.2f}, {row.high:.2f}]"
