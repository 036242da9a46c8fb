from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from foreact.core.errors import ForeactError
from foreact.data.lerobot import LeRobotDataset
from foreact.evaluation.poses import CAMERAS, Camera, find_poses, panda_hand, pose_errors, yaw

POSE = ["x", "y", "z", "qw", "qx", "qy", "qz"]
JOINTS = [f"panda_joint{i}" for i in range(1, 8)] + ["finger1", "finger2"]
REST = np.array([0, np.pi / 8, 0, -np.pi * 5 / 8, 0, np.pi * 3 / 4, np.pi / 4])


def maniskill(**changes) -> SimpleNamespace:
    """What `find_poses` asks of a dataset, with the columns of a ManiSkill recording."""
    columns = {
        "observation.object_pose": np.array(
            [[-0.048, 0, 0.07, 1, 0, 0, 0], [0.1, 0.1, 0.02, np.cos(0.3), 0, 0, np.sin(0.3)]]
        ),
        "observation.state": np.stack([np.append(REST, [0.04, 0.04])] * 2),
    }
    features = {
        "observation.object_pose": {"dtype": "float32", "names": POSE},
        "observation.state": {"dtype": "float32", "names": JOINTS},
        "success": {"dtype": "bool", "names": None},
    }
    base = {
        "root": "recording",
        "robot_type": "panda",
        "camera": "observation.images.front",
        "image_shape": (256, 256),
        "features": features,
        "episodes": [SimpleNamespace(task="pull the cube"), SimpleNamespace(task="pull the cube with the tool")],
        "column": lambda key, episode: columns[key],
    }
    return SimpleNamespace(**{**base, **changes})


def test_pusht_columns_are_found(tiny_dataset):
    dataset = LeRobotDataset(tiny_dataset)
    targets = find_poses(dataset)
    assert [t.metric for t in targets] == ["block_error_px", "block_error_deg", "agent_error_px"]
    block = dataset.column("observation.environment_state", 2)
    assert np.array_equal(targets[0].read(dataset, 2), block[:, :2].astype(np.float64))
    assert np.array_equal(targets[1].read(dataset, 2), block[:, 2:].astype(np.float64))
    assert all("512" in t.about for t in targets if t.unit == "px")


@pytest.mark.parametrize(
    ("tasks", "period"),
    [
        (["pull the cube"], np.pi / 2),
        (["push the T-shaped block onto the target"], 2 * np.pi),
        (["roll the ball onto the target"], None),
        (["pull the cube", "roll the ball"], None),
        ([""], None),
    ],
)
def test_a_turn_is_asked_for_where_the_tasks_name_an_object_of_known_symmetry(tasks, period):
    dataset = maniskill(episodes=[SimpleNamespace(task=task) for task in tasks])
    assert [t.period for t in find_poses(dataset) if t.unit == "deg"] == ([period] if period else [])


def test_named_columns_are_added_and_bad_ones_refused(tiny_dataset):
    dataset = LeRobotDataset(tiny_dataset)
    targets = find_poses(dataset, columns=["action"])
    assert targets[-1].metric == "action_error"
    assert targets[-1].read(dataset, 0).shape == dataset.actions(0).shape
    for column in ("nothing", "task_index"):
        with pytest.raises(ForeactError, match=f"column '{column}' is .*float columns are .*'action'"):
            find_poses(dataset, columns=[column])


def test_maniskill_is_projected_through_the_papers_camera():
    dataset = maniskill()
    block, turn, hand = find_poses(dataset)
    assert [t.metric for t in (block, turn, hand)] == ["block_error_px", "block_error_deg", "agent_error_px"]
    assert block.read(dataset, 0)[0] == pytest.approx([128, 128])  # the camera's target is the middle of the picture
    assert block.read(dataset, 0)[1][0] > 128  # y to the robot's left is to the right of a camera that faces it
    assert turn.read(dataset, 0)[:, 0] == pytest.approx([0, 0.6])
    assert hand.read(dataset, 0).shape == (2, 2)


@pytest.mark.parametrize(
    "changes",
    [{"robot_type": "xarm6"}, {"camera": "observation.images.wrist"}, {"image_shape": (256, 320)}],
)
def test_other_cameras_give_millimetres_instead_of_wrong_pixels(changes):
    dataset = maniskill(**changes)
    targets = find_poses(dataset)
    assert [t.metric for t in targets] == ["block_error_mm", "block_error_deg"]
    assert targets[0].read(dataset, 0)[1] == pytest.approx([100, 100, 20])


def test_datasets_without_known_columns_have_no_poses():
    assert find_poses(maniskill(features={})) == ()


def test_camera_scales_with_the_picture_and_with_distance():
    camera = Camera(eye=(1, 0, 0), target=(0, 0, 0), field_of_view=np.pi / 2)
    points = np.array([[0, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [-1, 0, 0.5]])
    expected = np.array([[50, 50], [75, 50], [50, 25], [50, 37.5]])
    assert camera.project(points, 100) == pytest.approx(expected)
    assert camera.project(points, 200) == pytest.approx(2 * expected)
    assert dataclasses.asdict(CAMERAS["maniskill-front-lower"])["field_of_view"] == 1.0


def test_panda_hand_at_rest_is_in_front_of_the_base_above_the_table():
    x, y, z = panda_hand(REST)
    assert (x, y, z) == pytest.approx((0.615, 0.0, 0.17), abs=0.02)  # ManiSkill's rest pose, base at x = -0.615
    turned = panda_hand(REST + np.eye(7)[0] * 0.5)
    assert np.hypot(*turned[:2]) == pytest.approx(np.hypot(x, y))
    assert np.arctan2(turned[1], turned[0]) == pytest.approx(0.5)


def test_panda_hand_stretched_upwards_has_the_length_of_its_links():
    x, _, z = panda_hand(np.zeros(7))
    assert (x, z) == pytest.approx((0.088, 0.333 + 0.316 + 0.384 - 0.2104))


def test_yaw():
    angles = np.array([0.0, 1.0, -2.5])
    quaternions = np.stack([np.cos(angles / 2), 0 * angles, 0 * angles, np.sin(angles / 2)], axis=1)
    assert yaw(quaternions)[:, 0] == pytest.approx(angles)
    assert yaw(-quaternions)[:, 0] == pytest.approx(angles)


@pytest.mark.parametrize(
    ("predicted", "truth", "period", "degrees"),
    [
        (np.pi - 0.01, -np.pi + 0.01, 2 * np.pi, np.degrees(0.02)),
        (0.0, np.pi, 2 * np.pi, 180),
        (0.0, np.pi / 2, np.pi / 2, 0),
        (0.1, np.pi / 2 - 0.1, np.pi / 2, np.degrees(0.2)),
        (7 * np.pi, 0.0, 2 * np.pi, 180),
    ],
)
def test_turns_are_measured_the_short_way_round(predicted, truth, period, degrees):
    assert pose_errors(np.array([predicted]), np.array([truth]), period) == pytest.approx(degrees, abs=1e-9)


def test_positions_are_measured_as_distances():
    assert pose_errors(np.array([[3.0, 4.0], [1.0, 1.0]]), np.zeros(2), None) == pytest.approx([5, np.sqrt(2)])
