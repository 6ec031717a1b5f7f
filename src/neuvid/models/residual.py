"""What the small models with motion share: all but the laws of coefficients, and the filter.

A frame is predicted by coded block motion. What that leaves goes through an orthonormal transform
of 8x8 pixels; networks at 1/8 foresee the laws of its coefficients and filter what comes out.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from neuvid.choice import QUALITIES, FrameChoice, FrameKind
from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import SCALE_MIN
from neuvid.lagrangian import LambdaRange
from neuvid.models.base import ModelConfig, State, VideoModel, lead
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
from neuvid.nn.motion import BLOCK, compensate_features, compensate_picture
from neuvid.nn.rounding import lower_bound

INTRA_LEADS = (11.0, 14.0)  # of intra frames, on which chains live, at the ends of the range
ROOT_MIN = math.sqrt(SCALE_MIN)
TRANSFORM_CHANNELS = 96  # degrees of freedom of 8x8 pixels of 4:2:0 video


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualConfig(ModelConfig):
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
class ResidualState(State):
    """`feature` and `vectors` are those of the last inter frame, None after an intra frame."""

    feature: Tensor | None = None  # [B, C, H/8, W/8]
    vectors: Tensor | None = None  # [B, 2, H/8, W/8] in pixels

    def last_vectors(self, like: Tensor) -> Tensor:
        """Return the vectors of the last frame or zeros, as a tensor like another."""
        if self.vectors is not None:
            return self.vectors
        return like.new_zeros(self.batch, 2, self.height // BLOCK, self.width // BLOCK)


@dataclass(frozen=True, slots=True)
class Foreknowledge:
    """What a decoder knows of a frame before its coefficients."""

    context: Tensor  # [B, F, H/8, W/8]
    activity: Tensor  # [B, 2, H/16, W/16], as it is coded
    positions: Tensor  # [B] rows of banks


class Fusion(nn.Module):
    """What priors of the coefficients share: quantiser steps, and features of what is known.

    From the features [B, prior_channels, H/8, W/8] laws are foreseen.
    """

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__()
        known, width = config.feature_channels + config.activity_channels, config.prior_channels
        self.activity = Shuffle(ACTIVITY_VALUES, config.activity_channels)
        self.bank = StepBank(ANCHORS, known)
        self.fusion = nn.Sequential(
            DepthConvBlock(known, width), *blocks(config.fusion_blocks - 1, width)
        )
        self.encoder_steps = StepBank(ANCHORS, TRANSFORM_CHANNELS)
        self.decoder_steps = StepBank(ANCHORS, TRANSFORM_CHANNELS)

    def fuse(self, known: Foreknowledge) -> Tensor:
        """Return the features."""
        maps = torch.cat((known.context, self.activity(known.activity)), 1)
        features: Tensor = self.fusion(maps * self.bank(known.positions))
        return features


def laws_of(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Return scales and means [B, C, h, w] of what a network foresees [B, 2C, h, w]."""
    roots, means = parameters.chunk(2, 1)
    return lower_bound(roots, ROOT_MIN).square(), means


def magnitudes(coefficients: Tensor) -> Tensor:
    """Return how large quantised coefficients are, in 0..1."""
    size = coefficients.abs()
    return size / (size + 1.0)


class ResidualModel(VideoModel[ResidualState], ABC):
    """An intra model, a motion coder, and a transform coder of what motion leaves.

    The transform is an orthonormal one, so that quantisation weighs errors of pixels against bits.
    """

    refresh_period = 48  # of 32, 48, 64 and none the best on chains of 97 frames
    refresh_lead = 14.0
    inter_lambdas = LambdaRange(2.5, 1024)

    def __init__(self, config: ResidualConfig, prior: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        width = config.feature_channels
        self.intra: IntraModel = IntraModel(config.intra)
        self.picture_adaptor = SignalPointwise(PATCH_VALUES, width)
        self.motion = MotionCoder(width, config.motion_channels)
        self.embed_prediction = SignalPointwise(PATCH_VALUES, width)
        self.context = nn.Sequential(
            DepthConvBlock(2 * width, width), *blocks(config.context_blocks - 1, width)
        )
        self.analysis = SignalPointwise(PATCH_VALUES, TRANSFORM_CHANNELS)
        self.prior = prior
        self.synthesis = SignalPointwise(TRANSFORM_CHANNELS, PATCH_VALUES)
        self.decoder = decoder
        self.decoder_bank = StepBank(ANCHORS, width)
        self.recon = nn.Sequential(*blocks(config.recon_blocks, width))
        self.head = SignalPointwise(width, PATCH_VALUES)

    @abstractmethod
    def _code_coefficients(
        self, y: Tensor | None, known: Foreknowledge, route: int, coder: LatentCoder
    ) -> tuple[Tensor, Tensor]:
        """Code y [B, 96, H/8, W/8] (None when reading).

        Returns what the decoder sees of it, and the feature [B, F, H/8, W/8] decoded from it.
        """

    def initial_state(self, height: int, width: int, batch: int = 1) -> ResidualState:
        """Return the state before the first frame of height x width, multiples of 16."""
        return ResidualState(height, width, batch)

    def code_frame(
        self, frame: Tensor | None, state: ResidualState, choice: FrameChoice, coder: LatentCoder
    ) -> ResidualState:
        """Code one frame [B, 3, H, W] in [0, 1] (None when reading) and return the state after."""
        quality = self.coded_quality(choice, state.batch)
        if choice.kind is FrameKind.INTRA:
            low, high = INTRA_LEADS
            led = lead(quality, low + (high - low) / (QUALITIES - 1) * quality)
            picture = self.intra.code(frame, state.grid, led, coder).clamp(0.0, 1.0)
            return replace(state, picture=picture, feature=None, vectors=None)
        reference = self.render(state)
        positions = bank_positions(quality, choice.level)
        feature = state.feature
        if feature is None or choice.refresh:
            feature = self.picture_adaptor(patchify(reference))
        last = state.last_vectors(feature)
        found = None if frame is None else find_motion(frame, reference, last, positions)
        motion = self.motion.code(found, last, feature, positions, coder)
        prediction = compensate_picture(reference, motion.vectors)
        context = self._context(prediction, compensate_features(feature, motion.vectors))
        known = Foreknowledge(context, motion.activity, positions)
        y = None if frame is None else self.analysis(patchify(frame - prediction))
        y_hat, decoded = self._code_coefficients(y, known, choice.route, coder)
        feature = decoded * self.decoder_bank(positions)
        # Still content passes as it is; the filter adds to what a transform codec would show.
        change = self.synthesis(y_hat) + self.head(self.recon(feature))
        picture = (prediction + unpatchify(change)).clamp(0.0, 1.0)
        return replace(state, picture=picture, feature=feature, vectors=motion.vectors)

    def render(self, state: ResidualState) -> Tensor:
        """Return the picture [B, 3, H, W] in [0, 1] that `state` stands for."""
        if state.picture is None:
            raise ValueError("no frame was coded yet")
        return state.picture

    def _context(self, prediction: Tensor, feature: Tensor) -> Tensor:
        predicted = self.embed_prediction(patchify(prediction))
        context: Tensor = self.context(torch.cat((predicted, feature), 1))
        return context
