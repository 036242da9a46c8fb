"""What an imagined future costs, given a goal: distances between tokens, and sums of them.

    objective = parse_objective("l2/moving + 0.1 * cosine/way")

Shape legend: R rows, M chunks of a plan, N patch tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import torch
from torch import Tensor

from foreact.core.errors import ForeactError


class Objective(Protocol):
    """Smaller is better."""

    def __call__(self, future: Tensor, goal: Tensor, start: Tensor) -> Tensor:
        """The cost of each row, (R,), differentiable in the future.

        Args:
            future: tokens after each chunk, (R, M, N, C).
            goal: tokens to be reached, (R, N, C).
            start: tokens of now, (R, N, C).
        """
        ...


def _l1(difference: Tensor, _: Tensor) -> Tensor:
    return difference.abs().mean(dim=-1)


def _l2(difference: Tensor, _: Tensor) -> Tensor:
    return difference.square().mean(dim=-1)


def _cosine(difference: Tensor, goal: Tensor) -> Tensor:
    return 1 - torch.cosine_similarity(goal + difference, goal, dim=-1)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": _l1, "l2": _l2, "cosine": _cosine}
"""Name -> (tokens minus goal, goal), both (..., N, C), to a distance of each token (..., N); `l2` is squared, as in DINO-WM."""
_MOVING, _WAY = "moving", "way"


@dataclass(frozen=True)
class TokenDistance:
    """How far the future's tokens are from the goal's.

    Attributes:
        distance: of `DISTANCES`.
        moving: weigh tokens by how far the goal lies from now there: what need not change does not count.
        way: the mean over all chunks in the place of the last one, which rewards an early arrival.
    """

    distance: str = "l2"
    moving: bool = False
    way: bool = False

    def __call__(self, future: Tensor, goal: Tensor, start: Tensor) -> Tensor:
        """See `Objective`."""
        measure = DISTANCES[self.distance]
        looked_at = future if self.way else future[:, -1:]
        apart = measure(looked_at - goal[:, None], goal[:, None])  # (R, M, N)
        if self.moving:
            change = measure(start - goal, goal) + 1e-8
            apart = apart * (change / change.mean(dim=-1, keepdim=True))[:, None]
        return apart.mean(dim=(1, 2))


@dataclass(frozen=True)
class WeightedSum:
    """Several objectives with their weights."""

    parts: tuple[tuple[float, Objective], ...]

    def __call__(self, future: Tensor, goal: Tensor, start: Tensor) -> Tensor:
        """See `Objective`."""
        costs = [weight * objective(future, goal, start) for weight, objective in self.parts]
        return torch.stack(costs).sum(dim=0)


def parse_objective(words: str) -> Objective:
    """An objective as it is written on a command line: terms joined by "+", each one a distance, or a user's module:function.

    A distance may be followed by "/moving" and "/way" (see `TokenDistance`), a term be preceded by a weight and "*".

    Raises:
        ForeactError: an unknown distance, a weight that is no number, a function that cannot be imported.
    """
    parts = []
    for term in words.split("+"):
        weight, times, name = term.rpartition("*")
        try:
            parts.append((float(weight) if times else 1.0, _parse_term(name.strip())))
        except ValueError:
            raise ForeactError(f"--objective {words}: {weight.strip()!r} is no weight") from None
    return parts[0][1] if len(parts) == 1 and parts[0][0] == 1 else WeightedSum(tuple(parts))


def _parse_term(term: str) -> Objective:
    if ":" in term:
        module, _, function = term.partition(":")
        try:
            mine: Objective = getattr(import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise ForeactError(f"the objective {term!r} cannot be imported: {error}") from error
        return mine
    name, *how = term.split("/")
    if name not in DISTANCES or set(how) - {_MOVING, _WAY}:
        raise ForeactError(
            f"unknown objective {term!r}: write {', '.join(DISTANCES)} or module:function of your own, a distance followed "
            f"by /{_MOVING} or /{_WAY} where wanted"
        )
    return TokenDistance(name, moving=_MOVING in how, way=_WAY in how)
