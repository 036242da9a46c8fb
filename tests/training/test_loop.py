"""The training loop at the edges: kills, interrupts, resumes, changed settings, several processes, full disks."""

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from accelerate.utils import DistributedType

from foreact.core.errors import ForeactError
from foreact.training import checkpoint, loop
from foreact.training.journal import read_log
from foreact.training.loop import learning_rate, train

sys.path.insert(0, str(Path(__file__).parent))
import toy

SCRIPT = [sys.executable, str(Path(toy.__file__))]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def weights(run):
    return safetensors.torch.load_file(run / "model.safetensors")


@pytest.fixture(scope="module")
def server():
    """A process that trains the toy in any folder, in processes that can be killed."""
    with subprocess.Popen(
        SCRIPT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=ENVIRONMENT
    ) as process:
        yield process
        process.stdin.close()


def run_until(server, run, step=10**6, number=signal.SIGKILL, *, processes=1):
    """Train in `run` and send a signal at a step: the exit status, negative where a signal ended it."""
    server.stdin.write(f"{run}\t{processes}\n")
    pid, sent = None, False
    for line in server.stdout:
        word, _, value = line.partition(" ")
        if word == "ended":
            return int(value)
        if word == "pid":
            pid = int(value)
        elif int(word) >= step and not sent:
            os.kill(pid, number)
            sent = True
    raise AssertionError("the server is gone")


