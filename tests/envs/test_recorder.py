"""Env + policy -> dataset: what is kept, and that it follows from the seed alone, whatever happens on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from dot_world import Goes

from foreact.cli import main
from foreact.core.errors import ForeactError
from foreact.core.lock import LOCK_FILE
from foreact.data.lerobot import LeRobotDataset
from foreact.envs import recorder
from foreact.envs.recorder import Cast, record_takes
from foreact.envs.recording import RECIPE_FILE
from foreact.envs.registry import make_env
from foreact.envs.takes import LINGER, record_take

pytestmark = pytest.mark.usefixtures("dot")

LUCKY = Cast(env_id="dot/middle", policies={"lucky": 0.7, "play": 0.3}, seed=3, image_size=16)


class Interrupt(Exception):
    pass


def interrupt_at(done):
    def on_progress(at, total):
        if at == done:
            raise Interrupt

    return on_progress


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Made once, in the first test that asks."""
    return tmp_path_factory.mktemp("recordings") / "dot"


@pytest.fixture
def recorded(recording, dot):
    record_takes(recording, LUCKY, successes=4)
    return recording


def test_action_t_leads_frame_t_to_the_next_and_the_episode_goes_on_after_success(dot):
    env = make_env("dot/middle", image_size=16)
    take = record_take(env, Goes(env.world), seed=1)
    states, actions = take.columns["observation.state"], take.columns["action"]
    np.testing.assert_allclose(states[1:], states[:-1] + actions[:-1], atol=0.3)
    assert np.abs(states[1:] - states[:-1] - actions[1:]).max() > 0.3, "alignment would not show"
    assert np.abs(actions).max() == 1.0, "an action is recorded as it was carried out"
    for frame, (x, y) in zip(take.frames["observation.images.top"], states, strict=True):
        assert frame[int(y), int(x)].all()
    first = int(np.argmax(take.columns["next.success"]))
    assert len(states) == first + 1 + LINGER
    assert take.columns["observation.environment_state"].shape == (len(states), 2)


@pytest.mark.parametrize(("execute", "looks"), [(None, 4), (3, 3), (1, 1)])
def test_a_chunk_is_executed_as_far_as_asked(execute, looks, dot):
    env = make_env("dot/middle", image_size=16, max_steps=12)
    seen = []

    class Chunks:
        def reset(self, seeds=None):
            pass

        def act(self, observation):
            seen.append(observation["observation.state"])
            return np.zeros((4, 2))

    take = record_take(env, Chunks(), seed=0, execute=execute)
    assert len(take.columns["action"]) == 12
    assert len(seen) == 12 / looks


def test_successes_are_kept_and_all_is_noted(recorded):
    data, note = LeRobotDataset(recorded), json.loads((recorded / RECIPE_FILE).read_text())
    kept = [attempt for attempt in note["attempts"] if attempt["kept"]]
    assert [episode.length for episode in data.episodes] == [attempt["frames"] for attempt in kept]
    lucky = [attempt["success"] for attempt in note["attempts"] if attempt["policy"] == "lucky"]
    assert sum(lucky) == 4
    assert note["success"] == {"lucky": pytest.approx(sum(lucky) / len(lucky))}
    assert 0 < sum(lucky) < len(lucky), "a seed with failures"
    assert {attempt["policy"] for attempt in kept} == {"lucky", "play"}
    assert note["versions"].keys() == {"numpy"}
    assert len(data.cameras) == 2
    assert len({episode.task for episode in data.episodes}) == 3, "two phrasings, and play"


@pytest.mark.parametrize("stops", [(1,), (1, 2, 3, 4)])
@pytest.mark.parametrize("lost", [False, True])
def test_an_interrupted_recording_ends_with_the_same_bytes(stops, lost, recorded, tmp_path, monkeypatch):
    """Also where it ended between the note of a take and the take."""
    out = tmp_path / "again"
    for stop in stops:
        with pytest.raises(Interrupt):
            record_takes(out, LUCKY, successes=4, on_progress=interrupt_at(stop))
    if lost:
        note = json.loads((out / RECIPE_FILE).read_text())
        note["attempts"].append({"policy": "lucky", "success": True, "frames": 7, "kept": True})
        (out / RECIPE_FILE).write_text(json.dumps(note))
    record_takes(out, LUCKY, successes=4)
    assert content(out) == content(recorded)


def test_the_number_of_workers_does_not_matter(recorded, tmp_path):
    record_takes(tmp_path / "two", LUCKY, successes=4, workers=2)
    assert content(tmp_path / "two") == content(recorded)


