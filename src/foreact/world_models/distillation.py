"""Few flow steps instead of many: a student goes in one step where its teacher goes in several (Luhman & Luhman,
arXiv:2101.02388, applied to each of n segments of the flow).

    z_0 = eps;   z_{(k+1)/n} = the teacher's ODE from z_{k/n};   v_student(z_{k/n}, k/n) -> n (z_{(k+1)/n} - z_{k/n})

Only the flow network is trained, with one noise per pair: the teacher's steps are most of the cost, about that of an
ordinary training step. It may be shallower than the teacher's: a jump from noise asks less of it than a whole flow.

Shape legend: B batch, Q latent tokens, Z latent channels; n student steps.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from foreact.core.batch import Batch
from foreact.core.cards import TrainingPlan
from foreact.core.errors import ForeactError
from foreact.core.pretrained import PretrainedModel, state_hash
from foreact.core.trainable import TrainableModel
from foreact.nn.floats import widen
from foreact.world_models.rla_wm import RLAWorldModel

TEACHER_STEPS = 16
"""Euler steps of the teacher from noise to z, at least; more than these change its energy score by less than 1 % (docs/performance.md)."""


def distillation_plan(plan: TrainingPlan, teacher: PretrainedModel, *, steps: int, depth: int | None) -> TrainingPlan:
    """The plan of rla-wm, changed to one of a student.

    Raises:
        ForeactError: a depth that the teacher does not have.
    """
    teaching: Any = teacher.requires_grad_(False)
    try:
        student: TrainableModel = make_student(teaching, steps, depth)
    except ValueError as error:
        raise ForeactError(f"--flow-depth: {error}") from error

    def loss(model: Any, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return distillation_loss(model, teaching.to(batch.tokens_t.device), batch, generator)

    frozen = {name: "teacher" for name, child in student.named_children() if name != "flow" and [*child.parameters()]}
    return dataclasses.replace(
        plan, build=lambda data: student, fitted=True, loss=loss, frozen=frozen, about={"teacher": state_hash(teacher)}
    )


def make_student(teacher: RLAWorldModel, steps: int, depth: int | None = None) -> RLAWorldModel:
    """The teacher's copy that samples in `steps` Euler steps, with the flow's first `depth` blocks; all but its flow is frozen.

    Raises:
        ValueError: fewer than one step, or another depth than the teacher has blocks for.
    """
    depth = teacher.config.flow_depth if depth is None else depth
    if steps < 1:
        raise ValueError(f"a student needs at least one step, not {steps}")
    if not 1 <= depth <= teacher.config.flow_depth:
        raise ValueError(f"a student's flow has 1 to {teacher.config.flow_depth} blocks, as its teacher's, not {depth}")
    student = copy.deepcopy(teacher).requires_grad_(False)
    student.flow.blocks = student.flow.blocks[:depth]
    student.flow.requires_grad_(True)
    student.config = dataclasses.replace(teacher.config, steps=steps, flow_depth=depth, solver="euler")
    return student


def distillation_loss(
    student: RLAWorldModel, teacher: RLAWorldModel, batch: Batch, generator: torch.Generator
) -> dict[str, Tensor]:
    """MSE between the student's velocity at the start of each segment and the teacher's mean velocity over it.

    Args:
        student: from `make_student`.
        teacher: the model it was made from, on the same device.
        batch: pairs with actions; their futures are not looked at.
        generator: source of the noise.
    """
    steps = student.config.steps
    with torch.no_grad():
        condition = teacher.condition_tokens(batch.tokens_t, batch.require_actions(), batch.lengths)
        noise = batch.noise(*teacher.latent_mean.shape, generator=generator)
        points = _trajectory(teacher, noise, condition, steps)
    context = student.flow.prepare(condition)
    losses = []
    for k in range(steps):
        time = torch.full((len(noise),), k / steps, device=noise.device)
        velocity = widen(student.flow(points[k], time, context))
        losses.append(F.mse_loss(velocity, (points[k + 1] - points[k]) * steps))
    return {"loss": torch.stack(losses).mean(), "first": losses[0].detach(), "last": losses[-1].detach()}


def _trajectory(teacher: RLAWorldModel, noise: Tensor, condition: Tensor, segments: int) -> list[Tensor]:
    """The teacher's z at the ends of the segments, `segments + 1` times (B, Q, Z)."""
    substeps = -(-TEACHER_STEPS // segments)
    context = teacher.flow.prepare(condition)
    width = 1 / (segments * substeps)
    points, z = [noise], noise
    for step in range(segments * substeps):
        time = torch.full((len(z),), step * width, device=z.device)
        z = z + width * widen(teacher.flow(z, time, context))
        if (step + 1) % substeps == 0:
            points.append(z)
    return points
