"""Driving: moments that can be gone back to, and the page's server, asked as a browser asks it."""

from __future__ import annotations

import http.client
import json
import threading

import numpy as np
import pytest

from foreact.core.errors import ForeactError
from foreact.data.lerobot import LeRobotDataset
from foreact.dreams.dream import Dream
from foreact.envs.registry import make_env
from foreact.planning.bounds import Bounds
from foreact.serving.driving import moments
from foreact.serving.driving.moments import Drive
from foreact.serving.driving.opening import open_drive
from foreact.serving.driving.server import serve
from tests.planning.toy_dream import Colours, Toy
from tests.ring_world import SIDE, STATE, demonstrate

BOUNDS = Bounds(np.full(2, -2.0), np.full(2, 2.0), np.zeros(2))


class Plain:
    """Draws the mean of the tokens as one colour."""

    def decode(self, tokens):
        return (tokens.mean(dim=1) / 255)[:, None, None].expand(-1, 8, 8, 3)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return LeRobotDataset(demonstrate(tmp_path_factory.mktemp("drive") / "data", 3, ring=True))


def drive(data, slip=0.0, world=None, **options):
    return Drive(Dream(Toy(slip), Colours(), Plain()), data, (0, 1), BOUNDS, world=world, **options)


@pytest.fixture
def ring_world(ring):
    return make_env("ring", image_size=SIDE).world


def red(made, seen):
    return float(made.moment(seen.number).now.tokens[0, :, 0].mean())


def test_an_action_leads_on_and_a_moment_stays_as_it_was(data):
    made = drive(data)
    first = made.start(0, 2, seed=0)
    one = made.step(first.number, np.array([2.0, 0.0]))
    other = made.step(first.number, np.array([-2.0, 0.0]))
    again = made.step(first.number, np.array([9.0, 0.0]))  # drawn into its bounds
    assert red(made, one) - red(made, first) == pytest.approx(2)
    assert red(made, other) - red(made, first) == pytest.approx(-2)
    np.testing.assert_array_equal(again.futures, one.futures)
    assert len(made.way(one.number)) == 2


def test_a_chunk_is_imagined_from_its_first_moment(data):
    """Its pictures come from 1, 2, 3 actions after the same tokens; then the start moves."""
    made = drive(data, chunk=3)
    seen = made.start(0, 0, seed=0)
    chunks = []
    for _ in range(5):
        seen = made.step(seen.number, np.array([0.5, 0.0]))
        moment = made.moment(seen.number)
        chunks.append((len(moment.chunk), moment.begun.chunks, moment.now.chunks))
    assert chunks == [(1, 0, 1), (2, 0, 1), (3, 0, 1), (1, 1, 2), (2, 1, 2)]


def test_futures_differ_by_the_noise_and_show_where(data):
    made = drive(data, slip=3.0, futures=3)
    first = made.start(0, 0, seed=0)
    assert (first.unsure == 0).all()
    loud, calm = (made.step(first.number, np.array([2.0, 0.0]), noise=noise) for noise in (1.0, 0.0))
    assert (loud.unsure > 0).all()
    assert (calm.unsure == 0).all()
    assert len(loud.futures) == 3
    assert not np.array_equal(loud.futures[0], loud.futures[1])
    np.testing.assert_array_equal(calm.futures[0], calm.futures[1])


def test_the_simulator_takes_the_same_actions_and_goes_back_too(data, ring_world):
    made = drive(data, world=ring_world)
    first = made.start(1, 3, seed=0)
    recorded = data.column(STATE, 1)
    np.testing.assert_allclose(made.moment(first.number).real[STATE], recorded[3], atol=1e-3)
    far = made.step(made.step(first.number, np.array([2.0, 2.0])).number, np.array([2.0, 2.0]))
    near = made.step(first.number, data.actions(1)[3])
    np.testing.assert_allclose(made.moment(near.number).real[STATE], recorded[4], atol=1e-3)
    assert not np.array_equal(far.real, near.real)


def test_the_oldest_moments_are_forgotten(data, monkeypatch):
    monkeypatch.setattr(moments, "KEPT", 3)
    made = drive(data)
    first = seen = made.start(0, 0, seed=0)
    for _ in range(4):
        seen = made.step(seen.number, np.zeros(2))
    assert len(made.way(seen.number)) == 3
    with pytest.raises(ForeactError, match="moment 1 is forgotten"):
        made.step(first.number, np.zeros(2))


