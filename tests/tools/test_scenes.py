from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tools.tiny_encoder.scenes import (
    draw_probe_scenes,
    draw_scene,
    draw_scenes,
    sample_scene,
    scene_labels,
)


def test_the_same_seed_draws_the_same_frames_and_another_seed_others():
    first, labels = draw_scenes(3, np.random.default_rng(5), size=48)
    again, labels_again = draw_scenes(3, np.random.default_rng(5), size=48)
    other, _ = draw_scenes(3, np.random.default_rng(6), size=48)
    assert first.shape == (3, 48, 48, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    assert {k: v.shape for k, v in labels.items()} == {"agent_xy": (3, 2), "object_xy": (3, 2), "object_angle": (3, 1)}
    for name, values in labels.items():
        np.testing.assert_array_equal(values, labels_again[name])


def test_labels_scale_with_the_picture():
    scene = sample_scene(np.random.default_rng(0))
    small, large = scene_labels(scene, 50), scene_labels(scene, 100)
    np.testing.assert_allclose(2 * small["agent_xy"], large["agent_xy"])
    np.testing.assert_allclose(small["object_angle"], large["object_angle"])


@pytest.mark.parametrize("seed", range(6))
def test_the_object_is_where_its_label_says(seed):
    """Turn the first object black, then white: the pixels that change lie around the label."""
    scene = sample_scene(np.random.default_rng(seed), objects=(1, 1))
    scene = dataclasses.replace(
        scene, joints=((5.0, 5.0, 0.1),), look=dataclasses.replace(scene.look, noise=0.0, blur=0.0)
    )
    body = dataclasses.replace(scene.objects[0], position=(0.1, -0.2))
    pictures = []
    for shade in (0.0, 1.0):
        painted = dataclasses.replace(scene, objects=(dataclasses.replace(body, colour=(shade,) * 3),))
        pictures.append(draw_scene(painted, 96).astype(int))
    rows, columns = np.nonzero(np.abs(pictures[0] - pictures[1]).sum(-1) > 60)
    x, y = scene_labels(dataclasses.replace(scene, objects=(body,)), 96)["object_xy"]
    assert columns.min() - 2 <= x <= columns.max() + 3
    assert rows.min() - 2 <= y <= rows.max() + 3


def test_turning_the_object_turns_its_label_seen_from_above():
    scene = sample_scene(np.random.default_rng(0), objects=(1, 1))
    camera = dataclasses.replace(scene.camera, elevation=np.pi / 2, azimuth=0.0)
    angles = []
    for turn in (0.0, 0.7):
        body = dataclasses.replace(scene.objects[0], angle=turn)
        angles.append(scene_labels(dataclasses.replace(scene, camera=camera, objects=(body,)), 64)["object_angle"][0])
    assert abs(angles[1] - angles[0]) == pytest.approx(0.7, abs=1e-6)


def test_the_number_of_objects_is_in_range():
    rng = np.random.default_rng(0)
    counts = {len(sample_scene(rng, objects=(2, 4)).objects) for _ in range(60)}
    assert counts == {2, 3, 4}


def test_pusht_frames_show_what_their_labels_say():
    pytest.importorskip("gym_pusht")
    from tools.tiny_encoder.pusht_frames import draw_pusht

    frames, labels = draw_pusht(6, np.random.default_rng(0), size=128)
    blue = (frames[..., 2].astype(int) - frames[..., 0] > 80) & (frames[..., 2] > 180)  # the agent is royal blue
    for index in range(6):
        rows, columns = np.nonzero(blue[index])
        if len(rows) > 20:  # not hidden under the block
            np.testing.assert_allclose([columns.mean(), rows.mean()], labels["agent_xy"][index], atol=1.5)
    recoloured, _ = draw_pusht(6, np.random.default_rng(0), size=128, recolour=True)
    assert (recoloured != frames).mean() > 0.3


def test_probe_scenes_keep_their_look_and_all_in_sight():
    frames, labels = draw_probe_scenes(12, np.random.default_rng(0), size=64)
    assert frames.shape == (12, 64, 64, 3)
    places = np.concatenate([labels["agent_xy"], labels["object_xy"]])
    assert places.min() >= 0
    assert places.max() < 64
    assert (np.median(frames, axis=0) == frames).all(-1).mean() > 0.6
    assert len(np.unique(labels["object_xy"].round(3), axis=0)) == 12
