"""DynamicDVC: routes of different widths through one slimmable autoencoder.

"Learned Rate Control for Frame-Level Adaptive Neural Video Compression via Dynamic Neural
Network", ECCV 2024. docs/decisions/0008 tells what the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from neuvid.choice import QUALITIES, FrameChoice
from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import FactorisedPrior
from neuvid.models.agent import AgentConfig, RateAgent, bits_of
from neuvid.models.motion_contexts import (
    MotionContextConfig,
    MotionContextModel,
    MotionContextState,
    ScaleRange,
    full_unet,
    halving,
)
from neuvid.nn.blocks import PATCH, Shuffle, SignalConv
from neuvid.nn.contexts import Contexts
from neuvid.nn.gated_blocks import STEEP_SLOPE, SummingBlock
from neuvid.nn.slimmable import Slimmable
from neuvid.nn.warp import warp
from neuvid.priors.channelwise import ChannelwisePrior
from neuvid.priors.conditional import StridedHyperprior

ROUTES = 4
STEP_ROWS = 4  # of the banks of quantiser steps, evenly spread over the qualities


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicConfig(MotionContextConfig):
    """Widths of the video model; the defaults have the size that the paper gives.

    `feature_channels` are those at the full resolution, 1/2 and 1/4, the same on all routes.
    Those at the full resolution, 1/2, 1/4 and 1/16 inside the autoencoder go by route.
    """

    agent: AgentConfig = field(default_factory=AgentConfig)
    full_channels: tuple[int, ...] = (16, 32, 48, 48)
    half_channels: tuple[int, ...] = (40, 80, 96, 128)
    quarter_channels: tuple[int, ...] = (64, 96, 128, 160)
    latent_channels: tuple[int, ...] = (24, 48, 72, 96)
    temporal_channels: int = 128
    prior_channels: int = 256


class FrameEncoder(nn.Module):
    """A frame to its latent on one route, given contexts."""

    def __init__(self, config: DynamicConfig, route: int) -> None:
        super().__init__()
        fine, middle, coarse = config.feature_channels
        half, quarter = config.half_channels[route], config.quarter_channels[route]
        self.embed = halving(3 + fine, half)
        self.merge = SummingBlock(middle + half, middle + half)
        self.scale = ScaleRange()
        self.down = halving(middle + half, quarter)
        self.encoder = nn.Sequential(
            SummingBlock(coarse + quarter, coarse + quarter),
            halving(coarse + quarter, quarter),
            halving(quarter, config.latent_channels[route]),
        )

    def forward(
        self, frame: Tensor, positions: Tensor, fine: Tensor, middle: Tensor, coarse: Tensor
    ) -> Tensor:
        """Return the latent [B, L, H/16, W/16] of a frame [B, 3, H, W]."""
        embedded = self.embed(torch.cat((frame, fine), 1))
        half = self.merge(torch.cat((middle, embedded), 1)) * self.scale(positions)
        latent: Tensor = self.encoder(torch.cat((coarse, self.down(half)), 1))
        return latent


class FrameDecoder(nn.Module):
    """A latent on one route to the feature that the next frame gets, given contexts."""

    def __init__(self, config: DynamicConfig, route: int) -> None:
        super().__init__()
        fine, middle, coarse = config.feature_channels
        full, half = config.full_channels[route], config.half_channels[route]
        quarter = config.quarter_channels[route]
        self.up = nn.Sequential(
            Shuffle(config.latent_channels[route], quarter, kernel=3),
            Shuffle(quarter, quarter, kernel=3),
        )
        self.decoder = nn.Sequential(
            SummingBlock(coarse + quarter, coarse + quarter),
            Shuffle(coarse + quarter, half, kernel=3),
        )
        self.scale = ScaleRange()
        self.merge = nn.Sequential(
            SummingBlock(middle + half, middle + half),
            Shuffle(middle + half, full, kernel=3),
        )
        self.recon = SignalConv(fine + full, fine, 3, padding=1)

    def forward(
        self, latent: Tensor, positions: Tensor, fine: Tensor, middle: Tensor, coarse: Tensor
    ) -> Tensor:
        """Return the feature [B, C, H, W]."""
        half = self.decoder(torch.cat((coarse, self.up(latent)), 1)) * self.scale(positions)
        full = self.merge(torch.cat((middle, half), 1))
        feature: Tensor = self.recon(torch.cat((fine, full), 1))
        return feature


class DynamicModel(MotionContextModel[MotionContextState]):
    """Motion and contexts as in DCVC-FM, and a frame's autoencoder of one width for each route."""

    routes = ROUTES
    has_agent = True
    ladder: Tensor  # [4] float32: the highest quality that each route is meant for

    def __init__(self, config: DynamicConfig) -> None:
        super().__init__(config)
        self.config: DynamicConfig = config
        self.register_buffer("ladder", torch.full((ROUTES,), QUALITIES - 1.0))
        fine, _, coarse = config.feature_channels
        temporal, hyper = config.temporal_channels, config.hyper_channels
        self.encoder = Slimmable(partial(FrameEncoder, config), ROUTES)
        self.temporal = nn.Sequential(
            halving(coarse, coarse), nn.LeakyReLU(STEEP_SLOPE), halving(coarse, temporal)
        )
        z_prior = FactorisedPrior(1, hyper)
        self.prior = ChannelwisePrior(
            StridedHyperprior(config.latent_channels[-1], hyper, hyper, z_prior),
            config.latent_channels,
            known_channels=temporal + hyper,
            width=config.prior_channels,
            rows=STEP_ROWS,
        )
        self.decoder = Slimmable(partial(FrameDecoder, config), ROUTES)
        self.recon = nn.Sequential(full_unet(fine), full_unet(fine))
        self.agent = RateAgent(config.agent, ROUTES)

    def route_ladder(self) -> tuple[float, ...]:
        """Return the highest quality that each route is meant for; the last is for all."""
        return tuple(self.ladder.tolist())

    def initial_state(self, height: int, width: int, batch: int = 1) -> MotionContextState:
        """Return the state before the first frame of height x width, multiples of 16."""
        return MotionContextState(height, width, batch)

    def code_in_contexts(
        self,
        frame: Tensor | None,
        contexts: Contexts,
        state: MotionContextState,
        quality: Tensor,
        route: int,
        coder: LatentCoder,
    ) -> MotionContextState:
        """Return the state with the picture and feature of a frame, coded at qualities [B]."""
        y = None if frame is None else self.encoder(route, frame, quality, *contexts)
        rows = quality * ((STEP_ROWS - 1) / (QUALITIES - 1))
        temporal = self.temporal(contexts[-1])
        y_hat = self.prior.code(y, temporal, rows, coder, route=route)
        feature = self.recon(self.decoder(route, y_hat, quality, *contexts))
        return replace(state, picture=self.head(feature), feature=feature)

    def foresee(self, frame: Tensor, state: MotionContextState) -> Callable[[FrameChoice], Tensor]:
        """Return what tells the bits [B] that a choice for an inter frame is expected to take."""
        reference = self.render(state).clamp(0.0, 1.0)
        motion = self.estimator(frame, reference)
        prediction = warp(reference, motion)
        foreseen = self.agent(frame, prediction, avg_pool2d(motion, PATCH))
        return lambda choice: bits_of(foreseen, choice, self.coded_quality(choice, state.batch))
