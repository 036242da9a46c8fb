"""From demonstrations to a policy to its success: the real path, in a world of a dot and a ring."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foreact import load
from foreact.cli import main
from foreact.core.errors import ForeactError
from foreact.core.progress import progress_bar
from foreact.data.lerobot import LeRobotDataset
from foreact.data.video import count_frames
from foreact.envs.registry import find_env, make_env
from foreact.evaluation.acting import act as module
from foreact.evaluation.acting.act import ActRequest, act
from foreact.evaluation.acting.choosing import load_policy
from foreact.evaluation.acting.episodes import Execution, play
from foreact.evaluation.results import Results
from tests.ring_world import SIDE, demonstrate

pytestmark = pytest.mark.usefixtures("ring")

TINY = ["--batch-size", "16", "--precision", "no", "--image-size", "32"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return demonstrate(tmp_path_factory.mktemp("dot") / "data", 40)


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    out = tmp_path_factory.mktemp("runs") / "bc"
    cache = out.parent / "cache"
    main(["train", "bc", "--data", str(data), "--out", str(out), "--cache", str(cache), "--steps", "150", *TINY])
    return out


def request(policy, **options):
    return ActRequest(**({"policy": str(policy), "env": "ring", "episodes": 12, "image_size": SIDE} | options))


def rates(results):
    return {row.metric: row.mean for row in results.rows}


def outcomes(results):
    return {values.metric: dict(zip(values.episodes, values.values, strict=True)) for values in results.episodes}


def test_what_was_cloned_reaches_the_ring_and_chance_does_not(run):
    cloned, chance, expert = (
        rates(act(request(policy, episodes=20, seed=50), None, progress_bar)) for policy in (run, "random", "expert")
    )
    assert expert["success"] == 1
    assert cloned["success"] >= chance["success"] + 0.3
    assert cloned["length"] < chance["length"]


def test_a_run_acts_in_three_lines(run):
    policy = load(run)
    policy.reset()
    chunk = policy.act(
        {"observation.images.top": np.zeros((SIDE, SIDE, 3), np.uint8), "observation.state": np.zeros(2)}
    )
    assert chunk.shape == (12, 2)


def test_an_episode_does_not_depend_on_who_plays_beside_it(run):
    one, several, processes = (
        outcomes(act(request(run, batch=batch, workers=workers), None, progress_bar))
        for batch, workers in ((1, 1), (5, 1), (4, 2))
    )
    assert one["length"] == several["length"] == processes["length"]
    for seed, total in one["return"].items():
        assert several["return"][seed] == pytest.approx(total, abs=1e-3)


def test_pictures_are_drawn_when_the_policy_looks(run):
    card, _ = find_env("ring")
    env = make_env("ring", image_size=SIDE)
    (episode,) = play([env], load_policy(str(run), card, [env]), [3], Execution(execute=4))
    assert env.world.drawn <= 2 + episode.length // 4


def test_old_observations_are_those_of_before(run):
    """A policy that notes what it sees: with a delay of 3 actions, the dot as it was 3 actions ago."""

    class Noting:
        execute = 4

        def reset(self, seeds=None):
            self.seen = []

        def act(self, observation):
            self.seen.append(observation["observation.state"][0].copy())
            return np.full((1, 4, 2), 0.1)

    def positions(delay):
        env, policy = make_env("ring", image_size=SIDE, max_steps=16), Noting()
        play([env], policy, [1], Execution(delay=delay))
        return np.array(policy.seen)

    fresh, old, older = positions(0), positions(3), positions(6)
    np.testing.assert_allclose(old[1:], fresh[1:] - 0.3, atol=1e-5)
    np.testing.assert_allclose(older[1], fresh[0], atol=1e-5)
    np.testing.assert_allclose(older[2:], fresh[2:] - 0.6, atol=1e-5)


def test_the_results_file_has_rows_episodes_and_versions(run, tmp_path):
    out = tmp_path / "results.json"
    main(
        [
            "act",
            str(run),
            "--env",
            "ring",
            "--episodes",
            "6",
            "--seed",
            "42",
            "--out",
            str(out),
            "--video",
            str(tmp_path / "v"),
        ]
    )
    told = json.loads(out.read_text())
    row = next(row for row in told["rows"] if row["metric"] == "success")
    assert (row["policy"], row["env"], row["n"]) == (str(run), "ring", 6)
    assert 0 <= row["low"] <= row["mean"] <= row["high"] <= 1
    assert {row["metric"] for row in told["rows"]} == {"success", "return", "length", "nearness"}
    assert next(e for e in told["episodes"] if e["metric"] == "success")["episodes"] == list(range(42, 48))
    assert "numpy" in told["versions"]
    lengths = outcomes(Results.load(out))["length"]
    for video in (tmp_path / "v").iterdir():
        seed = int(video.stem.rsplit("-", 1)[1])
        assert count_frames(video) == lengths[seed] + 1
    assert list((tmp_path / "v").iterdir())


def test_what_a_policy_did_becomes_a_dataset(tmp_path):
    out = tmp_path / "recorded"
    command = [
        "act",
        "expert",
        "--env",
        "ring",
        "--episodes",
        "3",
        "--seed",
        "7",
        "--out",
        str(tmp_path / "results.json"),
    ]
    main([*command, "--record", str(out)])
    lengths = outcomes(Results.load(tmp_path / "results.json"))["length"]
    data = LeRobotDataset(out)
    assert data.cameras == ("observation.images.top",)
    for episode, length in zip(data.episodes, lengths.values(), strict=True):
        done = data.column("next.success", episode.index)[:, 0]
        assert (int(np.argmax(done)) + 1 if done.any() else episode.length) == length
    written = (out / "meta" / "info.json").read_bytes()
    main([*command, "--record", str(out)])  # finished
    assert (out / "meta" / "info.json").read_bytes() == written
    with pytest.raises(SystemExit):
        main([*command, "--record", str(tmp_path / "late"), "--delay", "100"])


def test_an_interrupted_call_goes_on_where_it_stopped(run, tmp_path, monkeypatch):
    out, asked = tmp_path / "results.json", request(run, batch=3)
    whole = act(asked, None, progress_bar)
    played = []

    class Stops(module.Crew):
        def play(self, waves):
            for wave in super().play(waves):
                yield wave
                played.append(wave)
                if len(played) == 2:
                    raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "Crew", Stops)
        with pytest.raises(KeyboardInterrupt):
            act(asked, out, progress_bar)
    assert not out.exists()
    with pytest.raises(ForeactError, match="seed differ"):
        act(request(run, seed=5), out, progress_bar)
    again = act(asked, out, progress_bar)
    assert outcomes(again) == outcomes(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(("workers", "option"), [(1, "crash_at"), (2, "crash_at"), (2, "die_at")])
def test_a_crash_costs_its_own_episode_alone(workers, option):
    asked = request("expert", episodes=7, batch=3, workers=workers, options={option: 4})
    results = act(asked, None, progress_bar)
    assert sorted(results.seeds) == [0, 1, 2, 3, 5, 6]
    (told,) = results.notes.items()
    assert told[0] == "seed 4"
    assert "the ring is lost" in told[1] or "process died" in told[1]


def test_a_policy_of_the_users_own_acts():
    assert rates(act(request("tests.ring_world:still", episodes=8), None, progress_bar))["success"] < 0.5


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("nothing", {}, "has no policy 'nothing': choose one of expert, random, a run"),
        ("tests.ring_world:nothing", {}, "tests.ring_world:nothing.*cannot be imported"),
        ("tests.ring_world:Still", {"env": "nowhere"}, "unknown environment 'nowhere'"),
        ("expert", {"options": {"colour": 1}}, "colour means nothing for ring; its options: crash_at, die_at, fps"),
        ("expert", {"episodes": 0}, "at least 1"),
    ],
)
def test_bad_input_is_named(policy, options, message):
    with pytest.raises(ForeactError, match=message):
        act(request(policy, **options), None, progress_bar)


def test_actions_that_are_not_finite_end_it():
    class Broken:
        def reset(self, seeds=None):
            pass

        def act(self, observation):
            return np.full((1, 2, 2), np.nan)

    with pytest.raises(ForeactError, match=r"the action at step 0 is not finite"):
        play([make_env("ring", image_size=SIDE)], Broken(), [0], Execution())


def test_another_rate_or_camera_is_refused_before_weights_load(run, monkeypatch):
    monkeypatch.setattr("foreact.evaluation.acting.choosing.load", lambda *_, **__: pytest.fail("weights were loaded"))
    with pytest.raises(ForeactError, match="acts at 10 actions per second, the environment at 20"):
        act(request(run, options={"fps": 20.0}), None, progress_bar)
    with pytest.raises(ForeactError, match=r"32 x 32 pixels, the environment has observation.images.top 48 x 48"):
        act(request(run, image_size=48), None, progress_bar)


def test_another_rate_acts_when_asked(run):
    results = act(request(run, options={"fps": 20.0}, resample=True, episodes=4), None, progress_bar)
    assert results.seeds == (0, 1, 2, 3)


def test_a_run_that_is_no_policy_is_refused(place):
    with pytest.raises(ForeactError, match="holds a rla, not a policy"):
        act(request(place[0] / "runs" / "rla"), None, progress_bar)


def test_wam_learns_from_silent_episodes_by_any_learner(data, place, tmp_path):
    root, _ = place
    common = ["--data", str(data), "--cache", str(tmp_path / "cache")]
    small = [
        "--encoder",
        str(root / "encoder"),
        "--image-size",
        "32",
        "--batch-size",
        "8",
        "--precision",
        "no",
        "--steps",
        "2",
    ]
    for kind in ("rla", "dino-cls"):
        main(["train", kind, *common, "--out", str(tmp_path / kind), *small])
        main(["train", "wam", *common, "--out", str(tmp_path / f"wam-{kind}"), "--latent", str(tmp_path / kind),
              "--labelled", "0.2", "--steps", "3", *TINY])  # fmt: skip
        about = json.loads((tmp_path / f"wam-{kind}" / "config.json").read_text())
        assert about["config"]["learner"] == kind.replace("-", "_")
        assert load(tmp_path / f"wam-{kind}").act(make_env("ring", image_size=SIDE).reset(seed=0)[0]).shape == (12, 2)
    with pytest.raises(SystemExit):
        main(
            ["train", "wam", *common, "--out", str(tmp_path / "no"), "--latent", str(root / "runs" / "dino-wm"), *TINY]
        )


def test_snapshots_are_policies(run):
    kept = sorted((run / "snapshots").iterdir())
    assert [int(path.name.removeprefix("step-")) for path in kept] == [15 * (k + 1) for k in range(10)]
    last, own = load(kept[-1]), load(run)
    observation = make_env("ring", image_size=SIDE).reset(seed=0)[0]
    np.testing.assert_array_equal(last.act(observation), own.act(observation))
