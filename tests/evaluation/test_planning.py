"""`foreact plan` from recordings to rows: the real path, in a world of a dot and a ring that can be put anywhere."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from foreact.cli import main
from foreact.core.errors import ForeactError
from foreact.core.progress import progress_bar
from foreact.data.lerobot import LeRobotDataset
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.envs.registry import find_env, make_env
from foreact.evaluation.acting import act as acting
from foreact.evaluation.planning.goals import RecordedGoalEnv, choose_goals
from foreact.evaluation.planning.plan import THRESHOLDS, PlanRequest, plan
from foreact.evaluation.results import Results
from foreact.evaluation.rows import select
from foreact.planning.config import PlannerConfig
from foreact.planning.planner import GOAL, GOAL_STEPS
from foreact.recordings.splits import Split
from tests.ring_world import SIDE, demonstrate

pytestmark = pytest.mark.usefixtures("ring")

SMALL = PlannerConfig(options=(("samples", 12), ("elites", 3)), iterations=2, horizon=4, execute=2)


@pytest.fixture(scope="module")
def trained_ring(tmp_path_factory, in_small):
    """Recordings and a world model that has hardly been trained on them."""
    root = tmp_path_factory.mktemp("plan")
    data = demonstrate(root / "data", 16, ring=True)
    TinyEncoderConfig(stem=(8, 8, 8), dim=24, depth=1, heads=3).build().save_pretrained(root / "encoder")
    with in_small():
        main(["train", "dino-wm", "--data", str(data), "--out", str(root / "dino-wm"), "--cache", str(root / "cache"),
              "--encoder", str(root / "encoder"), "--image-size", "32", "--batch-size", "4", "--steps", "2",
              "--precision", "no"])  # fmt: skip
    return root


def request(root, **options):
    asked = {"run": str(root / "dino-wm"), "env": "ring", "data": str(root / "data"), "goals": ("3",), "episodes": 4}
    return PlanRequest(**(asked | {"planner": SMALL, "batch": 2} | options))


def means(results, goal, policy):
    return {row.metric: row.mean for row in select(results.rows, goal=goal, policy=policy) if row["threshold"] is None}


def values(results):
    return {(v["policy"], v["goal"], v.metric): v.values for v in results.episodes if "second" not in v.metric}


def test_rows_of_the_planner_and_of_all_that_it_is_compared_with(trained_ring, tmp_path):
    out = tmp_path / "plan.json"
    run, data = str(trained_ring / "dino-wm"), str(trained_ring / "data")
    main(["plan", run, "--env", "ring", "--data", data, "--goals", "3", "6", "--episodes", "3", "--out", str(out), "--samples", "12",
          "--iterations", "2", "--horizon", "4", "--execute", "2", "--against", "recorded", "random", "simulator", "persistence",
          "expert"])  # fmt: skip
    results = Results.load(out)
    for goal in ("3", "6"):
        assert means(results, goal, "recorded")["final_distance"] < 1e-3
        assert means(results, goal, "recorded")["success"] == 1
        for policy in (run, "simulator", "persistence"):
            told = means(results, goal, policy)
            assert {"success", "return", "length", "final_distance", "start_distance", "seconds_per_plan", "imagined_cost", "real_cost"} <= told.keys()  # fmt: skip
            assert told["length"] == int(goal)
        curve = [row for row in results.rows if row.metric == "success_within" and row["goal"] == goal]
        assert {row["threshold"] for row in curve} == set(THRESHOLDS)
        shares = [row.mean for row in curve if row["policy"] == run]
        assert shares == sorted(shares)
    assert means(results, "3", "simulator")["real_cost"] < means(results, "3", "persistence")["real_cost"]
    row = next(row for row in json.loads(out.read_text())["rows"] if row["metric"] == "seconds_per_plan")
    assert (row["policy"], row["env"], row["goal"], row["solver"], row["n"]) == (run, "ring", "3", "cem", 3)
    assert results.split_hash == Split.load(trained_ring / "dino-wm" / "split.json").hash
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_what_the_simulator_foresees_comes_true(trained_ring):
    """The cost that is imagined in the simulator itself is the real one."""
    told = means(plan(request(trained_ring, who=("planner", "simulator")), None, progress_bar), "3", "simulator")
    assert told["imagined_cost"] == pytest.approx(told["real_cost"], rel=1e-3)


def test_the_tasks_own_goal_and_a_picture(trained_ring, tmp_path):
    picture = tmp_path / "goal.png"
    Image.fromarray(make_env("ring", image_size=SIDE).reset(seed=1)[0]["observation.images.top"]).save(picture)
    asked = request(
        trained_ring, goals=("task", str(picture)), episodes=2, who=("planner", "expert"), options=(("fps", 10.0),)
    )
    results = plan(asked, None, progress_bar)
    assert means(results, "task", "expert")["success"] == 1
    for goal in ("task", str(picture)):
        told = means(results, goal, str(trained_ring / "dino-wm"))
        assert "final_distance" not in told
        assert told["seconds_per_plan"] > 0


def test_the_environment_is_where_the_recording_was_and_shows_the_goal(trained_ring):
    data = LeRobotDataset(trained_ring / "data")
    goals = choose_goals(data, range(16), find_env("ring")[0], steps=3, count=5, seed=0)
    env = RecordedGoalEnv(make_env("ring", image_size=SIDE).world, goals)
    for number, goal in enumerate(goals):
        seen, _ = env.reset(seed=number)
        np.testing.assert_allclose(seen["observation.state"], goal.at(goal.start)["observation.state"], atol=1e-4)
        assert seen[GOAL_STEPS] == 3
        for action in goal.actions[goal.start :]:
            end, *_, info = env.step(action)
        assert (
            np.abs(end["observation.images.top"].astype(int) - seen[GOAL]).mean() < 6
        )  # but for the video's compression
        assert info["success"]
    again = choose_goals(data, range(16), find_env("ring")[0], steps=3, count=2, seed=0)
    assert [(g.episode, g.start) for g in again] == [(g.episode, g.start) for g in goals[:2]]


def test_an_interrupted_call_goes_on_where_it_stopped(trained_ring, tmp_path, monkeypatch):
    out, asked = tmp_path / "plan.json", request(trained_ring, who=("planner", "random"))
    whole, played = plan(asked, None, progress_bar), []

    class Stops(acting.Crew):
        def play(self, waves):
            for wave in super().play(waves):
                yield wave
                played.append(wave)
                if len(played) == 3:  # the planner is through, the random policy half
                    raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(acting, "Crew", Stops)
        with pytest.raises(KeyboardInterrupt):
            plan(asked, out, progress_bar)
    assert not out.exists()
    with pytest.raises(ForeactError, match="seed differ"):
        plan(request(trained_ring, seed=5), out, progress_bar)
    assert values(plan(asked, out, progress_bar)) == values(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(("batch", "workers"), [(4, 1), pytest.param(2, 2, marks=pytest.mark.slow)])
def test_an_episode_does_not_depend_on_who_plays_beside_it(trained_ring, batch, workers):
    alone, beside = (
        values(plan(request(trained_ring, **abreast), None, progress_bar))
        for abreast in ({"batch": 1}, {"batch": batch, "workers": workers})
    )
    for key, numbers in alone.items():
        np.testing.assert_allclose(beside[key], numbers, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 0}, "at least 1"),
        ({"goals": ()}, "name a goal"),
        ({"goals": ("0",)}, "at least 1 action ahead"),
        ({"goals": ("99",)}, "no held-out episode is long enough for goals 99 steps ahead"),
        ({"goals": ("later",)}, "later is no goal: write task, a number of actions, or the path of a picture"),
        ({"env": "nowhere"}, "unknown environment 'nowhere'"),
        ({"run": "nowhere"}, "nowhere holds no model"),
        ({"who": ("nobody",)}, "has no policy 'nobody'"),
        ({"who": ("recorded",), "goals": ("task",)}, "recorded actions lead to goals of recordings alone"),
        ({"options": (("fps", 20.0),)}, "10 actions per second, ring 20"),
        ({"planner": PlannerConfig(iterations=0)}, "a budget of 0 iterations"),
        ({"planner": PlannerConfig(futures=3)}, "dino_wm is deterministic"),
    ],
)
def test_bad_input_is_named(trained_ring, options, message, capsys):
    with pytest.raises(ForeactError, match=message):
        plan(request(trained_ring, **options), None, progress_bar)
    assert "episodes (" not in capsys.readouterr().err  # it is said before anything is played


def test_a_goal_of_another_size_is_refused(trained_ring, tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "goal.png")
    with pytest.raises(ForeactError, match="has 30 x 40 pixels, the recordings 32 x 32"):
        plan(request(trained_ring, goals=(str(tmp_path / "goal.png"),)), None, progress_bar)


def test_a_goal_of_another_scene_is_refused(trained_ring, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "goal.png")
    with pytest.raises(ForeactError, match=r"nothing in the recordings is near .*goal.png: it is .* times farther"):
        plan(request(trained_ring, goals=(str(tmp_path / "goal.png"),)), None, progress_bar)


def test_recordings_of_another_world_are_refused(trained_ring, place, tmp_path):
    """Without the columns that say where things were, with other actions, and a run that imagines nothing."""
    bare = demonstrate(tmp_path / "bare", 8)
    with pytest.raises(ForeactError, match=r"has no column 'observation.ring': a dot and a ring cannot be put"):
        plan(request(trained_ring, data=str(bare)), None, progress_bar)
    with pytest.raises(ForeactError, match="48 x 64 pixels; environments draw square ones"):
        plan(request(trained_ring, data=str(place[1][1])), None, progress_bar)
    told = json.loads((trained_ring / "dino-wm" / "run.json").read_text())
    lost = shutil.copytree(trained_ring / "dino-wm", tmp_path / "lost")
    for text in ("{}", json.dumps(told | {"data": "nowhere"})):
        (lost / "run.json").write_text(text)
        with pytest.raises(ForeactError, match=r"name (them|the recordings) with --data"):
            plan(request(trained_ring, run=str(lost), data=None), None, progress_bar)
    with pytest.raises(ForeactError, match="holds a rla, not a world model"):
        plan(request(trained_ring, run=str(place[0] / "runs" / "rla")), None, progress_bar)
