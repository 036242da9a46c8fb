"""Fast paths against the plain model: bf16, compiled graphs, merged condition tokens."""

import dataclasses

import pytest
import torch
from lively import lively
from small_models import CONFIGS, FAST, PAPER, RELEASED, inputs, predict, seeded, with_extras

from foreact.core.errors import ForeactError
from foreact.core.pretrained import meta_build
from foreact.core.token_spec import TokenSpec
from foreact.dreams.fast import FastWorldModel

EVEN = TokenSpec(grid=(4, 6), channels=7, fingerprint="test@0", encoder="tiny", image_size=96)
MERGED = with_extras(dataclasses.replace(PAPER, rla=dataclasses.replace(PAPER.rla, tokens=EVEN)), condition_merge=2)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_bf16_predicts_what_float32_predicts_but_for_rounding(config):
    model, arguments = lively(config), inputs(config=config)
    plain = predict(model, *arguments)
    fast = predict(FastWorldModel(model, precision="bf16"), *arguments)
    assert fast.dtype == torch.float32
    assert 0 < (fast - plain).norm() < 0.03 * (plain - arguments[0]).norm()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fast, predict(model, *arguments).float())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    exact = predict(FastWorldModel(model, precision="no"), *arguments)
    assert torch.equal(exact, plain)


COMPILED = {
    "paper": (FAST, "aot_eager"),
    "two_steps": (dataclasses.replace(FAST, steps=2), "aot_eager"),
    "midpoint": (dataclasses.replace(FAST, steps=1, solver="midpoint"), "aot_eager"),
    "released": (RELEASED, "aot_eager"),
    "dino_wm": (dataclasses.replace(CONFIGS["dino_wm"], depth=1), "inductor"),  # the compiler takes seconds per block
}


@pytest.mark.parametrize(("config", "backend"), COMPILED.values(), ids=COMPILED)
def test_compiled_predicts_what_plain_predicts_and_refuses_another_batch(config, backend):
    tokens, actions, lengths = inputs()
    plain = predict(lively(config), tokens, actions, lengths)
    fast = FastWorldModel(lively(config), precision="no", compile_for=2, backend=backend)
    torch.testing.assert_close(predict(fast, tokens, actions, lengths), plain, atol=1e-4, rtol=1e-4)
    futures = [predict(fast, tokens, actions, lengths, seed) for seed in (0, 1)]  # a replay keeps what was there
    torch.testing.assert_close(futures[0], plain, atol=1e-4, rtol=1e-4)
    with pytest.raises(ForeactError, match="compiled for batches of 2, not 3"):
        predict(fast, *inputs(3))


@pytest.mark.parametrize(
    ("config", "graphs"),
    [(FAST, 3), (dataclasses.replace(FAST, steps=2), 1), (CONFIGS["dino_wm"], 1)],
    ids=["many_steps", "few_steps", "dino_wm"],
)
def test_a_short_prediction_is_one_graph_and_a_long_flow_is_not_unrolled(config, graphs):
    compiled = []

    def backend(graph, _):
        compiled.append(graph)
        return graph.forward

    fast = FastWorldModel(lively(config), precision="no", compile_for=2, backend=backend)
    for seed in range(2):
        predict(fast, *inputs(), seed)
    assert len(compiled) == graphs


def test_merged_condition_tokens_cost_a_quarter_and_still_see_every_patch():
    model, generator = lively(MERGED), seeded()
    tokens, (_, actions, lengths) = torch.randn(2, 24, 7, generator=generator), inputs()
    noise = model.draw_noise(2, seeded())
    expected = model.transport(tokens, actions, lengths, noise)
    for patch in range(24):
        changed = tokens.clone()
        changed[:, patch] += 3
        assert not torch.allclose(model.transport(changed, actions, lengths, noise), expected, atol=1e-5)
    lengths_of = [len(m.condition.project(tokens)[0]) for m in (model, lively(with_extras(MERGED, condition_merge=1)))]
    assert lengths_of == [6, 24]


def test_what_cannot_be_merged_is_refused():
    with pytest.raises(ValueError, match="squares of 4 x 4"):
        meta_build(with_extras(MERGED, condition_merge=4))
    with pytest.raises(ValueError, match="paper's variant"):
        meta_build(with_extras(RELEASED, condition_merge=2))
