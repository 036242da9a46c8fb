"""What attention blocks promise; that they compute their formulas is shown in test_blocks.py."""

import pytest
import torch

from foreact.nn.attention import Block, CrossAttention, ModulatedBlock, attend, initialise


def test_cross_attention_does_not_mind_the_order_of_its_context():
    torch.manual_seed(0)
    layer, x, context = CrossAttention(15, 3), torch.randn(2, 7, 15), torch.randn(2, 11, 15)
    kept = layer.keys_values(context)
    assert not torch.allclose(layer(x, kept), layer(x, layer.keys_values(context + 1)))
    shuffled = context[:, torch.randperm(11)]
    torch.testing.assert_close(layer(x, layer.keys_values(shuffled)), layer(x, kept), atol=1e-5, rtol=1e-4)


def test_modulated_block_starts_as_the_identity_and_depends_on_its_vector_later():
    torch.manual_seed(0)
    block, x, vector = ModulatedBlock(15, 3), torch.randn(2, 7, 15), torch.randn(2, 15)
    initialise(block)
    torch.testing.assert_close(block(x, vector), x)
    torch.nn.init.normal_(block.modulation.weight)
    assert not torch.allclose(block(x, vector), block(x, vector + 1))


def test_block_is_equivariant_to_the_order_of_tokens():
    torch.manual_seed(0)
    block, x, order = Block(15, 3), torch.randn(2, 7, 15), torch.randperm(7)
    torch.testing.assert_close(block(x)[:, order], block(x[:, order]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("length", [11, 600], ids=["explicit", "fused"])
def test_keys_that_are_not_seen_change_nothing(length):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8) for n in (7, length, length))
    seen = torch.arange(length) < torch.tensor([[5], [length]])
    found = attend(q, k, v, seen=seen)
    torch.testing.assert_close(found[:1], attend(q[:1], k[:1, :, :5], v[:1, :, :5]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1:], attend(q[1:], k[1:], v[1:]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fast_path_for_short_sequences_equals_the_fused_kernel(dtype):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8).to(dtype) for n in (7, 11, 11))
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(attend(q, k, v), plain, atol=tolerance, rtol=tolerance)
