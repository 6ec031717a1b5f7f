"""The motion family at the scale of a processor: coded block motion, and all else at 1/8.

After DCVC-FM ("Neural Video Compression with Feature Modulation", CVPR 2024): a coded motion
field, contexts moved along it, quality by learned scalers that are interpolated as logarithms,
features that can be refreshed from the reconstruction. docs/decisions/0006 tells what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from neuvid.choice import FrameChoice, FrameKind
from neuvid.entropy.coder import LatentCoder
from neuvid.models.base import ModelConfig, State, VideoModel, quality_positions
from neuvid.models.block_motion import (
    ACTIVITY_VALUES,
    ANCHORS,
    MotionCoder,
    bank_positions,
    find_motion,
)
from neuvid.models.intra import PATCH_VALUES, IntraConfig, IntraModel
from neuvid.nn.blocks import (
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
from neuvid.nn.motion import compensate_features, compensate_picture
from neuvid.nn.rounding import lower_bound
from neuvid.priors.checkerboard import TWO_STEPS, code_in_steps, skipping_laplace

QUANT_STEP_MIN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridConfig(ModelConfig):
    """Widths and depths; the numbers of blocks include the first, which merges two maps."""

    intra: IntraConfig = field(default_factory=IntraConfig)
    feature_channels: int = 128
    latent_channels: int = 128
    activity_channels: int = 32
    temporal_channels: int = 96
    spatial_channels: int = 128
    motion_channels: int = 64
    context_blocks: int = 2
    encoder_blocks: int = 2
    decoder_blocks: int = 2
    recon_blocks: int = 1
    fusion_blocks: int = 1


@dataclass(frozen=True, slots=True)
class HybridState(State):
    """`feature` and `vectors` are those of the last inter frame, None after an intra frame."""

    feature: Tensor | None = None  # [B, C, H/8, W/8]
    vectors: Tensor | None = None  # [B, 2, H/8, W/8] in pixels


class HybridPrior(nn.Module):
    """Laws of the inter latent: from activity, the context, and in the second step neighbours."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        latent = config.latent_channels
        self.activity = SignalPointwise(ACTIVITY_VALUES, config.activity_channels)
        self.temporal = Down(config.feature_channels, config.temporal_channels)
        width = config.activity_channels + config.temporal_channels
        self.fusion = nn.Sequential(
            *blocks(config.fusion_blocks, width), SignalPointwise(width, 3 * latent)
        )
        self.spatial = nn.Sequential(
            DepthConvBlock(4 * latent, config.spatial_channels),
            SignalPointwise(config.spatial_channels, 2 * latent),
        )
        self.encoder_steps = StepBank(ANCHORS, latent)
        self.decoder_steps = StepBank(ANCHORS, latent)

    def code(
        self,
        y: Tensor | None,
        activity: Tensor,
        context: Tensor,
        positions: Tensor,
        coder: LatentCoder,
    ) -> Tensor:
        """Code y [B, C, h, w] (None when reading), given a context [B, F, 2h, 2w]."""
        unit = self.decoder_steps(positions)
        scaled = None if y is None else y / self.encoder_steps(positions)
        params = self.fusion(torch.cat((self.activity(activity), self.temporal(context)), 1))
        quant_step, first_scales, first_means = params.chunk(3, 1)
        quant_step = lower_bound(quant_step, QUANT_STEP_MIN)

        def parameters(step: int, coded: Tensor) -> tuple[Tensor, Tensor]:
            if step == 0:
                scales, means = first_scales, first_means
            else:
                scales, means = self.spatial(torch.cat((coded * unit, params), 1)).chunk(2, 1)
            return scales / unit, means / unit

        values = None if scaled is None else scaled / quant_step
        start = torch.zeros_like(quant_step)
        coded = code_in_steps(values, TWO_STEPS, parameters, start, coder, law=skipping_laplace)
        y_hat: Tensor = coded * (quant_step * unit)
        return y_hat