def test_a_run_without_image_decoder_cannot_be_driven(data):
    with pytest.raises(ForeactError, match="has no image decoder to draw what it imagines"):
        Drive(Dream(Toy(), Colours()), data, (0,), BOUNDS)


@pytest.mark.usefixtures("ring")
def test_a_run_is_driven_by_its_folder(place):
    run, asked = str(place[0] / "runs" / "rla-wm"), {"data": None, "options": {}, "chunk": 5, "futures": 2}
    made = open_drive(run, env=None, **asked)
    seen = made.step(made.start(made.episodes[0], 0, seed=0).number, made.bounds.middle)
    assert len(seen.futures) == 2
    assert seen.real is None
    with pytest.raises(ForeactError, match="environments draw square ones"):
        open_drive(run, env="ring", **asked)
    with pytest.raises(ForeactError, match="holds a rla, not a world model"):
        open_drive(str(place[0] / "runs" / "rla"), env=None, **asked)


@pytest.fixture
def line(data):
    """Asks a running server: (method, path, words) -> (status, headers, body)."""
    with serve(drive(data), 0, "toy") as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

        def ask(method, path, words=None, **headers):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
            body = words if words is None or isinstance(words, bytes) else json.dumps(words)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

        ask.port = server.server_port
        yield ask
        server.shutdown()


def test_a_browser_gets_the_page_drives_and_takes_a_film_home(line):
    for path, kind in (("/", "text/html"), ("/drive.js", "text/javascript"), ("/drive.css", "text/css")):
        status, headers, body = line("GET", path)
        assert (status, len(body) > 500) == (200, True)
        assert headers["Content-Type"].startswith(kind)
        assert "default-src 'self'" in headers["Content-Security-Policy"]
    about = json.loads(line("GET", "/about")[2])
    assert [action["name"] for action in about["actions"]] == ["dx", "dy"]
    assert [episode["number"] for episode in about["episodes"]] == [0, 1]
    first = json.loads(line("POST", "/start", {"episode": 0, "frame": 0, "seed": 0})[2])
    last = json.loads(line("POST", "/step", {"moment": first["moment"], "actions": [[1, 0]] * 4})[2])
    assert last["moment"] == first["moment"] + 4
    assert last["futures"][0].startswith("data:image/png;base64,")
    status, headers, body = line("POST", "/film", {"moment": last["moment"]})
    assert (status, headers["Content-Type"], body[4:8]) == (200, "video/mp4", b"ftyp")


@pytest.mark.parametrize(
    ("path", "words", "message"),
    [
        ("/start", {"episode": 0, "frame": 999, "seed": 0}, "frames, not one of the number 999"),
        ("/start", {"episode": 77, "frame": 0, "seed": 0}, "has no episode 77"),
        ("/start", {"episode": 0, "frame": -1, "seed": 0}, "frame must be a whole number, not -1"),
        ("/step", {"moment": 5000, "actions": [[0, 0]]}, "moment 5000 is forgotten"),
        ("/step", {"moment": 1, "actions": []}, "actions are a list of 1 to"),
        ("/step", {"moment": 1, "actions": ["left"]}, "an action is a list of numbers"),
        ("/film", b"{", "the request is no JSON"),
        ("/film", [1], "the request is no JSON object"),
        ("/elsewhere", {}, "nothing is at /elsewhere"),
    ],
)
def test_the_page_is_told_what_is_wrong(line, path, words, message):
    status, _, body = line("POST", path, words)
    assert status == 400
    assert message in json.loads(body)["error"]


def test_an_action_of_another_width_is_told(line):
    line("POST", "/start", {"episode": 0, "frame": 0, "seed": 0})
    status, _, body = line("POST", "/step", {"moment": 1, "actions": [[1, 2, 3]]})
    assert (status, "2 finite numbers" in json.loads(body)["error"]) == (400, True)


@pytest.mark.parametrize("headers", [{"Host": "elsewhere.example:80"}, {"Origin": "http://elsewhere.example:80"}])
def test_pages_of_elsewhere_are_kept_out(line, headers):
    status, _, body = line("POST", "/start", {"episode": 0, "frame": 0, "seed": 0}, **headers)
    assert (status, b"this machine alone" in body) == (403, True)


def test_a_port_that_is_taken_is_named(data, line):
    with pytest.raises(ForeactError, match=f"cannot listen at port {line.port} .*choose another one with --port"):
        serve(drive(data), line.port, "toy")
