"""Every kind of world model in a small size, and what they are given; all dimensions differ."""

import dataclasses

import torch

from foreact.core.batch import Batch
from foreact.core.token_spec import TokenSpec
from foreact.encoders.pixels import PixelEncoder
from foreact.latent_actions.rla import RLAConfig
from foreact.world_models.dino_wm import DinoWMConfig
from foreact.world_models.fm_wm import FMWMConfig
from foreact.world_models.rae import RAEConfig
from foreact.world_models.rla_wm import RLAWorldModelConfig
from foreact.world_models.rla_wm_released import released
from foreact.world_models.video_diffusion import VideoDiffusionConfig


def with_extras(config, **extras):
    """The config with other extras."""
    return dataclasses.replace(config, extras=dataclasses.replace(config.extras, **extras))


TOKENS = TokenSpec(grid=(3, 5), channels=7, fingerprint="test@0", encoder="tiny", image_size=48)
RLA = RLAConfig(tokens=TOKENS, dim=44, depth=1, heads=11, latent_tokens=13, latent_channels=17)
B, H, A = 2, 19, 23
PAPER = RLAWorldModelConfig(
    rla=RLA, action_dim=A, horizon=H, dim=52, heads=13, condition_depth=2, flow_depth=2, steps=3
)
RELEASED = released(PAPER)
REGRESSION = DinoWMConfig(tokens=TOKENS, action_dim=A, horizon=H, dim=52, heads=13, depth=2)
FAST = with_extras(PAPER, spread_actions=True, mean_weight=1.0, draws=2)
TAUGHT = with_extras(FAST, token_weight=1.0)
FAST_REGRESSION = dataclasses.replace(REGRESSION, spread_actions=True)
TOKEN_FLOW = {"tokens": TOKENS, "action_dim": A, "horizon": H, "dim": 52, "heads": 13, "depth": 2, "steps": 3}
PRESENT_FLOW, NOISE_FLOW = FMWMConfig(**TOKEN_FLOW), RAEConfig(**TOKEN_FLOW, head_dim=64)
BRIDGE = dataclasses.replace(PRESENT_FLOW, source_noise=0.5, condition=True)
VIDEO = VideoDiffusionConfig(
    tokens=PixelEncoder(32).spec, action_dim=A, horizon=H, stride=5, patch=8, widths=(16, 24), stages=1, steps=2
)
CONFIGS = {
    "paper": PAPER, "released": RELEASED, "dino_wm": REGRESSION, "fast": FAST, "taught": TAUGHT, "fast_dino_wm": FAST_REGRESSION,
    "fm_wm": PRESENT_FLOW, "bridge": BRIDGE, "rae": NOISE_FLOW, "narrow_rae": dataclasses.replace(NOISE_FLOW, head_dim=0),
    "video_diffusion": VIDEO,
}  # fmt: skip


def inputs(batch=B, config=None):
    """Tokens, actions and lengths; of a config whose tokens are others (pixels, in [0, 1]) in their shape."""
    g = torch.Generator().manual_seed(1)
    tokens, actions = torch.randn(batch, 15, 7, generator=g), torch.randn(batch, H, A, generator=g)
    if config is VIDEO:
        tokens = torch.rand(batch, VIDEO.tokens.count, VIDEO.tokens.channels, generator=g)
    return tokens, actions, torch.arange(batch) % H + 1


def batch_of(tokens, actions, lengths, **options):
    """A training batch in which all grows by a fifth; with clips, for those who look at them."""
    clip = torch.stack([tokens + 0.05 * k for k in range(1, 5)], dim=1)
    return Batch(tokens_t=tokens, tokens_th=tokens + 0.2, lengths=lengths, actions=actions, clip=clip, **options)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def predict(model, tokens, actions, lengths, seed=0):
    """The future that follows from the noise of this seed."""
    return model.predict(tokens, actions, lengths, model.draw_noise(len(tokens), seeded(seed)))