def test_a_crash_in_one_process_is_named_and_nothing_is_lost(tmp_path, monkeypatch):
    """Without the crash, the same command goes on to the same bytes."""
    cast = Cast(env_id="dot/middle", policies={"dot_world:Crashes": 1.0}, image_size=16)
    monkeypatch.setenv("CRASH", "1")
    with pytest.raises(ForeactError, match="a process that simulates ended all at once"):
        record_takes(tmp_path / "out", cast, episodes=3, workers=2)
    monkeypatch.delenv("CRASH")
    record_takes(tmp_path / "out", cast, episodes=3)
    record_takes(tmp_path / "whole", cast, episodes=3)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_two_processes_do_not_record_into_one_folder(tmp_path):
    holds = f"from foreact.core.lock import *; from pathlib import *\nwith locked(Path({str(tmp_path / 'out')!r})): print(input())"
    with subprocess.Popen([sys.executable, "-uc", holds], stdin=subprocess.PIPE) as other:
        while not (tmp_path / "out" / LOCK_FILE).exists() or not (tmp_path / "out" / LOCK_FILE).read_text():
            time.sleep(0.05)
        with pytest.raises(ForeactError, match="out"):
            record_takes(tmp_path / "out", LUCKY, successes=1)
        other.communicate(b"\n")
    record_takes(tmp_path / "out", LUCKY, successes=1)


def test_a_finished_recording_is_left_as_it_is(recorded, monkeypatch):
    before = content(recorded)
    monkeypatch.setattr(recorder, "make_take", None)
    record_takes(recorded, LUCKY, successes=4)
    assert content(recorded) == before
    with pytest.raises(ForeactError, match="finished with 4 episodes, not 5"):
        record_takes(recorded, LUCKY, successes=5)
    with pytest.raises(ForeactError, match="another --out"):
        record_takes(recorded, Cast(env_id="dot/middle", policies={"lucky": 1.0}), successes=4)


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--successes", "3"], {"success": True}),
        (["--successes", "3", "--policy", "lucky"], {"success": True}),
        (["--episodes", "5", "--policy", "dot_world:Goes", "--fps", "10"], {}),
        (["--successes", "2", "--policy", "lucky", "--failures", "--seed", "3"], {}),
        (["--episodes", "3", "--policy", "random", "--execute", "2"], {}),
        (["--episodes", "3", "--policy", "play"], {"policy": "play"}),
    ],
)
def test_collect_is_one_command(words, kept, tmp_path, capsys):
    main(["collect", "dot/middle", "--image-size", "16", "--workers", "1", "--out", str(tmp_path / "out"), *words])
    note = json.loads((tmp_path / "out" / RECIPE_FILE).read_text())
    assert len(LeRobotDataset(tmp_path / "out").episodes) == sum(a["kept"] for a in note["attempts"])
    assert all(attempt.items() >= kept.items() for attempt in note["attempts"] if attempt["kept"])
    assert LeRobotDataset(tmp_path / "out").fps == (10 if "--fps" in words else 5)
    assert ("no aim" if "play" in words else "succeeded in") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--policy", "expart"],
            "no policy 'expart': choose one of expert, lucky, play, random, a run, or module:function",
        ),
        (["--policy", "dot_world:Nobody"], "cannot be imported"),
        (["--policy", "dot_world:Breaks"], "not finite"),
        (["--noise", "0.2"], "no policy 'noisy'"),
        (["--play", "1.2"], "leave nothing to expert"),
        (["--episodes", "2", "--successes", "2"], "give one of them"),
        (["--failures"], "beside --successes"),
        (["--look", "unseen"], "look means nothing for dot/middle; its options: fps"),
        (["--task", "PullCube"], "--task belongs to the scripted recording of maniskill"),
        (["--successes", "1", "--policy", "dot_world:Flees"], "none of 50 attempts succeeded"),
        (["--successes", "1", "--policy", "play"], "play has no aim"),
        (["--policy", "play", "--play", "0.5"], "--policy play is all noise or play"),
    ],
)
def test_what_cannot_be_is_one_line(words, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["collect", "dot/middle", "--image-size", "16", "--workers", "1", "--out", str(tmp_path / "out"), *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_missing_simulator_is_one_line_with_its_command(monkeypatch, tmp_path, capsys):
    monkeypatch.delitem(sys.modules, "foreact.envs.pusht.simulation", raising=False)
    monkeypatch.setitem(sys.modules, "gym_pusht.envs.pusht", None)
    with pytest.raises(SystemExit):
        main(["collect", "pusht", "--successes", "1", "--out", str(tmp_path / "out")])
    assert "pip install 'foreact[pusht]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
