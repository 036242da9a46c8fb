"""stable-worldmodel's solvers with foreact's world models, and foreact's solvers with its models. Neither imports the other.

    solver = CEMSolver(model=ForSolvers(Imagined(dream=load("runs/push/rla-wm")), bounds))    # theirs, with our world model
    planner = Planner(OfModel(lewm, prepare=transform, scale=scaler), make_solver("cem"), bounds)    # ours, with theirs

Their world is a mapping: `pixels` and `goal` with a row for each environment, a candidate each and a past of T pictures. Tried
with version 0.1.1.

Shape legend: B environments, S candidates, T actions of a plan, A action dimension, K actions that are one of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.planning.bounds import Bounds
from foreact.planning.judging import Judge
from foreact.planning.search import Cost

PIXELS, GOAL = "pixels", "goal"


class ForSolvers:
    """A judge as what stable-worldmodel's solvers call a model (`Costable`).

    Args:
        judge: says what plans cost, such as `Imagined`.
        bounds: a candidate's -1 and 1.
        seed: of the futures; environments have this one and those that follow.
    """

    def __init__(self, judge: Judge, bounds: Bounds, *, seed: int = 0) -> None:
        self._judge, self._bounds, self._seed = judge, bounds, seed
        self._asked: tuple[Mapping[str, Any], Cost] | None = None

    def get_cost(self, info_dict: Mapping[str, Any], action_candidates: Tensor) -> Tensor:
        """Costs (B, S) of candidates (B, S, T / K, K * A), whose numbers are cut at -1 and 1.

        Raises:
            ForeactError: no pictures of now and of the goal, or candidates of another width.
        """
        if (
            self._asked is None or self._asked[0] is not info_dict
        ):  # a search asks many times from one place: pictures are encoded once
            now, goal = (_pictures(info_dict, name) for name in (PIXELS, GOAL))
            self._asked = info_dict, self._judge.costs(now, goal, range(self._seed, self._seed + len(now)))
        if action_candidates.shape[-1] % self._bounds.action_dim:
            raise ForeactError(
                f"candidates of {action_candidates.shape[-1]} numbers do not divide into actions of {self._bounds.action_dim}"
            )
        plans = action_candidates.reshape(*action_candidates.shape[:2], -1, self._bounds.action_dim)
        return self._asked[1](self._bounds.actions(plans))

    criterion = get_cost


class OfModel:
    """One of stable-worldmodel's models as a judge.

    Args:
        model: has `get_cost`.
        prepare: pictures uint8 (B, 3, height, width) -> what the model takes.
        scale: actions (..., A) in the units of the recordings -> what the model takes.
        block: K, actions that are one of the model's.
    """

    def __init__(
        self,
        model: Any,
        *,
        prepare: Callable[[Tensor], Tensor],
        scale: Callable[[Tensor], Tensor] = lambda actions: actions,
        block: int = 1,
    ) -> None:
        self._model, self._prepare, self._scale, self._block = model, prepare, scale, block

    def costs(self, now: np.ndarray, goal: np.ndarray, seeds: Sequence[int]) -> Cost:
        """See `Judge`; these models are deterministic."""
        seen = {name: self._prepare(_channels_first(pictures)) for name, pictures in ((PIXELS, now), (GOAL, goal))}

        def cost(plans: Tensor) -> Tensor:
            B, S, T, A = plans.shape
            if T % self._block:
                raise ForeactError(f"a plan of {T} actions does not divide into blocks of {self._block}")
            info = {name: x[:, None, None].expand(B, S, 1, *x.shape[1:]) for name, x in seen.items()}
            blocks = self._scale(plans).reshape(B, S, T // self._block, self._block * A)
            return self._model.get_cost({**info, "action": blocks[:, :, :1]}, blocks)

        return cost


def _pictures(info: Mapping[str, Any], name: str) -> np.ndarray:
    """The last pictures, uint8 (B, height, width, 3), of (B, S, T, ...), or (B, S, ...), channels first or last."""
    if name not in info:
        raise ForeactError(f"the world has no {name!r}: it has {', '.join(info)}")
    found = torch.as_tensor(info[name])[:, 0]
    found = found[:, -1] if found.ndim == 5 else found
    found = found if found.shape[-1] == 3 else found.movedim(-3, -1)
    if found.ndim != 4 or found.shape[-1] != 3 or found.dtype != torch.uint8:
        raise ForeactError(
            f"{name} must be uint8 pictures, not {found.dtype} {tuple(found.shape)}: leave them as the camera gave them"
        )
    return found.cpu().numpy()


def _channels_first(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures)).movedim(-1, -3)
