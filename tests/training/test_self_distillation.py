from __future__ import annotations

import pytest
import torch

from foreact.core.batch import FrameBatch
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.recordings.views import random_colours, random_crops
from foreact.training.self_distillation import (
    SelfDistillation,
    SelfDistillationConfig,
    hide,
    patchify,
    random_masks,
    reconstruction_loss,
    sinkhorn,
)

ENCODER = TinyEncoderConfig(stem=(4, 6, 8), dim=12, depth=1, heads=3)


def _objective(**weights):
    torch.manual_seed(0)
    return SelfDistillation(
        SelfDistillationConfig(encoder=ENCODER, view_sizes=(32, 48), local_size=16, prototypes=13, **weights)
    )


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def frames():
    return torch.randint(0, 256, (5, 56, 56, 3), dtype=torch.uint8, generator=_generator())


@pytest.mark.parametrize(
    ("weights", "logged"),
    [
        ({"distillation": 1.0, "reconstruction": 0.0}, {"loss", "dino", "ibot"}),
        ({"distillation": 0.0, "reconstruction": 1.0}, {"loss", "reconstruction"}),
        ({"distillation": 0.5, "reconstruction": 2.0}, {"loss", "dino", "ibot", "reconstruction"}),
    ],
)
def test_every_objective_trains_all_that_it_has_and_never_the_teacher(frames, weights, logged):
    model = _objective(**weights)
    scalars = model.loss(FrameBatch(frames=frames), _generator())
    assert set(scalars) == logged
    scalars["loss"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.requires_grad != name.startswith("teacher")
    parts = weights["distillation"] * (scalars.get("dino", 0) + scalars.get("ibot", 0))
    parts = parts + weights["reconstruction"] * scalars.get("reconstruction", 0)
    torch.testing.assert_close(scalars["loss"].detach(), torch.as_tensor(parts))


def test_the_generator_alone_decides(frames):
    model = _objective()
    first, again, other = (model.loss(FrameBatch(frames=frames), _generator(seed))["loss"].item() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_teacher_follows_the_student_and_stops_at_the_end():
    model = _objective()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter += 1
    before = [p.clone() for p in model.teacher.parameters()]
    model.after_step(10, 10)
    assert all(torch.equal(a, b) for a, b in zip(before, model.teacher.parameters(), strict=True))
    model.after_step(0, 10)
    momentum = model.config.momentum
    for old, new, student in zip(before, model.teacher.parameters(), model.encoder.parameters(), strict=True):
        torch.testing.assert_close(new, momentum * old + (1 - momentum) * student.detach())


def test_a_few_steps_lower_the_reconstruction_error():
    frames = (255 * torch.rand(5, 1, 1, 3, generator=_generator())).byte().expand(5, 56, 56, 3)
    model = _objective(distillation=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        scalars = model.loss(FrameBatch(frames=frames), _generator(step % 2))
        optimizer.zero_grad()
        scalars["loss"].backward()
        optimizer.step()
        losses.append(scalars["loss"].item())
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


def test_patches_are_in_row_major_order_and_hiding_greys_them_out():
    images = torch.arange(2 * 3 * 32 * 48, dtype=torch.float32).view(2, 3, 32, 48)
    patches = patchify(images)
    assert patches.shape == (2, 6, 3 * 16 * 16)
    torch.testing.assert_close(patches[1, 4].view(3, 16, 16), images[1, :, 16:32, 16:32])
    mask = torch.zeros(2, 4, dtype=torch.bool)
    mask[1, 2] = True
    hidden = hide(torch.ones(2, 3, 32, 32), mask)
    assert hidden[1, :, 16:, :16].eq(0).all()
    assert hidden.sum() == 2 * 3 * 32 * 32 - 3 * 16 * 16


def test_masks_have_shares_from_zero_to_the_ratio():
    shares = random_masks(400, 49, 0.6, _generator()).float().mean(1)
    assert shares.min() < 0.05
    assert 0.5 < shares.max() <= 0.62
    assert shares.mean() == pytest.approx(0.3, abs=0.04)


def test_reconstruction_loss_counts_patches_by_their_contrast():
    target = torch.zeros(1, 2, 12)
    target[0, 0] = torch.tensor([-1.0, 1.0]).repeat(6)
    mask = torch.tensor([[True, False]])
    off_flat, off_busy = target.clone(), target.clone()
    off_flat[0, 1] += 0.3
    off_busy[0, 0] += 0.3
    assert reconstruction_loss(target, target, mask) == 0
    assert reconstruction_loss(off_flat, target, mask) > reconstruction_loss(off_busy, target, mask)
    assert reconstruction_loss(off_flat, target, mask, visible=0.0) == 0


def test_sinkhorn_rows_sum_to_one_and_prototypes_are_used_alike():
    scores = torch.randn(300, 7, generator=_generator()) * 0.3
    scores[:, 2] += 0.5  # a prototype that would take all
    wanted = sinkhorn(scores, 0.1, rounds=20)
    torch.testing.assert_close(wanted.sum(1), torch.ones(300))
    torch.testing.assert_close(wanted.mean(0), torch.full((7,), 1 / 7), atol=0.01, rtol=0)


def test_crops_cut_pixel_by_pixel_hold_the_images_own_pixels():
    images = torch.rand(8, 3, 40, 40, generator=_generator())
    crops = random_crops(images, 24, (1.0, 1.0), _generator(3))
    assert crops.shape == (8, 3, 24, 24)
    exact = 0
    for image, crop in zip(images, crops, strict=True):
        windows = image.unfold(1, 24, 1).unfold(2, 24, 1)
        for candidate in (crop, crop.flip(2)):
            distance = (windows - candidate[:, None, None]).abs().amax((0, 3, 4))
            exact += bool(distance.min() < 1e-4)
    assert exact >= 3


def test_crops_larger_than_the_image_show_all_of_it():
    images = torch.rand(4, 3, 20, 20, generator=_generator())
    crops = random_crops(images, 32, (0.9, 1.0), _generator())
    assert crops.shape == (4, 3, 32, 32)
    torch.testing.assert_close(crops.mean((2, 3)), images.mean((2, 3)), atol=0.02, rtol=0)


def test_colours_stay_in_range_and_differ_between_images():
    images = torch.full((6, 3, 4, 4), 0.2)
    coloured = random_colours(images, _generator())
    assert coloured.min() >= -1
    assert coloured.max() <= 1
    assert len(coloured.mean((1, 2, 3)).unique()) > 3
