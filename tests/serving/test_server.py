"""Policies over the wire: the same actions to the bit, and whoever sends nonsense disturbs nobody else."""

from __future__ import annotations

import http.client
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgpack
import numpy as np
import pytest
from foreact_client import Client, ClientError, RefusedError
from foreact_client.wire import pack, unpack
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from foreact.core.errors import ForeactError
from foreact.serving.door import Door
from foreact.serving.server import Limits
from tests.serving.served import CONFIG, TOP, WRIST, Slow, listen_once, network, observe, served

STATE = "observation.state"
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SECRET = "a secret of the house"


@pytest.fixture(scope="module")
def policy():
    return network()


@pytest.fixture(scope="module")
def url(policy):
    with served(policy) as address:
        yield address


def web(url: str, path: str = "/", **headers: str):
    return urlopen(Request(url.replace("ws", "http", 1) + path, headers=headers), timeout=10)


def test_a_served_action_is_the_local_one_to_the_bit(policy, url):
    with Client(url) as client:
        for seed in range(3):
            np.testing.assert_array_equal(client.act(observe(seed)), policy.act(observe(seed)))
        rows = [observe(seed) for seed in range(4)]
        together = {name: np.stack([row[name] for row in rows]) for name in (TOP, WRIST, STATE)}
        np.testing.assert_array_equal(client.act(together), policy.act(together))


def test_robots_share_batches_and_get_their_own_actions():
    policy = Slow(0.05)
    with served(policy) as url, ThreadPoolExecutor(12) as robots:

        def ask(number: int) -> np.ndarray:
            with Client(url) as client:
                return np.stack([client.act({**observe(), STATE: [number, k]}) for k in range(3)])

        for number, actions in enumerate(robots.map(ask, range(12))):
            np.testing.assert_array_equal(actions, np.full((3, CONFIG.chunk, 3), number))
    assert max(policy.batches) > 4
    assert sum(policy.batches) == 36


