"""Named recipes: `tiny` (a CPU, minutes), `small` (one GPU or a patient CPU, an hour or two), `paper` (the paper's sizes)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from foreact.data.pairs import PairSampling
from foreact.decoders.unet import ImageDecoderConfig
from foreact.encoders.class_token import PREFIX
from foreact.errors import ForeactError
from foreact.latent_actions.adaworld import AdaWorldConfig
from foreact.latent_actions.dino_cls import DinoCLSConfig
from foreact.latent_actions.lawm import LaWMConfig
from foreact.latent_actions.rla import RLAConfig
from foreact.latent_actions.univla import UniVLAConfig
from foreact.pretrained import TokenSpec
from foreact.training.loop import TrainConfig
from foreact.world_models.dino_wm import DinoWMConfig
from foreact.world_models.fm_wm import FMWMConfig
from foreact.world_models.rae import RAEConfig
from foreact.world_models.rla_wm import RLAWorldModelConfig
from foreact.world_models.video_diffusion import VideoDiffusionConfig

Variant = Literal["paper", "released"]
Baseline = DinoWMConfig | FMWMConfig | RAEConfig | VideoDiffusionConfig
LatentActionConfig = UniVLAConfig | AdaWorldConfig | LaWMConfig | DinoCLSConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Sizes and training of one complete system.

    Attributes:
        name: of the preset.
        encoder: name, Hub id or folder of the frozen encoder.
        image_size: side of the square frames it sees, in pixels.
        dim: width D of all transformers.
        heads: attention heads.
        rla_depth: blocks in each of RLA's encoder and decoder.
        condition_depth: blocks of RLA-WM's condition network.
        condition_merge: side of the squares of patches that become one token of RLA-WM's condition network (1 in the paper).
        decoder_merge: the same, of RLA's decoder.
        flow_depth: blocks of its flow network.
        latent_tokens: Q.
        latent_channels: Z.
        residual_output: whether token predictions are corrections of s_t (the paper predicts s_{t+h} itself).
        flow_steps: Euler steps of RLA-WM's sampler (30 in the paper); after little training few steps hit better, on average.
        wide_head: width of RAE's head.
        video_widths: channels of the levels of video diffusion's U-Net.
        video_stages: residual stages per level and direction.
        video_stride: actions from one frame of its clips to the next; a divisor of what chunks are evaluated with saves a frame.
        video_steps: DDIM steps per frame.
        draws: noises per pair in RLA-WM's training (1 in the paper).
        position_scale: amplitude of the position codes; standardised tokens need larger ones.
        spread_actions: whether the world models' action embedding is added to every token (not in the paper).
        standardise: whether tokens and changes are put in units of their spread (not in the paper).
        mean_weight: of RLA-WM's regression of z beside its flow (0 in the paper).
        token_weight: of its regression of tokens in the condition network (0 in the paper).
        horizon: H, the longest action chunk.
        decoder_channels: stages of the image decoder.
        decoder_blocks: residual blocks in each.
        pairs: law of frame pairs of the world models.
        rla_pairs: law of frame pairs of the RLA autoencoder and its rivals.
        lawm_pairs: law of frame pairs of LaWM when it is trained by itself.
        lawm_encoder_depth: blocks of LaWM's inverse-dynamics encoder.
        lawm_embodiments: E, the embodiments that its state head has weights for.
        lawm_frames: encoder and image size of LaWM where they are others than RLA's.
        lawm_log_variance: where that of LaWM's posterior begins (0 released).
        adaworld_kl: weight of AdaWorld's KL divergence (2e-4 published). In few steps at small sizes that leaves its z empty.
        train_rla, train_world_model, train_image_decoder, train_encoder: how each is trained; all world models alike, except
            that video diffusion has an optimiser that suits convolutions.
    """

    name: str
    encoder: str
    image_size: int
    dim: int
    heads: int
    rla_depth: int
    condition_depth: int
    flow_depth: int
    latent_tokens: int
    latent_channels: int
    residual_output: bool
    position_scale: float
    spread_actions: bool
    standardise: bool
    flow_steps: int
    wide_head: int
    video_widths: tuple[int, ...]
    video_stages: int
    video_stride: int
    video_steps: int
    draws: int
    mean_weight: float
    token_weight: float = 0.0
    horizon: int = 15
    condition_merge: int = 1
    decoder_merge: int = 1
    decoder_channels: tuple[int, ...]
    decoder_blocks: int
    pairs: PairSampling
    rla_pairs: PairSampling
    lawm_pairs: PairSampling = field(default_factory=lambda: PairSampling(seconds=1.2))
    lawm_encoder_depth: int
    lawm_embodiments: int = 2
    lawm_frames: tuple[str, int] | None = None
    lawm_log_variance: float = 0.0
    adaworld_kl: float = 2e-4
    train_rla: TrainConfig
    train_world_model: TrainConfig
    train_image_decoder: TrainConfig
    train_encoder: TrainConfig

    @property
    def train_video_diffusion(self) -> TrainConfig:
        """As the other world models, by AdamW: Muon's larger steps are for the matrices of transformers."""
        slower = min(self.train_world_model.learning_rate, 3e-3)
        return replace(self.train_world_model, optimizer="adamw", learning_rate=slower)

    def rla(self, tokens: TokenSpec, *, variant: Variant = "paper") -> RLAConfig:
        """The RLA autoencoder; the released variant has no position codes."""
        return RLAConfig(
            tokens=tokens,
            dim=self.dim,
            depth=self.rla_depth,
            heads=self.heads,
            latent_tokens=self.latent_tokens,
            latent_channels=self.latent_channels,
            position_scale=self.position_scale if variant == "paper" else 0.0,
            residual_output=self.residual_output,
            standardise=self.standardise,
            decoder_merge=self.decoder_merge,
        )

    def frames_of(self, model: str) -> tuple[str, int]:
        """Encoder and image size of a model by its name on the command line."""
        if model in ("adaworld", "video-diffusion"):
            return "pixels", self.image_size
        if model == "dino-cls":
            return f"{PREFIX}{self.encoder}", self.image_size
        if model == "lawm" and self.lawm_frames:
            return self.lawm_frames
        return self.encoder, self.image_size

    def latent_action(self, name: str, tokens: TokenSpec, *, state_dim: int = 0) -> LatentActionConfig:
        """A rival of RLA, as wide and as deep; how it codes z is its own. LaWM's state head takes `state_dim` numbers."""
        sizes: dict[str, Any] = {"tokens": tokens, "dim": self.dim, "heads": self.heads}
        like_rla: dict[str, Any] = {
            "depth": self.rla_depth,
            "position_scale": self.position_scale,
            "residual_output": self.residual_output,
            "standardise": self.standardise,
        }
        if name == "univla":
            return UniVLAConfig(**sizes, **like_rla)
        if name == "dino-cls":
            return DinoCLSConfig(**sizes, **like_rla)
        if name == "adaworld":
            return AdaWorldConfig(**sizes, depth=self.rla_depth, kl_weight=self.adaworld_kl)
        if name == "lawm":
            return LaWMConfig(
                **sizes,
                encoder_depth=self.lawm_encoder_depth,
                decoder_depth=self.rla_depth,
                log_variance=self.lawm_log_variance,
                residual_output=self.residual_output,
                state_dim=state_dim,
                embodiments=self.lawm_embodiments,
            )
        raise ValueError(f"no latent-action learner is called {name!r}")

    def rla_wm(self, rla: RLAConfig, action_dim: int, *, variant: Variant = "paper") -> RLAWorldModelConfig:
        """The world model over `rla`, in the paper's variant or the released code's."""
        released = variant == "released"
        return RLAWorldModelConfig(
            rla=rla,
            action_dim=action_dim,
            horizon=self.horizon,
            dim=self.dim,
            condition_depth=self.condition_depth,
            condition_merge=self.condition_merge,
            flow_depth=self.flow_depth,
            heads=self.heads,
            variant=variant,
            slots=not released,
            time_law="logit_normal" if released else "uniform",
            draws=self.draws,
            steps=self.flow_steps,
            spread_actions=self.spread_actions,
            l1_weight=1.0 if released else 0.0,
            mean_weight=0.0 if released else self.mean_weight,
            token_weight=0.0 if released else self.token_weight,
        )

    def baseline(self, name: str, tokens: TokenSpec, action_dim: int) -> Baseline:
        """DINO-WM, FM-WM or RAE, as deep as RLA-WM's condition network and decoder together; or video diffusion."""
        task: dict[str, Any] = {"tokens": tokens, "action_dim": action_dim, "horizon": self.horizon}
        if name == "video_diffusion":
            return VideoDiffusionConfig(
                **task,
                stride=self.video_stride,
                widths=self.video_widths,
                stages=self.video_stages,
                steps=self.video_steps,
            )
        shared = task | {
            "dim": self.dim,
            "depth": self.condition_depth + self.rla_depth,
            "heads": self.heads,
            "position_scale": self.position_scale,
            "spread_actions": self.spread_actions,
            "standardise": self.standardise,
        }
        if name == "dino_wm":
            return DinoWMConfig(**shared, residual_output=self.residual_output)
        if name == "fm_wm":
            return FMWMConfig(**shared)
        if name == "rae":
            return RAEConfig(**shared, head_dim=self.wide_head)
        raise ValueError(f"no baseline is called {name!r}")

    def image_decoder(self, tokens: TokenSpec) -> ImageDecoderConfig:
        """The image decoder."""
        return ImageDecoderConfig(
            tokens=tokens,
            channels=self.decoder_channels,
            blocks=self.decoder_blocks,
            standardise=self.standardise,
        )