@pytest.fixture(scope="module")
def uninterrupted(server, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole")
    assert run_until(server, run) == 0
    return run


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_at_several_random_steps_it_ends_with_the_same_weights_bit_for_bit(
    server, uninterrupted, tmp_path, kills
):
    for step in sorted(np.random.default_rng(0).integers(3, 58, size=kills)):
        assert run_until(server, tmp_path, step) == -signal.SIGKILL
    assert run_until(server, tmp_path) == 0
    expected, resumed = weights(uninterrupted), weights(tmp_path)
    assert all(torch.equal(expected[k], resumed[k]) for k in expected)
    log, whole = read_log(tmp_path), read_log(uninterrupted)
    assert [(line["step"], line["loss"]) for line in log] == [(line["step"], line["loss"]) for line in whole]


def test_ctrl_c_saves_the_step_it_is_at_and_goes_on_from_there(server, uninterrupted, tmp_path):
    assert run_until(server, tmp_path, 17, signal.SIGINT) > 0
    saved = json.loads(next(tmp_path.glob("checkpoints/step-*/state.json")).read_text())
    assert saved["step"] >= 17
    assert run_until(server, tmp_path) == 0
    expected, resumed = weights(uninterrupted), weights(tmp_path)
    assert all(torch.equal(expected[k], resumed[k]) for k in expected)


def test_two_processes_follow_one_with_twice_the_batch(server, uninterrupted, tmp_path):
    assert run_until(server, tmp_path, processes=2) == 0
    one = [line["loss"] for line in read_log(uninterrupted)]
    two = [line["loss"] for line in read_log(tmp_path)]
    np.testing.assert_allclose(two, one, rtol=1e-4)
    assert len(one) == 60


def test_a_finished_run_is_left_as_it_is(tmp_path):
    train(toy.toy_task(tmp_path), toy.CONFIG, tmp_path)
    before = weights(tmp_path)
    assert train(toy.toy_task(tmp_path), toy.CONFIG, tmp_path) == {}
    assert all(torch.equal(before[k], weights(tmp_path)[k]) for k in before)


def test_more_steps_prolong_a_run_with_a_constant_schedule_and_other_settings_are_refused(tmp_path):
    train(toy.toy_task(tmp_path), replace(toy.CONFIG, steps=10), tmp_path)
    train(toy.toy_task(tmp_path), replace(toy.CONFIG, steps=14), tmp_path)
    assert [line["step"] for line in read_log(tmp_path)] == list(range(1, 15))
    with pytest.raises(ForeactError, match=r"other settings \(train.learning_rate: 0.01 -> 0.5\)"):
        train(toy.toy_task(tmp_path), replace(toy.CONFIG, learning_rate=0.5), tmp_path)


def test_an_unreadable_checkpoint_is_named(tmp_path):
    train(toy.toy_task(tmp_path), replace(toy.CONFIG, steps=7), tmp_path)
    state = next(tmp_path.glob("checkpoints/step-*/state.safetensors"))
    state.write_bytes(state.read_bytes()[:50])
    with pytest.raises(ForeactError, match=r"step-00000007 is not a readable checkpoint"):
        train(toy.toy_task(tmp_path), toy.CONFIG, tmp_path)


@pytest.mark.parametrize(
    "content", [b"[]", b"[" * 100_000, b'{"step": 7, "about": 5}', b'{"step": "x", "about": {}}', b"\xff\xfe"]
)
def test_a_checkpoint_that_describes_nothing_is_named(content, tmp_path):
    train(toy.toy_task(tmp_path), replace(toy.CONFIG, steps=7), tmp_path)
    next(tmp_path.glob("checkpoints/step-*/state.json")).write_bytes(content)
    with pytest.raises(ForeactError, match=r"step-00000007 is not a readable checkpoint \(.*\); delete it"):
        train(toy.toy_task(tmp_path), toy.CONFIG, tmp_path)


def test_a_flipped_bit_of_a_checkpoint_is_found(tmp_path):
    train(toy.toy_task(tmp_path), replace(toy.CONFIG, steps=7), tmp_path)
    state = next(tmp_path.glob("checkpoints/step-*/state.safetensors"))
    content = bytearray(state.read_bytes())
    content[-9] ^= 4
    state.write_bytes(content)
    with pytest.raises(ForeactError, match=r"state\.safetensors is damaged"):
        train(toy.toy_task(tmp_path), toy.CONFIG, tmp_path)


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[" * 100_000, b"[]", b"{}", b'{"step": "x"}', b'{"step": 3'])
def test_what_is_no_line_of_a_log_is_left_out(line, tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 1, "gradient_norm": Infinity}\n' + line + b'\n{"step": 4}\n')
    assert [said["step"] for said in read_log(tmp_path)] == [1, 4]


def test_any_seed_trains(tmp_path):
    """NumPy takes seeds below 2^32 alone."""
    last = train(toy.toy_task(tmp_path), replace(toy.CONFIG, steps=1, seed=2**31 - 1), tmp_path)
    assert np.isfinite(last["loss"])
    assert (tmp_path / "model.safetensors").exists()


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path, monkeypatch):
    train(toy.toy_task(tmp_path), replace(toy.CONFIG, steps=7), tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.Path, "replace", full)
    with pytest.raises(ForeactError, match="No space left on device; earlier ones are intact"):
        train(toy.toy_task(tmp_path), replace(toy.CONFIG, steps=14), tmp_path)
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000007"]
    train(toy.toy_task(tmp_path), replace(toy.CONFIG, steps=14), tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    task = replace(toy.toy_task(tmp_path), loss=lambda m, b, g: {"loss": m.loss(b, g)["loss"] * float("inf")})
    with pytest.raises(ForeactError, match="the loss is inf at step 1"):
        train(task, toy.CONFIG, tmp_path)


def test_an_error_while_making_batches_reaches_the_caller(tmp_path):
    def broken(step, rank, processes):
        if step == 3:
            raise ForeactError("episode 5 cannot be read")
        return toy.batches(step, rank, processes)

    with pytest.raises(ForeactError, match="episode 5"):
        train(replace(toy.toy_task(tmp_path), batches=broken), toy.CONFIG, tmp_path)


def test_what_is_exported_is_the_moving_average(tmp_path):
    task = toy.toy_task(tmp_path)
    seen = []
    original = task.after_step
    assert original is None
    task = replace(task, after_step=lambda step, steps: seen.append(task.model.layer.weight.detach().clone()))
    train(task, replace(toy.CONFIG, steps=3, ema=0.999), tmp_path)
    torch.manual_seed(0)
    average = toy.Toy().layer.weight.detach()
    for step, weight in enumerate(seen, start=1):
        decay = (1 + step) / (10 + step)
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(weights(tmp_path)["layer.weight"], average)


def test_learning_rate_warms_up_and_decays():
    config = replace(toy.CONFIG, steps=105, warmup=5, schedule="cosine", learning_rate=1.0)
    rates = [learning_rate(config, s) for s in range(105)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_allclose(rates[55], 0.5, atol=1e-6)
    assert rates[104] < 1e-3
    assert learning_rate(replace(config, schedule="constant"), 90) == 1.0


def test_log_has_rates(uninterrupted):
    line = read_log(uninterrupted)[-1]
    assert line["samples_per_second"] > 0
    assert 0 <= line["data_wait"] <= 1
    assert 0 < line["utilisation"] < 1
    assert any((uninterrupted / "tensorboard").iterdir())
    assert loop.TrainConfig(steps=1, batch_size=1).clip == 1.0


def test_held_out_losses_are_those_of_the_averaged_weights_and_leave_training_alone(uninterrupted, tmp_path):
    task = replace(toy.toy_task(tmp_path), held_out=lambda k, rank, world: toy.batches(10**6 + k, rank, world))
    modes = []
    watched = replace(task, loss=lambda m, b, g: modes.append(m.training) or m.loss(b, g))
    train(watched, toy.CONFIG, tmp_path)
    expected, trained = weights(uninterrupted), weights(tmp_path)
    assert all(torch.equal(expected[k], trained[k]) for k in expected)
    log = read_log(tmp_path)
    assert [line["step"] for line in log if "held_out_loss" in line] == [*range(7, 60, 7), 60]
    model = toy.Toy()
    model.load_state_dict(trained)
    with torch.no_grad():
        losses = [
            model.loss(toy.batches(10**6 + k, 0, 1), torch.Generator().manual_seed(k))["loss"].item()
            for k in range(modes.count(False) // 9)
        ]
    assert log[-1]["held_out_loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_sharded_launches_are_refused_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(loop.Accelerator, "distributed_type", property(lambda self: DistributedType.FSDP))
    with pytest.raises(ForeactError, match="FSDP is not supported"):
        train(toy.toy_task(tmp_path), loop.TrainConfig(steps=1, batch_size=2), tmp_path)
