"""The motion family at the scale of a processor: coded block motion, and all else at 1/8.

After DCVC-FM ("Neural Video Compression with Feature Modulation", CVPR 2024): a coded motion
field, contexts moved along it, quality by learned scalers that are interpolated as logarithms,
features that can be refreshed from the reconstruction. docs/decisions/0006 tells what differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from neuvid.choice import FrameChoice, FrameKind
from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import SCALE_MIN
from neuvid.lagrangian import LambdaRange
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
    Shuffle,
    SignalPointwise,
    StepBank,
    blocks,
    patchify,
    unpatchify,
)
from neuvid.nn.motion import compensate_features, compensate_picture
from neuvid.nn.rounding import lower_bound
from neuvid.priors.checkerboard import FOUR_STEPS, code_in_steps, skipping_laplace

ROOT_MIN = math.sqrt(SCALE_MIN)
TRANSFORM_CHANNELS = 96  # degrees of freedom of 8x8 pixels of 4:2:0 video


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridConfig(ModelConfig):
    """Widths and depths; the numbers of blocks include the first, which merges two maps."""

    intra: IntraConfig = field(default_factory=IntraConfig)
    feature_channels: int = 128
    activity_channels: int = 16
    prior_channels: int = 96
    motion_channels: int = 64
    context_blocks: int = 2
    fusion_blocks: int = 1
    decoder_blocks: int = 2
    recon_blocks: int = 1


@dataclass(frozen=True, slots=True)
class HybridState(State):
    """`feature` and `vectors` are those of the last inter frame, None after an intra frame."""

    feature: Tensor | None = None  # [B, C, H/8, W/8]
    vectors: Tensor | None = None  # [B, 2, H/8, W/8] in pixels


class HybridPrior(nn.Module):
    """Laws of the transformed residual: from activity and the context, then from its own parts.

    From the second step on, networks see how large the coefficients are that are already coded.
    """

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        feature, width = config.feature_channels, config.prior_channels
        self.activity = Shuffle(ACTIVITY_VALUES, config.activity_channels)
        self.bank = StepBank(ANCHORS, feature + config.activity_channels)
        self.fusion = nn.Sequential(
            DepthConvBlock(feature + config.activity_channels, width),
            *blocks(config.fusion_blocks - 1, width),
        )
        self.adaptors = nn.ModuleList(
            DepthConvBlock(TRANSFORM_CHANNELS + width, width) for _ in FOUR_STEPS[1:]
        )
        self.laws = nn.ModuleList(
            SignalPointwise(width, 2 * TRANSFORM_CHANNELS) for _ in FOUR_STEPS
        )
        self.encoder_steps = StepBank(ANCHORS, TRANSFORM_CHANNELS)
        self.decoder_steps = StepBank(ANCHORS, TRANSFORM_CHANNELS)

    def code(
        self,
        y: Tensor | None,
        activity: Tensor,
        context: Tensor,
        positions: Tensor,
        coder: LatentCoder,
    ) -> Tensor:
        """Code y [B, 96, h, w] (None when reading), given a context [B, F, h, w]."""
        known = torch.cat((context, self.activity(activity)), 1) * self.bank(positions)
        fused = self.fusion(known)

        def parameters(step: int, coded: Tensor) -> tuple[Tensor, Tensor]:
            features = fused
            if step:
                size = coded.abs()
                features = self.adaptors[step - 1](torch.cat((fused, size / (size + 1.0)), 1))
            roots, means = self.laws[step](features).chunk(2, 1)
            return lower_bound(roots, ROOT_MIN).square(), means

        values = None if y is None else y / self.encoder_steps(positions)
        start = torch.zeros_like(context[:, :1]).expand(-1, TRANSFORM_CHANNELS, -1, -1)
        coded = code_in_steps(values, FOUR_STEPS, parameters, start, coder, law=skipping_laplace)
        y_hat: Tensor = coded * self.decoder_steps(positions)
        return y_hat


class HybridModel(VideoModel[HybridState]):
    """An intra model, a motion coder, and a transform coder of what motion leaves.

    The transform is an orthonormal one, so that quantisation weighs errors of pixels against bits.
    Networks foresee the laws of its coefficients and filter what comes out.
    """

    inter_lambdas = LambdaRange(5, 1024)

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        self.config: HybridConfig = config
        width = config.feature_channels
        self.intra: IntraModel = IntraModel(config.intra)
        self.picture_adaptor = SignalPointwise(PATCH_VALUES, width)
        self.motion = MotionCoder(width, config.motion_channels)
        self.embed_prediction = SignalPointwise(PATCH_VALUES, width)
        self.context = nn.Sequential(
            DepthConvBlock(2 * width, width), *blocks(config.context_blocks - 1, width)
        )
        self.analysis = SignalPointwise(PATCH_VALUES, TRANSFORM_CHANNELS)
        self.prior = HybridPrior(config)
        self.synthesis = SignalPointwise(TRANSFORM_CHANNELS, PATCH_VALUES)
        self.decoder = nn.Sequential(
            DepthConvBlock(width + TRANSFORM_CHANNELS, width),
            *blocks(config.decoder_blocks - 1, width),
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
        y = None if frame is None else self.analysis(patchify(frame - prediction))
        y_hat = self.prior.code(y, motion.activity, context, positions, coder)
        decoded = self.decoder(torch.cat((context, y_hat), 1))
        feature = decoded * self.decoder_bank(positions)
        # Still content passes as it is; the filter adds to what a transform codec would show.
        change = self.synthesis(y_hat) + self.head(self.recon(feature))
        picture = prediction + unpatchify(change)
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
