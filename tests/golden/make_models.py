"""How the golden files were made, with the code of commit 8e8e883: they are never written again.

    python tests/golden/make_models.py OUT

Each kind of model, small, with weights that are nowhere zero, and what it said to one batch.
"""

import sys
from pathlib import Path

import safetensors.torch
import torch
from foreact.contracts import Batch
from foreact.pretrained import TokenSpec

from foreact.decoders.unet import ImageDecoderConfig
from foreact.encoders.pixels import PixelEncoder
from foreact.latent_actions.adaworld import AdaWorldConfig
from foreact.latent_actions.dino_cls import DinoCLSConfig
from foreact.latent_actions.lawm import LaWMConfig
from foreact.latent_actions.rla import RLAConfig
from foreact.latent_actions.univla import UniVLAConfig
from foreact.world_models.dino_wm import DinoWMConfig
from foreact.world_models.fm_wm import FMWMConfig
from foreact.world_models.rae import RAEConfig
from foreact.world_models.rla_wm import RLAWorldModelConfig
from foreact.world_models.video_diffusion import VideoDiffusionConfig

out = Path(sys.argv[1])
out.mkdir(exist_ok=True, parents=True)
T = TokenSpec(grid=(4, 4), channels=8, fingerprint="golden/1", encoder="tiny", image_size=64)
P = PixelEncoder(32).spec
sz = {"tokens": T, "dim": 16, "heads": 2, "depth": 1}
rla = RLAConfig(**sz, latent_tokens=2, latent_channels=4, standardise=True, residual_output=True)
wm = {"action_dim": 3, "horizon": 5}
tok = dict(tokens=T, dim=16, heads=2, depth=1, **wm, standardise=True)
models = {
    "rla": rla,
    "rla_merged": RLAConfig(**sz, latent_tokens=2, latent_channels=4, decoder_merge=2),
    "univla": UniVLAConfig(**sz, latent_tokens=2, latent_channels=8, codes=4, standardise=True),
    "adaworld": AdaWorldConfig(tokens=P, dim=16, heads=2, depth=1, latent_channels=4),
    "lawm": LaWMConfig(
        tokens=T, dim=16, heads=2, encoder_depth=1, decoder_depth=1, latent_channels=4, state_dim=3, embodiments=2
    ),
    "dino_cls": DinoCLSConfig(
        tokens=TokenSpec(grid=(1, 17), channels=8, fingerprint="golden/cls", encoder="cls:tiny", image_size=64),
        dim=16,
        heads=2,
        depth=1,
        standardise=True,
    ),
    "rla_wm": RLAWorldModelConfig(rla=rla, **wm, dim=16, condition_depth=1, flow_depth=1, heads=2, steps=4),
    "rla_wm_extras": RLAWorldModelConfig(
        rla=rla,
        **wm,
        dim=16,
        condition_depth=1,
        flow_depth=1,
        heads=2,
        steps=2,
        condition_merge=2,
        spread_actions=True,
        draws=2,
        mean_weight=1.0,
        token_weight=1.0,
        solver="midpoint",
    ),
    "rla_wm_released": RLAWorldModelConfig(
        rla=rla,
        **wm,
        dim=16,
        condition_depth=1,
        flow_depth=1,
        heads=2,
        steps=3,
        variant="released",
        slots=False,
        time_law="logit_normal",
        l1_weight=1.0,
    ),
    "dino_wm": DinoWMConfig(**tok, residual_output=True),
    "fm_wm": FMWMConfig(**tok, steps=3),
    "fm_wm_noise": FMWMConfig(**tok, steps=3, source_noise=0.5),
    "rae": RAEConfig(**tok, head_dim=32, head_depth=1, steps=3),
    "video_diffusion": VideoDiffusionConfig(tokens=P, **wm, stride=2, patch=4, widths=(8, 16), stages=1, steps=3),
    "image_decoder": ImageDecoderConfig(tokens=T, channels=(8, 8, 4, 4), blocks=1, stem_channels=8, standardise=True),
}


def tokens(t, g):
    x = torch.randn(B, t.count, t.channels, generator=g)
    return x.sigmoid() if t.encoder == "pixels" else x


def fill(m, seed):
    g = torch.Generator().manual_seed(seed)
    for n, p in m.named_parameters():
        p.data.copy_(
            torch.randn(p.shape, generator=g) * (0.3 if p.ndim > 1 else 0.1)
            + (1.0 if "norm" in n and n.endswith("weight") else 0.0)
        )
    for n, b in m.named_buffers():
        leaf = n.rsplit(".", 1)[-1]
        if leaf in ("mean", "latent_mean", "state_low"):
            b.copy_(0.1 * torch.randn(b.shape, generator=g))
        if leaf in ("std", "latent_std", "change", "state_range"):
            b.copy_(0.5 + torch.rand(b.shape, generator=g))


B = 3
for i, (name, c) in enumerate(models.items()):
    torch.manual_seed(0)
    m = c.build().eval()
    fill(m, i)
    m.save_pretrained(out / name)
    g = torch.Generator().manual_seed(100 + i)
    t = c.tokens

    d = {
        "tokens_t": tokens(t, g),
        "tokens_th": tokens(t, g),
        "lengths": torch.tensor([5, 1, 3]),
        "actions": torch.randn(B, 5, 3, generator=g) * 3,
    }
    kw = {}
    if name == "lawm":
        kw = {
            "state_t": torch.randn(B, 3, generator=g),
            "state_th": torch.randn(B, 3, generator=g),
            "embodiment": torch.tensor([1, 1, 1]),
        }
        d |= kw
    kind = c.kind
    if kind == "video_diffusion":
        d["clip"] = torch.rand(B, 3, t.count, t.channels, generator=g)
        kw = {"clip": d["clip"]}
    res = {}
    if kind == "image_decoder":
        d["frames"] = torch.randint(0, 256, (B, 64, 64, 3), generator=g, dtype=torch.uint8)
        res["decode"] = m.decode(d["tokens_t"])
        loss = m.loss(d["tokens_t"], d["frames"])
    else:
        b = Batch(tokens_t=d["tokens_t"], tokens_th=d["tokens_th"], lengths=d["lengths"], actions=d["actions"], **kw)
        loss = m.loss(b, torch.Generator().manual_seed(7))
        if hasattr(m, "infer"):
            with torch.no_grad():
                res["infer"] = m.infer(b.tokens_t, b.tokens_th)
                res["decode"] = m.decode(b.tokens_t, res["infer"])
        if hasattr(m, "predict"):
            gen = torch.Generator().manual_seed(9)
            with torch.no_grad():
                res["predict"] = m.predict(b.tokens_t, b.actions, b.lengths, gen)
            gen = torch.Generator().manual_seed(9)
            if kind == "rla_wm":
                d["noise"] = torch.randn(B, 2, 4, generator=gen)
            elif kind == "rae" or name == "fm_wm_noise":
                d["noise"] = torch.randn(B, 16, 8, generator=gen)
            elif kind == "video_diffusion":
                d["noise"] = torch.stack([torch.randn(B, 48, 8, 8, generator=gen) for _ in range(3)], 1)
            else:
                d["noise"] = torch.zeros(B, 0)
    res |= {f"loss/{k}": v.detach() for k, v in loss.items()}
    safetensors.torch.save_file(
        {**{f"in/{k}": v.contiguous() for k, v in d.items()}, **{f"out/{k}": v.contiguous() for k, v in res.items()}},
        out / name / "golden.safetensors",
    )
    (out / name / "README.md").unlink()
    print(name, {k: float(v) for k, v in loss.items()})