def tiny() -> Preset:
    """For a CPU: the demo's sizes; every stage is trained in a minute or two on two cores."""
    wm = TrainConfig(
        steps=800,
        batch_size=32,
        optimizer="muon",
        learning_rate=5e-3,
        warmup=30,
        schedule="cosine",
        ema=0.98,
        save_every=200,
    )
    return Preset(
        name="tiny",
        encoder="tiny",
        image_size=128,
        dim=192,
        heads=6,
        rla_depth=2,
        lawm_encoder_depth=2,
        lawm_log_variance=-4.0,
        adaworld_kl=2e-7,
        condition_depth=2,
        flow_depth=2,
        latent_tokens=8,
        latent_channels=16,
        residual_output=True,
        position_scale=4.0,
        spread_actions=True,
        standardise=True,
        flow_steps=2,
        wide_head=512,
        video_widths=(48, 96),
        video_stages=1,
        video_stride=5,
        video_steps=8,
        draws=4,
        mean_weight=1.0,
        token_weight=1.0,
        decoder_channels=(64, 32, 16, 8),
        decoder_blocks=1,
        pairs=PairSampling(law="beta"),
        rla_pairs=PairSampling(law="beta"),
        train_rla=wm,
        train_world_model=wm,
        train_image_decoder=TrainConfig(
            steps=800,
            batch_size=16,
            learning_rate=4e-3,
            warmup=30,
            schedule="cosine",
            ema=0.98,
            precision="no",
            save_every=100,
        ),
        train_encoder=TrainConfig(steps=500, batch_size=32, learning_rate=1e-3, schedule="cosine"),
    )


