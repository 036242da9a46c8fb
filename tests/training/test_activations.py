"""Activation checkpointing changes memory and nothing else."""

import copy

import pytest
import torch

from foreact.core.machine import peak_memory
from foreact.nn.token_network import TokenNetwork
from foreact.training.activations import checkpoint_activations

CPU = torch.device("cpu")


@pytest.mark.parametrize("modulated", [False, True])
def test_gradients_are_the_same_bits_and_the_peak_is_lower(modulated):
    torch.manual_seed(0)
    plain = TokenNetwork(
        (16, 16), 7, (3, 2), dim=64, heads=4, depth=6, position_scale=1.0, spread_actions=False, modulated=modulated
    )
    for parameter in plain.parameters():
        if parameter.abs().sum() == 0:
            torch.nn.init.normal_(parameter, std=0.1)
    lean = copy.deepcopy(plain)
    assert checkpoint_activations(lean) == 6
    assert list(lean.state_dict()) == list(plain.state_dict())
    tokens, actions, mask = torch.randn(8, 256, 7), torch.randn(8, 3, 2), torch.ones(8, 3, dtype=torch.bool)
    vector = torch.randn(8, 64) if modulated else None

    def step(model):
        with torch.autocast("cpu", torch.bfloat16):
            model(tokens, actions, mask, vector).float().pow(2).mean().backward()

    peaks = [peak_memory(lambda model=model: step(model), CPU) for model in (plain, lean)]
    for (name, expected), (_, found) in zip(plain.named_parameters(), lean.named_parameters(), strict=True):
        assert torch.equal(expected.grad, found.grad), name
    assert peaks[1] < 0.5 * peaks[0]


def test_a_copy_of_a_lean_model_is_another_model():
    lean = TokenNetwork((2, 2), 3, (3, 2), dim=8, heads=2, depth=1, position_scale=1.0, spread_actions=False)
    checkpoint_activations(lean)
    other = copy.deepcopy(lean)
    inputs = torch.randn(1, 4, 3), torch.randn(1, 3, 2), torch.ones(1, 3, dtype=torch.bool)
    before = other(*inputs)
    with torch.no_grad():
        lean.blocks[0].attention.qkv.weight.zero_()
    torch.testing.assert_close(other(*inputs), before)


def test_the_peak_is_what_a_call_takes_beyond_what_was_there():
    def two_at_once():
        first = torch.ones(16 * 2**20)  # 64 MiB
        return first + 1

    assert peak_memory(two_at_once, CPU) == pytest.approx(128 * 2**20, rel=1e-3)
