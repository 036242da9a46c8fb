"""A few-step student goes where its teacher goes in many steps."""

import dataclasses

import pytest
import torch
from lively import lively
from small_models import FAST, RELEASED, inputs, predict, seeded

from foreact.core.batch import Batch
from foreact.core.pretrained import load_model
from foreact.world_models.distillation import TEACHER_STEPS, distillation_loss, make_student


def batch():
    tokens, actions, lengths = inputs(7)
    return Batch(tokens_t=tokens, tokens_th=tokens + 1, lengths=lengths, actions=actions)


@pytest.mark.parametrize(
    ("config", "steps", "depth"),
    [
        (FAST, 1, None),
        pytest.param(FAST, 1, 1, marks=pytest.mark.slow),
        pytest.param(FAST, 2, None, marks=pytest.mark.slow),
        pytest.param(RELEASED, 1, None, marks=pytest.mark.slow),
        (RELEASED, 2, 1),
    ],
)
def test_the_student_learns_to_land_where_the_teacher_lands(config, steps, depth):
    teacher = lively(dataclasses.replace(config, flow_depth=2)).requires_grad_(False)
    student = make_student(teacher, steps, depth)
    assert len(student.flow.blocks) == student.config.flow_depth == (depth or 2)
    arguments = (*inputs(7), teacher.draw_noise(7, seeded(9)))
    far = teacher.transport(*arguments, steps=TEACHER_STEPS)
    before = (student.transport(*arguments) - far).pow(2).mean().detach()
    optimizer = torch.optim.Adam(student.flow.parameters(), lr=5e-3)
    for step in range(60):
        optimizer.zero_grad()
        distillation_loss(student, teacher, batch(), seeded(step))["loss"].backward()
        optimizer.step()
    after = (student.transport(*arguments) - far).pow(2).mean()
    assert after < 0.3 * before


def test_only_the_students_flow_is_trained_and_the_teacher_stays_what_it_was():
    teacher = lively(FAST).requires_grad_(False)
    kept = {k: v.clone() for k, v in teacher.state_dict().items()}
    student = make_student(teacher, 2)
    assert (student.config.steps, teacher.config.steps) == (2, FAST.steps)
    distillation_loss(student, teacher, batch(), seeded())["loss"].backward()
    for name, parameter in student.named_parameters():
        assert (parameter.grad is not None) == name.startswith("flow."), name
    assert all(torch.equal(kept[k], v) for k, v in teacher.state_dict().items())


def test_as_many_steps_as_the_teacher_are_learned_already():
    teacher = lively(FAST).requires_grad_(False)
    loss = distillation_loss(make_student(teacher, TEACHER_STEPS), teacher, batch(), seeded())["loss"]
    assert loss < 1e-10


def test_a_shallow_student_is_saved_and_loaded(tmp_path):
    student = make_student(lively(dataclasses.replace(FAST, flow_depth=2)), 1, depth=1)
    student.save_pretrained(tmp_path)
    assert torch.equal(predict(load_model(tmp_path), *inputs()), predict(student, *inputs()))


def test_a_student_takes_at_least_one_step_and_one_of_its_teachers_blocks():
    with pytest.raises(ValueError, match="at least one step"):
        make_student(lively(FAST), 0)
    for depth in (0, FAST.flow_depth + 1):
        with pytest.raises(ValueError, match=f"not {depth}"):
            make_student(lively(FAST), 1, depth)