def small() -> Preset:
    """For one GPU, or a CPU with patience."""
    wm = TrainConfig(
        steps=6000, batch_size=64, optimizer="muon", learning_rate=3e-3, warmup=100, schedule="cosine", ema=0.995
    )
    return Preset(
        name="small",
        encoder="tiny",
        image_size=128,
        dim=256,
        heads=8,
        rla_depth=3,
        lawm_encoder_depth=3,
        lawm_log_variance=-4.0,
        adaworld_kl=2e-7,
        condition_depth=3,
        flow_depth=3,
        latent_tokens=16,
        latent_channels=16,
        residual_output=True,
        position_scale=4.0,
        spread_actions=True,
        standardise=True,
        flow_steps=4,
        wide_head=512,
        video_widths=(64, 128, 192),
        video_stages=1,
        video_stride=5,
        video_steps=16,
        draws=4,
        mean_weight=1.0,
        token_weight=1.0,
        decoder_channels=(96, 48, 24, 12),
        decoder_blocks=1,
        pairs=PairSampling(law="beta"),
        rla_pairs=PairSampling(law="beta"),
        train_rla=wm,
        train_world_model=wm,
        train_image_decoder=TrainConfig(
            steps=4000, batch_size=16, learning_rate=4e-3, schedule="cosine", ema=0.995, precision="no"
        ),
        train_encoder=TrainConfig(steps=10_000, batch_size=64, learning_rate=1e-3, schedule="cosine"),
    )


def paper() -> Preset:
    """The paper's sizes (section A.2): DINOv3-L/16 at 512 px, 12 + 12 and 8 + 8 layers of width 1024, 100k steps."""
    rla = TrainConfig(steps=100_000, batch_size=128, learning_rate=1e-4, warmup=1000, ema=0.9999, save_every=2500)
    wm = TrainConfig(steps=100_000, batch_size=64, learning_rate=1e-4, warmup=1000, ema=0.9999, save_every=2500)
    return Preset(
        name="paper",
        encoder="facebook/dinov3-vitl16-pretrain-lvd1689m",
        image_size=512,
        dim=1024,
        heads=16,
        rla_depth=12,
        lawm_encoder_depth=24,
        lawm_embodiments=32,
        lawm_frames=("facebook/dinov3-vitb16-pretrain-lvd1689m", 256),
        condition_depth=8,
        flow_depth=8,
        latent_tokens=32,
        latent_channels=64,
        residual_output=False,
        position_scale=1.0,
        spread_actions=False,
        standardise=False,
        flow_steps=30,
        wide_head=2048,
        video_widths=(320, 640, 1280, 1280),
        video_stages=2,
        video_stride=1,
        video_steps=50,
        draws=1,
        mean_weight=0.0,
        decoder_channels=(512, 256, 128, 64),
        decoder_blocks=2,
        pairs=PairSampling(),
        rla_pairs=PairSampling(max_horizon=100),
        train_rla=rla,
        train_world_model=wm,
        train_image_decoder=TrainConfig(steps=60_000, batch_size=32, learning_rate=1e-4, warmup=1000, save_every=2500),
        train_encoder=TrainConfig(steps=100_000, batch_size=256, learning_rate=5e-4, warmup=5000, schedule="cosine"),
    )


PRESETS = {"tiny": tiny, "small": small, "paper": paper}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ForeactError: no such preset.
    """
    if name not in PRESETS:
        raise ForeactError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]()
