"""Every block of `foreact.nn` against its NumPy twin, with weights that are random everywhere, also where training starts at zero."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pytest
import torch
import twins
from torch import Tensor, nn

from foreact.nn.actions import ActionNormaliser, PaddedMLP, RecurrentEncoder
from foreact.nn.attention import Attention, Block, CrossAttention, ModulatedBlock
from foreact.nn.flow import integrate
from foreact.nn.gaussian import draw_and_price
from foreact.nn.latent_decoder import LatentDecoder
from foreact.nn.positions import PatchEmbedding, TimeEmbedding
from foreact.nn.space_time import ActionTokenEncoder, SpaceTimeBlock
from foreact.nn.token_network import TokenNetwork
from foreact.nn.video_unet import CausalConvolution, Stage, VideoUNet

Module = TypeVar("Module", bound=nn.Module)
GRID, DIM, HEADS = (4, 6), 12, 3
CODES = 1e-5  # position codes are kept in float32, and their amplitude here is 2 or 3


def random(module: Module) -> Module:
    """Every parameter drawn anew, of a size that keeps what goes through at its size, in float64."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.double().named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / fan_in**0.5
        parameter.data = drawn + float("norm" in name and name.endswith("weight"))
    return module.eval()


def normal(*shape: int, seed: int = 1) -> Tensor:
    """Not centred and not of unit spread, so that a norm has something to do."""
    return 0.5 + 1.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_same(ours: Tensor, twin: np.ndarray, *, atol: float = 1e-6) -> None:
    """That both agree, and that there is something to agree about."""
    assert np.abs(twin).mean() > 0.05
    np.testing.assert_allclose(ours.detach().numpy(), twin, atol=atol, rtol=0)


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal: bool) -> None:
    layer, x = random(Attention(DIM, HEADS, causal=causal)), normal(2, 7, DIM)
    assert_same(layer(x), twins.attention(twins.weights_of(layer), x.numpy(), HEADS, causal=causal))


@pytest.mark.parametrize("keys", [5, 515], ids=["a product", "the fused kernel"])
def test_cross_attention(keys: int) -> None:
    """On a CPU many keys take another way than few."""
    layer, x, context = random(CrossAttention(DIM, HEADS)), normal(2, 7, DIM), normal(2, keys, DIM, seed=2)
    twin = twins.cross_attention(twins.weights_of(layer), x.numpy(), context.numpy(), HEADS)
    assert_same(layer(x, layer.keys_values(context)), twin)


def test_block() -> None:
    block, x = random(Block(DIM, HEADS)), normal(2, 7, DIM)
    assert_same(block(x), twins.block(twins.weights_of(block), x.numpy(), HEADS))


@pytest.mark.parametrize("shape", [(2, DIM), (2, 7, DIM)], ids=["one vector a sample", "one a token"])
@pytest.mark.parametrize("cross", [False, True])
def test_modulated_block(shape: tuple[int, ...], cross: bool) -> None:
    block, x, vector = random(ModulatedBlock(DIM, HEADS, cross=cross)), normal(2, 7, DIM), normal(*shape, seed=2)
    context = normal(2, 5, DIM, seed=3) if cross else None
    kept = block.cross.keys_values(context) if block.cross is not None and context is not None else None
    read = None if context is None else context.numpy()
    twin = twins.modulated_block(twins.weights_of(block), x.numpy(), vector.numpy(), HEADS, read)
    assert_same(block(x, vector, kept), twin)


@pytest.mark.parametrize("causal", [False, True])
def test_space_time_block(causal: bool) -> None:
    block, x = random(SpaceTimeBlock(DIM, HEADS, causal=causal)), normal(2, 3, 5, DIM)
    assert_same(block(x), twins.space_time_block(twins.weights_of(block), x.numpy(), HEADS, causal=causal))


@pytest.mark.parametrize("causal", [False, True])
def test_action_token_encoder(causal: bool) -> None:
    encoder = random(ActionTokenEncoder(GRID, 5, actions=2, dim=DIM, heads=HEADS, depth=2, causal=causal))
    s_t, s_th = normal(2, 24, 5), normal(2, 24, 5, seed=2)
    twin = twins.action_token_encoder(twins.weights_of(encoder), s_t.numpy(), s_th.numpy(), GRID, HEADS, causal=causal)
    assert_same(encoder(s_t, s_th), twin, atol=CODES)


@pytest.mark.parametrize(("scale", "merge"), [(0.0, 1), (3.0, 1), (3.0, 2)])
def test_patch_embedding(scale: float, merge: int) -> None:
    embedding, tokens = random(PatchEmbedding(GRID, 5, DIM, scale, merge=merge)), normal(2, 24, 5)
    twin = twins.patch_embedding(twins.weights_of(embedding), tokens.numpy(), GRID, scale, merge=merge)
    assert_same(embedding(tokens), twin, atol=CODES)


def test_time_embedding() -> None:
    """Its waves are in float32, and 1000 radians have seven digits there."""
    embedding, times = TimeEmbedding(DIM, frequencies=8), torch.tensor([0.0, 0.125, 0.5, 1.0])
    random(embedding).float()
    assert_same(embedding(times), twins.time_embedding(twins.weights_of(embedding), times.numpy(), 8), atol=1e-4)


