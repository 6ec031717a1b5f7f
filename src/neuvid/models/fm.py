"""DCVC-FM: inter frames coded on contexts that coded motion moves, at three resolutions.

"Neural Video Compression with Feature Modulation", CVPR 2024.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from neuvid.entropy.coder import LatentCoder
from neuvid.models.motion_contexts import (
    MotionContextConfig,
    MotionContextModel,
    MotionContextState,
    ScaleRange,
    full_unet,
    halving,
)
from neuvid.nn.blocks import Shuffle, SignalConv
from neuvid.nn.contexts import Contexts
from neuvid.nn.gated_blocks import STEEP_SLOPE, SummingBlock
from neuvid.priors.conditional import ConditionalPrior


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionConfig(MotionContextConfig):
    """Widths of the video model; the defaults are those of the paper.

    `latent_channels` are a multiple of 4.
    """

    latent_channels: int = 128
    detail_channels: int = 32


@dataclass(frozen=True, slots=True)
class MotionState(MotionContextState):
    """What a frame leaves to the next one, its latent too."""

    latent: Tensor | None = None  # [B, L, H/16, W/16]


class FrameTransform(nn.Module):
    """A frame to its latent, given contexts, and back to the feature that the next frame gets."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        (fine, middle, coarse), latent = config.feature_channels, config.latent_channels
        detail = config.detail_channels
        self.embed = halving(3 + fine, middle)
        self.encoder_merge = SummingBlock(2 * middle, 2 * middle)
        self.encoder_scale = ScaleRange()
        self.encoder_down = halving(2 * middle, coarse)
        self.encoder = nn.Sequential(
            SummingBlock(2 * coarse, 2 * coarse),
            halving(2 * coarse, coarse),
            halving(coarse, latent),
        )
        self.up = nn.Sequential(
            Shuffle(latent, coarse, kernel=3), Shuffle(coarse, coarse, kernel=3)
        )
        self.decoder = nn.Sequential(
            SummingBlock(2 * coarse, 2 * coarse), Shuffle(2 * coarse, middle, kernel=3)
        )
        self.decoder_scale = ScaleRange()
        self.decoder_merge = nn.Sequential(
            SummingBlock(2 * middle, 2 * middle), Shuffle(2 * middle, detail, kernel=3)
        )
        self.recon = nn.Sequential(
            SignalConv(detail + fine, fine, 3, padding=1), full_unet(fine), full_unet(fine)
        )

    def analyse(self, frame: Tensor, contexts: Contexts, positions: Tensor) -> Tensor:
        """Return the latent [B, L, H/16, W/16] of a frame [B, 3, H, W]."""
        fine, middle, coarse = contexts
        half = self.encoder_merge(torch.cat((self.embed(torch.cat((frame, fine), 1)), middle), 1))
        quarter = self.encoder_down(half * self.encoder_scale(positions))
        latent: Tensor = self.encoder(torch.cat((quarter, coarse), 1))
        return latent

    def synthesise(self, latent: Tensor, contexts: Contexts, positions: Tensor) -> Tensor:
        """Return the feature [B, C, H, W]."""
        fine, middle, coarse = contexts
        half = self.decoder(torch.cat((self.up(latent), coarse), 1))
        half = half * self.decoder_scale(positions)
        detail = self.decoder_merge(torch.cat((half, middle), 1))
        feature: Tensor = self.recon(torch.cat((detail, fine), 1))
        return feature


class MotionModel(MotionContextModel[MotionState]):
    """The walk through motion, contexts and frame (figure 2 of the paper)."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__(config)
        self.config: MotionConfig = config
        _, _, coarse = config.feature_channels
        latent, hyper = config.latent_channels, config.hyper_channels
        self.temporal = nn.Sequential(
            halving(coarse, coarse), nn.LeakyReLU(STEEP_SLOPE), halving(coarse, latent)
        )
        self.prior = ConditionalPrior(latent, hyper, latent)
        self.transform = FrameTransform(config)

    def initial_state(self, height: int, width: int, batch: int = 1) -> MotionState:
        """Return the state before the first frame of height x width, multiples of 16."""
        return MotionState(height, width, batch)

    def code_in_contexts(
        self,
        frame: Tensor | None,
        contexts: Contexts,
        state: MotionState,
        quality: Tensor,
        route: int,
        coder: LatentCoder,
    ) -> MotionState:
        """Return the state with the picture and feature of a frame, coded at qualities [B]."""
        y = None if frame is None else self.transform.analyse(frame, contexts, quality)
        latent = self.prior.code(y, self.temporal(contexts[-1]), state.latent, coder)
        feature = self.transform.synthesise(latent, contexts, quality)
        return replace(state, picture=self.head(feature), feature=feature, latent=latent)