def test_in_a_batch_actions_are_close_to_the_local_ones(policy):
    gate = threading.Event()

    class Gated:
        memoryless = True

        def reset(self, seeds=None):
            pass

        def act(self, observation):
            gate.wait(10)
            return policy.act(observation)

    with served(Gated()) as url, ThreadPoolExecutor(8) as robots:
        clients = [Client(url) for _ in range(8)]
        answers = [robots.submit(client.act, observe(seed)) for seed, client in enumerate(clients)]
        time.sleep(0.3)
        gate.set()
        for seed, answer in enumerate(answers):
            np.testing.assert_allclose(answer.result(), policy.act(observe(seed)), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({STATE: None}, "lacks observation.state"),
        ({TOP: np.zeros((24, 24, 3), np.uint8)}, r"observation.images.top gives uint8 \(24, 24, 3\)"),
        ({TOP: np.zeros((24, 32, 3), np.float32)}, "gives float32"),
        ({STATE: np.zeros(7)}, r"observation.state has the shape \(7,\), this policy takes 2 numbers: p, q"),
        ({STATE: np.array([0.0, np.nan])}, "observation.state is not finite"),
        ({STATE: ["left", "right"]}, "observation.state"),
        ({STATE: [[0.0], [1.0, 2.0]]}, "observation.state is no array"),
        ({"task": 5}, "task is the task in words"),
        ({TOP: np.zeros((2, 24, 32, 3), np.uint8)}, WRIST),
        ({TOP: np.zeros((2, 24, 32, 3), np.uint8), WRIST: np.zeros((3, 16, 16, 3), np.uint8), STATE: np.zeros((2, 2))},
         "differ in number: observation.images.top 2, observation.images.wrist 3"),
        ({TOP: np.zeros((0, 24, 32, 3), np.uint8), WRIST: np.zeros((0, 16, 16, 3), np.uint8), STATE: np.zeros((0, 2))},
         "0 observations in one request"),
        ({"reset": "now"}, "reset a list of seeds"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_observation_is_said_and_the_line_stays_open(url, policy, change, message):
    wrong = {name: value for name, value in {**observe(), **change}.items() if value is not None}
    with Client(url) as client:
        with pytest.raises(RefusedError, match=message) as told:
            client.act(wrong)
        assert "\n" not in str(told.value)
        np.testing.assert_array_equal(client.act(observe()), policy.act(observe()))


@pytest.mark.parametrize(
    "message",
    [
        "words",
        b"\xc1",
        b"",
        pack([1, 2]),
        pack(observe())[:-5],
        msgpack.packb({TOP: {b"__ndarray__": True, b"data": b"12", b"dtype": "|O", b"shape": [1]}}),
        msgpack.packb({TOP: {b"__ndarray__": True, b"data": b"12", b"dtype": "<f4", b"shape": [2**40]}}),
        msgpack.packb({TOP: {b"__ndarray__": True}}),
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_malformed_messages_get_one_line(url, message):
    with connect(url) as line:
        line.recv()
        line.send(message)
        answer = line.recv()
        assert isinstance(answer, str)
        assert answer.startswith("request 1 of this line: ")
        assert "\n" not in answer
        line.send(pack(observe()))
        assert unpack(line.recv())["request"] == 2


def test_a_message_that_is_too_large_ends_its_line_alone(url):
    with Client(url) as other, Client(url) as client:
        large = {**observe(), TOP: np.zeros((500, 500, 3), np.uint8)}
        with pytest.raises(RefusedError, match=r"does not take an observation of \d+ bytes"):
            client.act(large)
        assert client.act(observe()).shape == other.act(observe()).shape == (CONFIG.chunk, 3)


def test_what_breaks_inside_is_not_shown_outside(caplog):
    with served(Slow()) as url, Client(url) as client:
        with pytest.raises(RefusedError, match="the policy failed") as told:
            client.act({**observe(), STATE: [13, 0]})
        assert "secret" not in str(told.value)
        assert "Traceback" not in str(told.value)
        assert client.act({**observe(), STATE: [12, 0]})[0, 0] == 12
    assert "a secret of the server" in caplog.text


def test_actions_that_are_not_finite_reach_no_robot():
    class Broken(Slow):
        def act(self, observation):
            return super().act(observation) * np.nan

    with (
        served(Broken()) as url,
        Client(url) as client,
        pytest.raises(RefusedError, match="not finite"),
    ):
        client.act(observe())


def test_a_hundred_robots_with_rude_ones_among_them(monkeypatch):
    """What malformed, oversized and vanishing ones do costs the others nothing; `benchmarks/serving_soak.py` is longer."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from serving_soak import be_rude

    def good(url: str, number: int) -> int:
        with Client(url, deadline=20) as client:
            answers = [client.act({**observe(), STATE: [1000 + number, k]}) for k in range(4)]
        return int((np.stack(answers) == 1000 + number).all())

    with served(Slow(0.002)) as url, ThreadPoolExecutor(100) as pool:
        told = [pool.submit(be_rude if number % 4 == 0 else good, url, number) for number in range(100)]
        assert sum(future.result() or 0 for future in told) == 75
        assert good(url, 7) == 1


def test_one_robot_at_a_time_where_the_policy_remembers():
    policy = Slow()
    policy.memoryless = False
    with served(policy) as url:
        with Client(url) as client:
            client.act(observe())
            assert policy.seeds == [0]
            client.reset([5])
            client.act(observe())
            assert policy.seeds == [5]
            with pytest.raises(ClientError, match="no more than 1 robots at a time"):
                Client(url, patience=0)
        assert Client(url).metadata["chunk"] == CONFIG.chunk


def test_who_asks_too_fast_waits():
    with served(Slow(), limits=Limits(rate=20.0)) as url, Client(url) as client:
        began = time.monotonic()
        for _ in range(6):
            client.act(observe())
        assert time.monotonic() - began > 0.24


def test_pings_do_not_end_slow_answers():
    with served(Slow(1.0)) as url, connect(url, ping_interval=0.1, ping_timeout=0.3) as line:
        line.recv()
        line.send(pack(observe()))
        assert "actions" in unpack(line.recv())


def test_other_machines_need_a_token():
    with pytest.raises(ForeactError, match="set the environment variable FOREACT_TOKEN"):
        Door(host="0.0.0.0")
    with pytest.raises(ForeactError, match="too short"):
        Door(token="short")
    with served(Slow(), door=Door(host="0.0.0.0", token=SECRET)) as url:
        for token in (None, "another secret of the house"):
            with pytest.raises(ClientError, match="asks for its token"):
                Client(url, token=token)
        with pytest.raises(HTTPError, match="401"):
            web(url)
        assert web(url, "/healthz").read() == b"OK\n"
        assert web(url, "/?token=" + SECRET.replace(" ", "%20")).status == 200
        with Client(url, token=SECRET) as client:
            assert client.act(observe()).shape == (CONFIG.chunk, 3)
        with connect(url, additional_headers={"Authorization": f"Api-Key {SECRET}"}) as line:
            assert unpack(line.recv())["kind"] == "bc"


def test_pages_of_a_browser_cannot_ask(url):
    with pytest.raises(InvalidStatus, match="403"):
        connect(url, origin="http://somewhere.example")
    with pytest.raises(HTTPError, match="403"):
        web(url, Host="somewhere.example")
    with pytest.raises(HTTPError, match="404"):
        web(url, "/other")


def test_a_taken_port_is_said(url):
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(ForeactError, match=f"cannot listen at 127.0.0.1, port {port}.*choose another --port"):
        listen_once(Slow(), port)


def test_the_page_shows_what_was_seen_and_done():
    with served(Slow()) as url:
        assert b"No robot has asked yet" in web(url).read()
        with Client(url) as client:
            client.act({**observe(), STATE: [3.25, 0], "task": "push <b>"})
            with pytest.raises(RefusedError):
                client.act({})
            page = web(url).read().decode()
    assert page.count("data:image/png") == 2
    assert page.count("<polyline") == 3
    assert "push &lt;b&gt;" in page
    assert "3.25" in page
    assert "lacks observation.images.top" in page
    assert re.search(r"requests answered</td><td>1<", page)
    assert not re.search(r"<script|<form|<button|<input", page)


def test_what_is_no_request_is_dropped(url):
    line = http.client.HTTPConnection(url.removeprefix("ws://"), timeout=10)
    line.request("POST", "/", body="x" * 10)
    with pytest.raises((http.client.HTTPException, OSError)):
        line.getresponse()
    assert web(url, "/healthz").status == 200