def chunks() -> tuple[Tensor, Tensor]:
    """Standardised chunks of 4, 1 and 3 actions and their mask."""
    normaliser = ActionNormaliser(2).double()
    mean, std = torch.tensor([3.0, -1.0]).double(), torch.tensor([2.0, 0.5]).double()
    normaliser.fit(mean, std)
    actions, lengths = normal(3, 4, 2, seed=7), torch.tensor([4, 1, 3])
    padded, mask = normaliser.double()(actions, lengths)
    wanted, own = twins.padded_chunk(actions.numpy(), lengths.numpy(), mean.numpy(), std.numpy())
    assert_same(padded, wanted)
    np.testing.assert_array_equal(mask.numpy(), own)
    return padded.double(), mask


def test_embeddings_of_actions() -> None:
    actions, mask = chunks()
    padded, recurrent = random(PaddedMLP(2, 4, DIM)), random(RecurrentEncoder(2, DIM, hidden=5))
    for embed, twin in ((padded, twins.padded_mlp), (recurrent, twins.recurrent_encoder)):
        assert_same(embed(actions, mask), twin(twins.weights_of(embed), actions.numpy(), mask.numpy()))


NETWORKS: dict[str, dict[str, Any]] = {
    "patches come out": {"spread": False},
    "actions on every token": {"spread": True},
    "queries": {"queries": 3, "spread": False},
    "queries read merged patches": {"queries": 3, "spread": True, "merge": 2},
    "modulated": {"queries": 3, "spread": False, "modulated": True},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_token_network(name: str) -> None:
    asked = dict(NETWORKS[name])
    spread, queries, merge = asked.pop("spread"), asked.get("queries", 0), asked.get("merge", 1)
    network = random(
        TokenNetwork(GRID, 5, (4, 2), dim=DIM, heads=HEADS, depth=2, position_scale=2.0, spread_actions=spread, **asked)
    )
    tokens, (actions, mask) = normal(3, 24, 5), chunks()
    vector = normal(3, DIM, seed=5) if asked.get("modulated") else None
    twin_queries, twin_patches = twins.token_network(
        twins.weights_of(network),
        tokens.numpy(),
        actions.numpy(),
        mask.numpy(),
        grid=GRID,
        heads=HEADS,
        scale=2.0,
        spread=spread,
        merge=merge,
        vector=None if vector is None else vector.numpy(),
    )
    found = network.features(tokens, actions, mask, vector)
    assert found[0].shape == (3, queries, DIM)
    assert_same(found[1], twin_patches, atol=CODES)
    if queries:
        assert_same(found[0], twin_queries, atol=CODES)
    assert_same(network(tokens, actions, mask, vector), twin_queries if queries else twin_patches, atol=CODES)


@pytest.mark.parametrize("merge", [1, 2])
def test_latent_decoder(merge: int) -> None:
    decoder = random(LatentDecoder(GRID, 5, (3, 2), dim=DIM, heads=HEADS, depth=2, position_scale=2.0, merge=merge))
    tokens, z = normal(2, 24, 5), normal(2, 3, 2, seed=2)
    twin = twins.latent_decoder(
        twins.weights_of(decoder), tokens.numpy(), z.numpy(), grid=GRID, heads=HEADS, scale=2.0, merge=merge
    )
    assert_same(decoder(tokens, z), twin, atol=CODES)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun"])
def test_solvers(solver: Any, shift: float) -> None:
    start = normal(3, 2)
    ours = integrate(lambda z, t: torch.sin(z) + (t * t)[:, None], start, steps=3, solver=solver, shift=shift)
    assert_same(ours, twins.solve(lambda z, t: np.sin(z) + t * t, start.numpy(), 3, solver, shift))


def test_causal_convolution() -> None:
    layer, x = random(CausalConvolution(16)), normal(2, 4, 16, 3, 2)
    for ours, clip in zip(layer(x), x):
        assert_same(ours, twins.causal_convolution(twins.weights_of(layer), clip.numpy()))


@pytest.mark.parametrize(("inputs", "outputs", "attends"), [(16, 16, False), (8, 16, True), (64, 128, True)])
def test_stage(inputs: int, outputs: int, attends: bool) -> None:
    layer = random(Stage(inputs, outputs, 5, attends=attends))
    x, embedding = normal(1, 2, inputs, 3, 2), normal(1, 2, 5, seed=2)
    twin = twins.stage(twins.weights_of(layer), x[0].numpy(), embedding[0].numpy(), max(1, outputs // 64))
    assert_same(layer(x, embedding)[0], twin)


def test_video_unet() -> None:
    network = random(VideoUNet(5, 3, widths=(8, 16), stages=2, embedding=7))
    x, embedding = normal(1, 3, 5, 4, 4), normal(1, 3, 7, seed=2)
    twin = twins.video_unet(twins.weights_of(network), x[0].numpy(), embedding[0].numpy(), 1)
    assert_same(network(x, embedding)[0], twin)


def test_the_price_of_a_posterior() -> None:
    """KL of normal distributions by its definition: the mean of log p - log q, here by the trapezium rule."""
    mean, log_variance, noise = normal(2, 3, 2), 0.5 * normal(2, 3, 2, seed=2), normal(2, 3, 2, seed=3)
    z, price = draw_and_price(mean, log_variance, noise)
    spread = np.exp(0.5 * log_variance.numpy())
    assert_same(z, mean.numpy() + spread * noise.numpy())
    x = np.linspace(-60, 60, 24_001)[:, None, None, None]
    log_p = -0.5 * ((x - mean.numpy()) / spread) ** 2 - np.log(spread * np.sqrt(2 * np.pi))
    log_q = -0.5 * x**2 - 0.5 * np.log(2 * np.pi)
    each = (np.exp(log_p) * (log_p - log_q)).sum(axis=0) * (x[1] - x[0]).item()
    assert price.item() == pytest.approx(each.sum(axis=(1, 2)).mean(), rel=1e-6)
