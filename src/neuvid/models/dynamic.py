"""DynamicDVC: routes of different widths through one slimmable autoencoder.

"Learned Rate Control for Frame-Level Adaptive Neural Video Compression via Dynamic Neural
Network", ECCV 2024. docs/decisions/0008 tells what the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from neuvid.choice import QUALITIES, FrameChoice, FrameKind
from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import LAW_ROWS, FactorisedPrior
from neuvid.models.agent import AgentConfig, RateAgent, bits_of
from neuvid.models.base import ModelConfig, State, VideoModel
from neuvid.models.motion import MotionTransform, ScaleRange
from neuvid.models.picture import PictureConfig, PictureModel
from neuvid.nn.blocks import PATCH, Shuffle, SignalConv, SignalPointwise
from neuvid.nn.contexts import ContextExtractor
from neuvid.nn.flow import MotionEstimator
from neuvid.nn.gated_blocks import STEEP_SLOPE, SummingBlock, UNet
from neuvid.nn.slimmable import Slimmable
from neuvid.nn.warp import warp
from neuvid.priors.channelwise import ChannelwisePrior
from neuvid.priors.conditional import ConditionalPrior, StridedHyperprior

LEVELS = 3  # of the quality pattern
ROUTES = 4
STEP_ROWS = 4  # of the banks of quantiser steps, evenly spread over the qualities


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicConfig(ModelConfig):
    """Widths of the video model; the defaults have the size that the paper gives.

    `feature_channels` are those at the full resolution, 1/2 and 1/4, the same on all routes.
    Those at the full resolution, 1/2, 1/4 and 1/16 inside the autoencoder go by route.
    """

    intra: PictureConfig = field(default_factory=PictureConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    feature_channels: tuple[int, int, int] = (48, 64, 96)
    full_channels: tuple[int, ...] = (16, 32, 48, 48)
    half_channels: tuple[int, ...] = (40, 80, 96, 128)
    quarter_channels: tuple[int, ...] = (64, 96, 128, 160)
    latent_channels: tuple[int, ...] = (24, 48, 72, 96)
    motion_channels: int = 64
    hyper_channels: int = 64
    temporal_channels: int = 128
    prior_channels: int = 256


@dataclass(frozen=True, slots=True)
class DynamicState(State):
    """The last `picture`, and after an inter frame what else it leaves to the next one."""

    feature: Tensor | None = None  # [B, C, H, W]
    motion_feature: Tensor | None = None  # [B, M, H/4, W/4]
    motion_latent: Tensor | None = None  # [B, M, H/16, W/16]


class FrameEncoder(nn.Module):
    """A frame to its latent on one route, given contexts."""

    def __init__(self, config: DynamicConfig, route: int) -> None:
        super().__init__()
        fine, middle, coarse = config.feature_channels
        half, quarter = config.half_channels[route], config.quarter_channels[route]
        self.embed = _down(3 + fine, half)
        self.merge = SummingBlock(middle + half, middle + half)
        self.scale = ScaleRange()
        self.down = _down(middle + half, quarter)
        self.encoder = nn.Sequential(
            SummingBlock(coarse + quarter, coarse + quarter),
            _down(coarse + quarter, quarter),
            _down(quarter, config.latent_channels[route]),
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


class DynamicModel(VideoModel[DynamicState]):
    """Motion and contexts as in DCVC-FM, and a frame's autoencoder of one width for each route."""

    routes = ROUTES
    has_agent = True
    ladder: Tensor  # [4] float32: the highest quality that each route is meant for
    integer_arithmetic = False
    refresh_period = 32

    def __init__(self, config: DynamicConfig) -> None:
        super().__init__()
        self.config: DynamicConfig = config
        self.register_buffer("ladder", torch.full((ROUTES,), QUALITIES - 1.0))
        fine, _, coarse = config.feature_channels
        temporal, hyper = config.temporal_channels, config.hyper_channels
        motion_row = LAW_ROWS + QUALITIES * config.intra.hyper_channels
        self.intra: PictureModel = PictureModel(config.intra, first_row=LAW_ROWS)
        self.estimator = MotionEstimator()
        self.motion_transform = MotionTransform(config.motion_channels)
        self.motion_prior = ConditionalPrior(config.motion_channels, hyper, 0, first_row=motion_row)
        self.picture_adaptor = SignalConv(3, fine, 3, padding=1)
        self.feature_adaptors = nn.ModuleList(SignalPointwise(fine, fine) for _ in range(LEVELS))
        self.contexts = ContextExtractor(config.feature_channels)
        self.encoder = Slimmable(partial(FrameEncoder, config), ROUTES)
        self.temporal = nn.Sequential(
            _down(coarse, coarse), nn.LeakyReLU(STEEP_SLOPE), _down(coarse, temporal)
        )
        z_prior = FactorisedPrior(1, hyper, first_row=motion_row + hyper)
        self.prior = ChannelwisePrior(
            StridedHyperprior(config.latent_channels[-1], hyper, hyper, z_prior),
            config.latent_channels,
            known_channels=temporal + hyper,
            width=config.prior_channels,
            rows=STEP_ROWS,
        )
        self.decoder = Slimmable(partial(FrameDecoder, config), ROUTES)
        self.recon = nn.Sequential(_unet(fine), _unet(fine))
        self.head = SignalConv(fine, 3, 3, padding=1)
        self.agent = RateAgent(config.agent, ROUTES)

    def route_ladder(self) -> tuple[float, ...]:
        """Return the highest quality that each route is meant for; the last is for all."""
        return tuple(self.ladder.tolist())

    def initial_state(self, height: int, width: int, batch: int = 1) -> DynamicState:
        """Return the state before the first frame of height x width, multiples of 16."""
        return DynamicState(height, width, batch)

    def code_frame(
        self, frame: Tensor | None, state: DynamicState, choice: FrameChoice, coder: LatentCoder
    ) -> DynamicState:
        """Code one frame [B, 3, H, W] in [0, 1] (None when reading) and return the state after."""
        quality = self.coded_quality(choice, state.batch)
        size = state.height, state.width, state.batch
        if choice.kind is FrameKind.INTRA:
            picture = self.intra.code(frame, state.grid, quality, coder)
            return DynamicState(*size, picture=picture)
        reference = self.render(state).clamp(0.0, 1.0)
        motion_latent = self._code_motion(frame, reference, state, quality, coder)
        motion_feature, motion = self.motion_transform.synthesise(motion_latent, quality)
        contexts = self.contexts(self._adapt(reference, state, choice), reference, motion)
        y = None if frame is None else self.encoder(choice.route, frame, quality, *contexts)
        rows = quality * ((STEP_ROWS - 1) / (QUALITIES - 1))
        temporal = self.temporal(contexts[-1])
        y_hat = self.prior.code(y, temporal, rows, coder, route=choice.route)
        feature = self.recon(self.decoder(choice.route, y_hat, quality, *contexts))
        return DynamicState(*size, self.head(feature), feature, motion_feature, motion_latent)

    def render(self, state: DynamicState) -> Tensor:
        """Return the picture [B, 3, H, W] that `state` stands for, unclamped."""
        if state.picture is None:
            raise ValueError("no frame was coded yet")
        return state.picture

    def foresee(self, frame: Tensor, state: DynamicState) -> Callable[[FrameChoice], Tensor]:
        """Return what tells the bits [B] that a choice for an inter frame is expected to take."""
        reference = self.render(state).clamp(0.0, 1.0)
        motion = self.estimator(frame, reference)
        prediction = warp(reference, motion)
        foreseen = self.agent(frame, prediction, avg_pool2d(motion, PATCH))
        return lambda choice: bits_of(foreseen, choice, self.coded_quality(choice, state.batch))

    def _code_motion(
        self,
        frame: Tensor | None,
        reference: Tensor,
        state: DynamicState,
        quality: Tensor,
        coder: LatentCoder,
    ) -> Tensor:
        y = None
        if frame is not None:
            motion = self.estimator(frame, reference)
            y = self.motion_transform.analyse(motion, state.motion_feature, quality)
        nothing = reference.new_empty(state.batch, 0, *state.grid)
        return self.motion_prior.code(y, nothing, state.motion_latent, coder)

    def _adapt(self, reference: Tensor, state: DynamicState, choice: FrameChoice) -> Tensor:
        if state.feature is None or choice.refresh:
            adapted: Tensor = self.picture_adaptor(reference)
        else:
            adapted = self.feature_adaptors[choice.level](state.feature)
        return adapted


def _down(in_channels: int, out_channels: int) -> nn.Module:
    return SignalConv(in_channels, out_channels, 3, stride=2, padding=1)


def _unet(channels: int) -> nn.Module:
    return UNet(channels, channels, block=SummingBlock, down=lambda _: nn.MaxPool2d(2))
