"""DCVC-RT: inter frames coded on an implicit temporal context, all at 1/8 resolution.

"Towards Practical Real-Time Neural Video Compression", CVPR 2025.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from neuvid.choice import QUALITIES, FrameChoice, FrameKind
from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import FactorisedPrior
from neuvid.models.base import ModelConfig, State, VideoModel
from neuvid.models.intra import PATCH_VALUES, IntraConfig, IntraModel
from neuvid.nn.blocks import (
    Bank,
    DepthConvBlock,
    Down,
    Shuffle,
    SignalConv,
    SignalPointwise,
    StepBank,
    blocks,
    patchify,
    unpatchify,
)
from neuvid.nn.rounding import lower_bound
from neuvid.priors.checkerboard import (
    TWO_STEPS,
    code_in_steps,
    skipping_gaussian,
    skipping_laplace,
)
from neuvid.priors.hyperprior import Hyperprior

LEVEL_OFFSETS = (0, 8, 4)  # added to the quality at each level of the pattern
BANK_ROWS = QUALITIES + max(LEVEL_OFFSETS)
QUANT_STEP_MIN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ImplicitConfig(ModelConfig):
    """Widths and depths of the video model; the defaults are those of the paper.

    `extractor_blocks` come before and after the branch to the temporal prior; the numbers of
    blocks of encoder and decoder include the first, which merges the context. `up_channels` are
    those inside the upsampling of the latent, None for one convolution.
    """

    intra: IntraConfig = field(default_factory=IntraConfig)
    feature_channels: int = 256
    latent_channels: int = 128
    hyper_channels: int = 128
    temporal_channels: int = 256
    spatial_channels: int = 384
    recon_channels: int = 320
    extractor_blocks: tuple[int, int] = (2, 4)
    encoder_blocks: int = 3
    fusion_blocks: int = 3
    spatial_blocks: int = 2
    decoder_blocks: int = 3
    recon_blocks: int = 4
    up_channels: int | None = None
    step_bank: bool = False


@dataclass(frozen=True, slots=True)
class ImplicitState(State):
    """After an intra frame its `picture`; after an inter frame its `feature`.

    `positions` [B] are the rows of the banks that the last inter frame used.
    """

    feature: Tensor | None = None  # [B, C, H/8, W/8]
    positions: Tensor | None = None


class ImplicitPrior(nn.Module):
    """Hyperprior, temporal prior and two-step spatial prior of the inter latent."""

    def __init__(self, config: ImplicitConfig) -> None:
        super().__init__()
        latent, hyper = config.latent_channels, config.hyper_channels
        self.hyperprior = Hyperprior(latent, hyper, hyper, FactorisedPrior(BANK_ROWS, hyper))
        self.temporal_bank = Bank(BANK_ROWS, config.feature_channels)
        self.temporal = Down(config.feature_channels, config.temporal_channels)
        width = hyper + config.temporal_channels
        self.fusion = nn.Sequential(
            *blocks(config.fusion_blocks, width), SignalPointwise(width, 3 * latent)
        )
        self.spatial = nn.Sequential(
            DepthConvBlock(4 * latent, config.spatial_channels),
            *blocks(config.spatial_blocks - 1, config.spatial_channels),
            SignalPointwise(config.spatial_channels, 2 * latent),
        )
        self.step_bank = StepBank(BANK_ROWS, latent) if config.step_bank else None
        self.law = skipping_laplace if config.step_bank else skipping_gaussian

    def code(
        self, y: Tensor | None, reference: Tensor, positions: Tensor, coder: LatentCoder
    ) -> Tensor:
        """Code y [B, C, h, w] (None when reading), given a reference [B, F, 2h, 2w]."""
        unit = 1.0 if self.step_bank is None else self.step_bank(positions)
        temporal = self.temporal(reference * self.temporal_bank(positions))
        grid = (temporal.shape[2], temporal.shape[3])
        scaled = None if y is None else y / unit
        hyper = self.hyperprior.code(scaled, grid, positions, coder)
        hyper = hyper[:, :, : grid[0], : grid[1]]
        params = self.fusion(torch.cat((hyper, temporal), 1))
        quant_step, first_scales, first_means = params.chunk(3, 1)
        quant_step = lower_bound(quant_step, QUANT_STEP_MIN)

        def parameters(step: int, coded: Tensor) -> tuple[Tensor, Tensor]:
            if step == 0:
                scales, means = first_scales, first_means
            else:
                scales, means = self.spatial(torch.cat((coded * unit, params), 1)).chunk(2, 1)
            return scales / unit, means / unit

        values = None if scaled is None else scaled * quant_step.reciprocal()
        start = torch.zeros_like(quant_step)
        coded = code_in_steps(values, TWO_STEPS, parameters, start, coder, law=self.law)
        return coded * (quant_step * unit)


class ImplicitModel(VideoModel[ImplicitState]):
    """The three networks' sizes differ in their config alone (figure 4 of the paper)."""

    def __init__(self, config: ImplicitConfig) -> None:
        super().__init__()
        self.config: ImplicitConfig = config
        feature, latent, recon = (
            config.feature_channels,
            config.latent_channels,
            config.recon_channels,
        )
        before, after = config.extractor_blocks
        self.intra: IntraModel = IntraModel(config.intra)
        self.picture_adaptor = DepthConvBlock(PATCH_VALUES, feature)
        self.feature_adaptor = SignalPointwise(feature, feature)
        self.extractor = nn.Sequential(*blocks(before, feature))
        self.context_extractor = nn.Sequential(*blocks(after, feature))
        self.embed = SignalPointwise(PATCH_VALUES, feature)
        self.encoder = nn.Sequential(
            DepthConvBlock(2 * feature, feature), *blocks(config.encoder_blocks - 1, feature)
        )
        self.encoder_bank = Bank(BANK_ROWS, feature)
        self.down = SignalConv(feature, latent, 3, stride=2, padding=1)
        self.prior = ImplicitPrior(config)
        self.up = Shuffle(latent, feature, kernel=3, inner_channels=config.up_channels)
        self.decoder = nn.Sequential(
            DepthConvBlock(2 * feature, feature),
            *blocks(config.decoder_blocks - 1, feature),
            SignalPointwise(feature, feature),
        )
        self.decoder_bank = Bank(BANK_ROWS, feature)
        self.recon = nn.Sequential(
            DepthConvBlock(feature, recon), *blocks(config.recon_blocks - 1, recon)
        )
        self.recon_bank = Bank(BANK_ROWS, recon)
        self.head = SignalPointwise(recon, PATCH_VALUES)

    def initial_state(self, height: int, width: int, batch: int = 1) -> ImplicitState:
        """Return the state before the first frame of height x width, multiples of 16."""
        return ImplicitState(height, width, batch)

    def code_frame(
        self, frame: Tensor | None, state: ImplicitState, choice: FrameChoice, coder: LatentCoder
    ) -> ImplicitState:
        """Code one frame [B, 3, H, W] in [0, 1] (None when reading) and return the state after."""
        quality = self.coded_quality(choice, state.batch)
        if choice.kind is FrameKind.INTRA:
            picture = self.intra.code(frame, state.grid, quality, coder)
            return replace(state, picture=picture, feature=None, positions=None)
        positions = quality + LEVEL_OFFSETS[choice.level]
        reference = self.extractor(self._adapt(state, refresh=choice.refresh))
        context = self.context_extractor(reference)
        y = None if frame is None else self._analyse(frame, context, positions)
        y_hat = self.prior.code(y, reference, positions, coder)
        decoded = self.decoder(torch.cat((self.up(y_hat), context), 1))
        feature = decoded * self.decoder_bank(positions)
        return replace(state, picture=None, feature=feature, positions=positions)

    def render(self, state: ImplicitState) -> Tensor:
        """Return the picture [B, 3, H, W] that `state` stands for, unclamped."""
        if state.feature is None or state.positions is None:
            if state.picture is None:
                raise ValueError("no frame was coded yet")
            return state.picture
        patches = self.recon(state.feature) * self.recon_bank(state.positions)
        return unpatchify(self.head(patches))

    def _adapt(self, state: ImplicitState, *, refresh: bool) -> Tensor:
        if state.feature is None or refresh:
            adapted: Tensor = self.picture_adaptor(patchify(self.render(state).clamp(0.0, 1.0)))
        else:
            adapted = self.feature_adaptor(state.feature)
        return adapted

    def _analyse(self, frame: Tensor, context: Tensor, positions: Tensor) -> Tensor:
        merged = self.encoder(torch.cat((self.embed(patchify(frame)), context), 1))
        y: Tensor = self.down(merged * self.encoder_bank(positions))
        return y
