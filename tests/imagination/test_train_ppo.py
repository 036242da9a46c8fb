"""`foreact train ppo`: the real path in a world of a dot and a ring; kills, resumes, what is kept, what is refused."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from foreact import load
from foreact.cli import main
from foreact.core.errors import DivergedError, ForeactError
from foreact.core.progress import progress_bar
from foreact.decoders.unet import ImageDecoderConfig
from foreact.encoders.loading import load_encoder
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.imagination import learner
from foreact.imagination.ppo import PPOConfig
from foreact.imagination.run import PPORequest, run_ppo
from foreact.policies.bc import Camera
from foreact.policies.sight import Extras
from foreact.training.journal import read_log
from foreact.world_models.dino_wm import DinoWMConfig
from tests.imagination.worlds import save, small_policy
from tests.ring_world import CAMERA, SIDE, demonstrate

pytestmark = pytest.mark.usefixtures("ring")
SMALL = PPOConfig(rollouts=3, envs=6, steps=2, minibatch=6, epochs=2, rank=0, save_every=2, learning_rate=1e-3)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Demonstrations of the ring, and an encoder, a world model, an image decoder and policies of it with random weights."""
    root = tmp_path_factory.mktemp("parts")
    demonstrate(root / "data", 10, told=True, linger=8)
    TinyEncoderConfig(stem=(4, 4, 4), dim=8, depth=1, heads=2).build().save_pretrained(root / "encoder")
    tokens = load_encoder(str(root / "encoder"), image_size=SIDE).spec
    seen = DinoWMConfig(tokens=tokens, action_dim=2, horizon=6, dim=12, heads=2, depth=1)
    save(seen, root / "dino-wm")
    source = {"camera": CAMERA, "fps": 10.0}
    (root / "dino-wm" / "run.json").write_text(json.dumps({"sources": [source]}))
    decoder = ImageDecoderConfig(tokens=tokens, channels=(4, 4, 4, 4), blocks=1)
    save(decoder, root / "image-decoder")
    policy = small_policy(cameras=(Camera(name=CAMERA, height=SIDE, width=SIDE),), action=("dx", "dy"), fps=10.0)
    for name, options in {
        "pictures": {},
        "bc": {"extras": Extras(tokens=tokens)},
        "drawn": {"extras": Extras(tokens=tokens, decoder=decoder)},
        "state": {"state": ("x", "y")},
    }.items():
        save(replace(policy, **options), root / name)
    return root


def request(parts, out, **options):
    recordings = {"data": parts / "data", "cache": parts / "cache"}
    asked = {"policy": parts / "bc", "world_models": (parts / "dino-wm",), "recordings": recordings, "config": SMALL}
    return PPORequest(out=out, **(asked | options))


def weights(run):
    return safetensors.torch.load_file(run / "model.safetensors")


def alike(run, other):
    mine, theirs = weights(run), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.fixture(scope="module")
def whole(parts):
    out = parts / "whole"
    run_ppo(request(parts, out), progress_bar)
    return out


@pytest.mark.parametrize("policy", ["pictures", "drawn"])
def test_from_the_command_line_to_a_policy_that_acts(parts, tmp_path, capsys, policy):
    out = tmp_path / "ppo"
    words = ["--policy", str(parts / policy), "--world-model", str(parts / "dino-wm"), "--data", str(parts / "data")]
    small = [
        "--envs",
        "4",
        "--steps",
        "2",
        "--minibatch",
        "8",
        "--epochs",
        "1",
        "--rollouts",
        "2",
        "--rank",
        "0",
        "--judge-episodes",
        "2",
        "--samples",
        "2",
        "--stop-spread",
        "9",
    ]
    main(["train", "ppo", *words, "--out", str(out), "--cache", str(parts / "cache"), "--env", "ring", *small])
    assert "demonstrations, 0 too short; a chunk's reward is" in capsys.readouterr().out
    main(["act", str(out), "--env", "ring", "--episodes", "2", "--out", str(tmp_path / "acted.json")])
    told = json.loads((tmp_path / "acted.json").read_text())
    assert next(row for row in told["rows"] if row["metric"] == "success")["n"] == 2
    log = read_log(out)
    assert [line["step"] for line in log] == [0, 1, 2]
    names = {"reward", "kl", "entropy", "clipped", "explained_variance", "success", "spread", "unsure", "gradient_norm"}
    assert names <= log[-1].keys()
    assert json.loads((out / "judged.json").read_text()).keys() == {"0", "2"}
    assert sorted(path.name for path in (out / "snapshots").iterdir()) == ["step-00000000", "step-00000002"]


def test_the_first_snapshot_acts_as_the_policy_that_was_begun_with_and_the_last_does_not(parts, whole):
    frame = {"observation.images.top": np.random.default_rng(0).integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)}
    cloned, first, last, kept = (
        load(run).act(frame) for run in (parts / "bc", *sorted((whole / "snapshots").iterdir())[::2], whole)
    )
    np.testing.assert_array_equal(cloned, first)
    assert not np.array_equal(cloned, last)
    np.testing.assert_array_equal(last, kept)


def test_killed_anywhere_it_ends_with_the_same_weights_to_the_bit(parts, whole, tmp_path):
    def dies(at):
        own = learner.Learner._rollout

        def rollout(self):
            if self.rollouts == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return own(self)

        learner.Learner._rollout = rollout
        run_ppo(request(parts, tmp_path), progress_bar)

    for at in (1, 2):
        child = get_context("fork").Process(target=dies, args=(at,))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    run_ppo(request(parts, tmp_path), progress_bar)
    assert alike(whole, tmp_path)
    assert read_log(whole) == read_log(tmp_path)