class HybridModel(VideoModel[HybridState]):
    """An intra model, a motion coder and a contextual coder of what motion leaves."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        self.config: HybridConfig = config
        width, latent = config.feature_channels, config.latent_channels
        self.intra: IntraModel = IntraModel(config.intra)
        self.picture_adaptor = SignalPointwise(PATCH_VALUES, width)
        self.motion = MotionCoder(width, config.motion_channels)
        self.embed = SignalPointwise(PATCH_VALUES, width)
        self.embed_prediction = SignalPointwise(PATCH_VALUES, width)
        self.context = nn.Sequential(
            DepthConvBlock(2 * width, width), *blocks(config.context_blocks - 1, width)
        )
        self.encoder = nn.Sequential(
            DepthConvBlock(2 * width, width), *blocks(config.encoder_blocks - 1, width)
        )
        self.encoder_bank = StepBank(ANCHORS, width)
        self.down = SignalConv(width, latent, 3, stride=2, padding=1)
        self.prior = HybridPrior(config)
        self.up = Shuffle(latent, width)
        self.decoder = nn.Sequential(
            DepthConvBlock(2 * width, width), *blocks(config.decoder_blocks - 1, width)
        )
        self.decoder_bank = StepBank(ANCHORS, width)
        self.recon = nn.Sequential(*blocks(config.recon_blocks, width))
        self.head = SignalPointwise(width, PATCH_VALUES)

    def initial_state(self, height: int, width: int, batch: int = 1) -> HybridState:
        """Return the state before the first frame of height x width, multiples of 16."""
        return HybridState(height, width, batch)

    def code_frame(
        self, frame: Tensor | None, state: HybridState, choice: FrameChoice, coder: LatentCoder
    ) -> HybridState:
        """Code one frame [B, 3, H, W] in [0, 1] (None when reading) and return the state after."""
        quality = quality_positions(choice, state.batch, self.decoder_bank.vectors)
        if choice.kind is FrameKind.INTRA:
            picture = self.intra.code(frame, state.grid, quality, coder).clamp(0.0, 1.0)
            return replace(state, picture=picture, feature=None, vectors=None)
        if state.picture is None:
            raise ValueError("no frame was coded yet")
        positions = bank_positions(quality, choice.level)
        feature = state.feature
        if feature is None or choice.refresh:
            feature = self.picture_adaptor(patchify(state.picture))
        last = state.vectors
        if last is None:
            last = torch.zeros_like(feature[:, :2])
        found = None if frame is None else find_motion(frame, state.picture, positions)
        motion = self.motion.code(found, last, feature, positions, coder)
        prediction = compensate_picture(state.picture, motion.vectors)
        context = self._context(prediction, compensate_features(feature, motion.vectors))
        y = None if frame is None else self._analyse(frame - prediction, context, positions)
        y_hat = self.prior.code(y, motion.activity, context, positions, coder)
        decoded = self.decoder(torch.cat((self.up(y_hat), context), 1))
        feature = decoded * self.decoder_bank(positions)
        # What motion leaves is added to its prediction: still content passes as it is.
        picture = prediction + unpatchify(self.head(self.recon(feature)))
        picture = picture.clamp(0.0, 1.0)
        return replace(state, picture=picture, feature=feature, vectors=motion.vectors)

    def render(self, state: HybridState) -> Tensor:
        """Return the picture [B, 3, H, W] in [0, 1] that `state` stands for."""
        if state.picture is None:
            raise ValueError("no frame was coded yet")
        return state.picture

    def _context(self, prediction: Tensor, feature: Tensor) -> Tensor:
        predicted = self.embed_prediction(patchify(prediction))
        context: Tensor = self.context(torch.cat((predicted, feature), 1))
        return context

    def _analyse(self, residual: Tensor, context: Tensor, positions: Tensor) -> Tensor:
        merged = self.encoder(torch.cat((self.embed(patchify(residual)), context), 1))
        y: Tensor = self.down(merged * self.encoder_bank(positions))
        return y
