"""What a robot relies on: answers to its last observation alone, lines that mend, chunks that join, no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
import time
from pathlib import Path

import foreact_client
import msgpack
import numpy as np
import pytest
from foreact_client import ChunkExecutor, Client, ClientError, LateError
from foreact_client.wire import WireError, pack, unpack
from websockets.sync.server import serve

from tests.serving.served import CONFIG, Slow, observe, served

STATE = "observation.state"
SOURCE = Path(foreact_client.__file__).parent


def asking(number: float) -> dict[str, object]:
    return {**observe(), STATE: [number, 0]}


def test_the_client_needs_no_torch_and_python_3_8():
    script = "import sys, foreact_client; print(*{name.partition('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "msgpack" in found
    assert not {"torch", "foreact", "gymnasium", "pyarrow"} & set(found)
    for path in SOURCE.glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("value", [
    np.arange(6, dtype=np.uint8).reshape(2, 3), np.zeros((0, 4), np.float32), np.float64(0.1), np.array(True),
    np.asfortranarray(np.arange(6).reshape(2, 3)), ["go", 3, None, 1.5], {"a": {"b": np.ones(2)}},
])  # fmt: skip
def test_what_is_packed_is_unpacked(value):
    again = unpack(pack({"x": value}))["x"]
    np.testing.assert_equal(again, value)
    if isinstance(value, np.ndarray):
        assert again.dtype == value.dtype


def test_arrays_are_written_as_openpi_writes_them():
    """Its names are bytes, its shapes lists, its dtypes NumPy's short words."""
    told = msgpack.unpackb(pack({"x": np.array([[1.0, 2.0]], np.float32)}))["x"]
    assert told == {
        b"__ndarray__": True,
        b"data": np.array([1, 2], "<f4").tobytes(),
        b"dtype": "<f4",
        b"shape": [1, 2],
    }


@pytest.mark.parametrize("value", [object(), np.array([object()]), np.array(["word"]), 2**70])
def test_what_cannot_be_sent_is_said(value):
    with pytest.raises(WireError):
        pack({"x": value})


def test_a_late_answer_never_answers_the_next_observation():
    policy = Slow(0.2)
    with served(policy) as url, Client(url) as client:
        with pytest.raises(LateError):
            client.act(asking(1), deadline=0.1)
        with pytest.raises(LateError):
            client.act(asking(2), deadline=0.0)
        assert client.act(asking(3))[0, 0] == 3
        assert client.act(asking(4))[0, 0] == 4


def test_refusals_count_as_answers():
    """An error has no number of its own: it answers in its turn."""
    with served(Slow(0.2)) as url, Client(url) as client:
        with pytest.raises(LateError):
            client.act({}, deadline=0.0)
        assert client.act(asking(3))[0, 0] == 3


def test_a_line_that_broke_is_mended_within_the_deadline():
    with served(Slow()) as url, Client(url, patience=5) as client:
        client.act(asking(1))
        client._line.socket.shutdown(2)
        assert client.act(asking(2))[0, 0] == 2
    with pytest.raises(ClientError, match="no policy server at"):
        Client(url, patience=0.0)
    with pytest.raises(ClientError, match="no address of a policy server"):
        Client("http://127.0.0.1")


def test_a_server_that_is_still_starting_is_waited_for():
    with served(Slow()) as url:
        pass
    port = int(url.rsplit(":", 1)[1])
    found = []
    waiting = threading.Thread(target=lambda: found.append(Client(url, patience=10).metadata))
    waiting.start()
    time.sleep(0.2)
    with serve(lambda line: line.send(pack({"late": True})), "127.0.0.1", port) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        waiting.join()
        server.shutdown()
        serving.join()
    assert found == [{"late": True}]


@pytest.mark.parametrize("answer", [pack({"x": 1}), b"\xc1", pack({"actions": np.zeros((1, 1)), "request": 77})])
def test_what_is_no_answer_is_no_action(answer):
    def talk(line):
        line.send(pack({}))
        for _ in line:
            line.send(answer)

    with serve(talk, "127.0.0.1", 0) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        client = Client(f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        with pytest.raises(ClientError):
            client.act(observe())
        client.close()
        server.shutdown()
        serving.join()


class Counting:
    """A chunk says which period it was asked in, and which of its actions each is: 100 period + k."""

    def __init__(self, seconds: float = 0.0, chunk: int = 6) -> None:
        self.asked, self.seconds, self.chunk = [], seconds, chunk

    def reset(self, seeds=None):
        self.asked = []

    def act(self, observation):
        self.asked.append(observation["now"])
        time.sleep(self.seconds)
        return 100.0 * observation["now"] + np.arange(self.chunk)[:, None]


def drive(executor, periods: int, pause: float = 0.0) -> list[float]:
    done = []
    for now in range(periods):
        done.append(float(executor.act({"now": now})[0]))
        time.sleep(pause)
    return done


def test_k_of_h_actions_are_executed():
    policy = Counting()
    assert drive(ChunkExecutor(policy, execute=3), 7) == [0, 1, 2, 300, 301, 302, 600]
    assert policy.asked == [0, 3, 6]
    policy = Counting()
    assert drive(ChunkExecutor(policy), 8) == [0, 1, 2, 3, 4, 5, 600, 601]


def test_with_ahead_the_robot_moves_on_and_leaves_out_what_has_passed():
    gate, policy = threading.Semaphore(1), Counting()

    class Gated(Counting):
        def act(self, observation):
            assert gate.acquire(timeout=10)
            return policy.act(observation)

    executor, done = ChunkExecutor(Gated(), execute=4, ahead=2), []
    for now in range(7):
        if now == 4:  # what was asked in period 2 comes
            gate.release()
            executor._asked[1].result()
        if now == 6:  # what was asked in period 4 comes
            gate.release()
            executor._asked[1].result()
        done.append(float(executor.act({"now": now})[0]))
    gate.release()
    executor.close()
    assert done == [0, 1, 2, 3, 202, 203, 402]
    assert policy.asked == [0, 2, 4, 6]


def test_blending_goes_over_evenly():
    class Levels(Counting):
        def act(self, observation):
            self.asked.append(observation["now"])
            return np.full((4, 1), float(len(self.asked) - 1))

    assert drive(ChunkExecutor(Levels(), execute=2, join="blend"), 5) == pytest.approx([0, 0, 1 / 3, 2 / 3, 4 / 3])
    assert drive(ChunkExecutor(Levels(), execute=2), 5) == [0, 0, 1, 1, 2]


def test_a_late_answer_lets_the_robot_go_on_with_what_is_left():
    class Late(Counting):
        def act(self, observation):
            if observation["now"] == 3:
                raise LateError("late")
            return super().act(observation)

    assert drive(ChunkExecutor(Late(), execute=3), 6) == [0, 1, 2, 3, 400, 401]
    with pytest.raises(LateError):
        drive(ChunkExecutor(Late(chunk=3), execute=3), 6)


def test_reset_forgets_the_chunk():
    executor = ChunkExecutor(Counting(), execute=3)
    drive(executor, 2)
    executor.reset([4])
    assert drive(executor, 2) == [0, 1]


@pytest.mark.parametrize("options", [{"execute": 2, "ahead": 2}, {"ahead": -1}, {"join": "mix"}, {"execute": 0}])
def test_numbers_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="execute must be larger"):
        ChunkExecutor(Counting(), **options)


def test_a_chunk_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match=r"gives \(6, 1\) for 7 actions"):
        drive(ChunkExecutor(Counting(), execute=7), 1)
    assert CONFIG.chunk == 5