def test_ctrl_c_saves_where_it_is_and_a_finished_run_is_left_as_it_is(parts, whole, tmp_path, monkeypatch):
    own = learner.collect

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return own(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(learner, "collect", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_ppo(request(parts, tmp_path), progress_bar)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]
    for _ in range(2):
        run_ppo(request(parts, tmp_path), progress_bar)
        assert alike(whole, tmp_path)
    with pytest.raises(ForeactError, match=r"other settings \(ppo.gamma: 0.9 -> 0.5\)"):
        run_ppo(request(parts, tmp_path, config=replace(SMALL, gamma=0.5)), progress_bar)
    run_ppo(request(parts, tmp_path, config=replace(SMALL, rollouts=4)), progress_bar)
    assert read_log(tmp_path)[-1]["step"] == 16


@pytest.mark.parametrize(("successes", "kept"), [((0.5, 0.4, 0.5), 0), ((0.5, 0.6, 0.4), 8), ((0.1, 0.2, 0.3), 12)])
def test_the_best_is_kept_which_may_be_the_first(parts, tmp_path, successes, kept):
    told = iter(successes)
    said = run_ppo(request(parts, tmp_path, judge=lambda folder: next(told), keep_best=True), progress_bar)
    assert alike(tmp_path, tmp_path / f"snapshots/step-{kept:08d}")
    assert ("begun with" if kept == 0 else f"after {kept} updates") in said


def test_a_loss_that_is_no_number_stops_it_and_says_where(parts, tmp_path, monkeypatch):
    own = learner.collect

    def broken(*arguments):
        rollout = own(*arguments)
        return replace(rollout, rewards=rollout.rewards * float("nan"))

    run_ppo(request(parts, tmp_path, config=replace(SMALL, rollouts=2)), progress_bar)
    monkeypatch.setattr(learner, "collect", broken)
    with pytest.raises(DivergedError, match=r"the loss is nan after 8 updates .* smaller --learning-rate"):
        run_ppo(request(parts, tmp_path), progress_bar)


def still(step):
    return np.zeros(len(step.which))


def nothing(step):
    return np.full(len(step.which), np.nan)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"policy": "state"}, "looks at the robot's state, and a dream has none: train it with --no-state"),
        ({"policy": "dino-wm"}, "dino-wm holds no policy of foreact train bc or wam"),
        ({"policy": "whole"}, "trained by reinforcement already"),
        ({"world_models": ("bc",)}, "bc holds a bc, not a world model"),
        ({"world_models": ()}, "name what is dreamt in with --world-model"),
        ({"reward": "tests.imagination.test_train_ppo:still"}, "the reward is 0 for every chunk of the first rollout"),
        ({"reward": "tests.imagination.test_train_ppo:nothing"}, "the reward is nan for frame"),
        ({"reward": "nice"}, "no reward 'nice': choose one of video-aligned, video-end, goal, success"),
        ({"reward": "goal:nowhere.png"}, "nowhere.png is no picture of a goal"),
        ({"keep_best": True}, "name it with --env"),
    ],
)  # fmt: skip
def test_bad_input_is_one_error(parts, whole, tmp_path, options, said):
    options = dict(options)
    if "policy" in options:
        options["policy"] = parts / options["policy"]
    if "world_models" in options:
        options["world_models"] = tuple(parts / run for run in options["world_models"])
    with pytest.raises(ForeactError, match=said):
        run_ppo(request(parts, tmp_path / "run", **options), progress_bar)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def changed(run: Path, to: Path, change) -> Path:
    """A copy of a run whose config, and what it says of its recordings, are changed."""
    to.mkdir()
    for path in run.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
    for name in ("config.json", "run.json"):
        if not (to / name).exists():
            continue
        told = json.loads((to / name).read_text())
        change(told)
        (to / name).write_text(json.dumps(told))
    return to


def set_fps(told):
    if "config" in told:
        told["config"]["fps"] = 5.0


def set_actions(told):
    if "config" in told:
        told["config"]["action"] = ["x", "y"]


def set_camera(told):
    if "config" in told:
        told["config"]["cameras"] = [{**told["config"]["cameras"][0], "name": "observation.images.side"}]


def set_source(name, value):
    def change(told):
        if "sources" in told:
            told["sources"][0][name] = value

    return change


@pytest.mark.parametrize(
    ("which", "change", "said"),
    [
        ("policy", set_fps, "acts at 5 actions per second, the recordings are at 10"),
        ("policy", set_camera, "no camera|looks at observation.images.side"),
        ("policy", set_actions, r"has the actions \(x, y\), .* \(dx, dy\)"),
        ("world", set_source("fps", 20.0), "the world model's recordings are at 20: all must have one rate"),
        ("world", set_source("camera", "observation.images.side"), "world model's recordings show observation.images.side alone"),
    ],
)  # fmt: skip
def test_another_rate_camera_or_action_is_refused(parts, tmp_path, which, change, said):
    run = parts / ("bc" if which == "policy" else "dino-wm")
    made = changed(run, tmp_path / "changed", change)
    options = {"policy": made} if which == "policy" else {"world_models": (made,)}
    with pytest.raises(ForeactError, match=said):
        run_ppo(request(parts, tmp_path / "run", **options), progress_bar)


def test_a_dream_without_image_decoder_shows_a_policy_no_pictures(parts, tmp_path):
    lonely = changed(parts / "dino-wm", tmp_path / "dino-wm", lambda told: None)
    with pytest.raises(ForeactError, match="no image decoder and shows no pictures"):
        run_ppo(request(parts, tmp_path / "run", policy=parts / "pictures", world_models=(lonely,)), progress_bar)
