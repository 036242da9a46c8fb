"""`foreact serve` and `foreact act ws://...`, as they are typed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from foreact_client.wire import pack

from foreact.cli import main
from foreact.core.errors import ForeactError
from foreact.core.progress import progress_bar
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.evaluation.acting.act import ActRequest, act
from foreact.policies.bc import BCConfig, Camera
from foreact.policies.remote import RemotePolicy
from foreact.serving.requests import read_request
from foreact.serving.running import ServeRequest, make_server
from tests.ring_world import CAMERA, SIDE
from tests.serving.served import CONFIG, network, observe, served

SIZES = {
    name: getattr(CONFIG, name) for name in ("channels", "dim", "depth", "heads", "queries", "hidden", "image_size")
}
RING = BCConfig(
    cameras=(Camera(name=CAMERA, height=SIDE, width=SIDE),), action=("dx", "dy"), state=("x", "y"), fps=10.0, **SIZES
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "bc"
    RING.build().save_pretrained(folder)
    return folder


def test_a_remote_policy_is_the_local_one():
    local = network()
    with served(local) as url:
        remote = RemotePolicy(url, patience=0.0)
        remote.reset([3])
        np.testing.assert_array_equal(remote.act(observe()), local.act(observe()))
        assert remote.config.cameras == CONFIG.cameras
        assert (remote.config.state, remote.config.action, remote.execute) == (
            CONFIG.state,
            CONFIG.action,
            CONFIG.execute,
        )
        with pytest.raises(ForeactError, match="lacks observation"):
            remote.act({})
        remote.close()
    with pytest.raises(ForeactError, match="no policy server at"):
        remote.act(observe())


@pytest.mark.usefixtures("ring")
def test_a_served_run_acts_as_the_run_itself(run, tmp_path):
    command = [sys.executable, "-m", "foreact", "serve", str(run), "--port", "0"]
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )
    try:
        (url,) = re.findall(r"ws://[\d.:]+", server.stdout.readline())
        asked = {"env": "ring", "episodes": 4, "image_size": None}
        local, remote = (act(ActRequest(policy=who, **asked), None, progress_bar) for who in (str(run), url))
        assert {e.metric: e.values for e in local.episodes} == {e.metric: e.values for e in remote.episodes}
        out = tmp_path / "results.json"
        main(["act", url, "--env", "ring", "--episodes", "3", "--out", str(out)])
        assert json.loads(out.read_text())["rows"][0]["policy"] == url
        with pytest.raises(ForeactError, match="acts at 10 actions per second, the environment at 20"):
            act(ActRequest(policy=url, env="ring", options={"fps": 20.0}), None, progress_bar)
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
        assert server.stderr.read() == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "nowhere"}, "nowhere holds no model"),
        ({"host": "0.0.0.0"}, "FOREACT_TOKEN"),
        ({"rename": ("a",)}, r"--rename a: write THEIRS=OURS, where OURS is one of observation.images.top"),
        ({"rename": ("a=observation.images.side",)}, "where OURS is one of"),
        ({"rate": 0.0}, "--rate must be positive"),
        ({"port": 70000}, "--port between"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_said(run, options, message):
    with pytest.raises(ForeactError, match=message):
        make_server(ServeRequest(**{"policy": str(run)} | options))


def test_a_model_that_is_no_policy_is_not_served(tmp_path):
    TinyEncoderConfig(stem=(4, 4, 4), dim=8, depth=1, heads=2).build().save_pretrained(tmp_path)
    with pytest.raises(ForeactError, match=r"holds a .*, not a policy"):
        make_server(ServeRequest(policy=str(tmp_path)))


def test_robots_may_have_names_of_their_own(run):
    asked = ServeRequest(policy=str(run), rename=(f"observation/image={CAMERA}", "state=observation.state"))
    server = make_server(asked)
    picture, state = np.zeros((SIDE, SIDE, 3), np.uint8), np.ones(2, np.float32)
    message = pack({"observation/image": picture, "state": state, "prompt": "go"})
    request = read_request(message, server.spec, number=1, seeds=None, rename=server.rename)
    assert set(request.observation) == {CAMERA, "observation.state", "task"}
    assert request.observation["task"] == "go"


def test_an_export_says_what_it_needs(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "lerobot_policy_foreact", None)
    with pytest.raises(SystemExit):
        main(["export", str(run), "--to", "lerobot", "--out", str(tmp_path / "out")])
    assert "run this where it and packages/lerobot_policy_foreact are installed" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["export", str(run), "--out", str(run)])
    assert "is not empty" in capsys.readouterr().err
