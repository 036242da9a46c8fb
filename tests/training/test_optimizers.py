"""Optimisers: every parameter in one of them, state that comes back exactly."""

import pytest
import torch
from torch import nn

from foreact.core.cards import DataSpec
from foreact.core.presets import preset
from foreact.core.pretrained import meta_build
from foreact.core.registry import card
from foreact.core.token_spec import TokenSpec
from foreact.nn.attention import Block
from foreact.training.optimizers import build_optimizers, restore_by_name, state_by_name


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inputs = nn.Linear(3, 8)
        self.blocks = nn.ModuleList([Block(8, 2)])
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def forward(self, x):
        return self.blocks[0](self.inputs(x)).pow(2).mean()


def steps(net, optimizers, count):
    g = torch.Generator().manual_seed(0)
    for _ in range(count):
        net(torch.randn(4, 5, 3, generator=g)).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_trainable_parameter_is_in_exactly_one_optimiser(name):
    net = Net()
    owned = [
        p
        for o in build_optimizers(net, name, learning_rate=1e-3, weight_decay=0)
        for g in o.param_groups
        for p in g["params"]
    ]
    assert len(owned) == len({id(p) for p in owned})
    assert {id(p) for p in owned} == {id(p) for p in net.parameters() if p.requires_grad}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_parts_have_their_share_of_the_learning_rate(name):
    net = Net()
    first = next(n for n, _ in net.named_parameters()).partition(".")[0] + "."
    optimizers = build_optimizers(net, name, learning_rate=1e-3, weight_decay=0, rates={first: 0.3})
    shares = {id(p): g["share"] for o in optimizers for g in o.param_groups for p in g["params"]}
    for parameter, tensor in net.named_parameters():
        if tensor.requires_grad:
            assert shares[id(tensor)] == (0.3 if parameter.startswith(first) else 1.0)


TOKENS = TokenSpec(grid=(8, 8), channels=192, fingerprint="test@0", encoder="tiny", image_size=128)
WITH_CLASS = TokenSpec(grid=(1, 65), channels=192, fingerprint="test@0", encoder="cls+tiny", image_size=128)
FLAT = DataSpec(tokens=WITH_CLASS, action_dim=8, state_dim=9)
SQUARE = DataSpec(tokens=TOKENS, action_dim=8, state_dim=9)
TRANSFORMERS = {
    kind: card(kind).training().configure(preset("tiny"), FLAT if kind == "dino_cls" else SQUARE)
    for kind in ("rla", "univla", "adaworld", "lawm", "dino_cls", "rla_wm", "dino_wm", "fm_wm", "rae")
}


@pytest.mark.parametrize("config", TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_the_matrices_of_every_transformer_are_trained_by_muon(config):
    # left to AdamW at Muon's learning rate, LaWM's encoder learned nothing: its z was a constant
    muon, _ = build_optimizers(meta_build(config), "muon", learning_rate=5e-3, weight_decay=0)
    trained = sum(p.numel() for p in muon.param_groups[0]["params"])
    matrices = sum(p.numel() for p in meta_build(config).parameters() if p.requires_grad and p.ndim == 2)
    assert trained > 0.75 * matrices


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_restored_state_goes_on_bit_for_bit(name):
    torch.manual_seed(0)
    one = Net()
    first = build_optimizers(one, name, learning_rate=1e-2, weight_decay=0.1)
    steps(one, first, 3)
    other = Net()
    other.load_state_dict(one.state_dict())
    second = build_optimizers(other, name, learning_rate=1e-2, weight_decay=0.1)
    restore_by_name(other, second, {k: v.clone() for k, v in state_by_name(one, first).items()})
    steps(one, first, 3)
    steps(other, second, 3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch has Muon since 2.9")
def test_a_state_that_pytorchs_muon_left_goes_on():
    net = Net()
    _, adamw = optimizers = build_optimizers(net, "muon", learning_rate=1e-2, weight_decay=0)
    matrices = optimizers[0].param_groups[0]["params"]
    earlier = [torch.optim.Muon(matrices, lr=1e-2, adjust_lr_fn="match_rms_adamw"), adamw]
    steps(net, earlier, 2)
    left = state_by_name(net, earlier)
    restore_by_name(net, optimizers, {k: v.clone() for k, v in left.items()})
    steps(net, optimizers, 1)
    after = state_by_name(net, optimizers)
    assert after.keys() == left.keys()
    assert all(not torch.equal(after[k], v) for k, v in left.items())
