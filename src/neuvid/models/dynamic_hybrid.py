"""The family with routes at the scale of a processor: coded block motion, all networks at 1/8.

After DynamicDVC ("Learned Rate Control for Frame-Level Adaptive Neural Video Compression via
Dynamic Neural Network", ECCV 2024), on the motion of the hybrid model. docs/decisions/0008 tells
what differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from neuvid.choice import QUALITIES, FrameChoice, FrameKind
from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import LAW_ROWS, FactorisedPrior
from neuvid.models.agent import AgentConfig, RateAgent, bits_of
from neuvid.models.base import ModelConfig, State, VideoModel, quality_positions
from neuvid.models.block_motion import ANCHORS, MotionCoder, bank_positions, find_motion
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
from neuvid.nn.slimmable import Slimmable
from neuvid.priors.channelwise import ChannelwisePrior
from neuvid.priors.hyperprior import Hyperprior

ROUTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicHybridConfig(ModelConfig):
    """Widths and depths; the numbers of blocks include the first, which merges two maps.

    `route_channels` are those inside the autoencoder, `latent_channels` those coded, by route.
    """

    intra: IntraConfig = field(default_factory=IntraConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    feature_channels: int = 128
    route_channels: tuple[int, ...] = (80, 96, 112, 128)
    latent_channels: tuple[int, ...] = (24, 48, 72, 96)
    hyper_channels: int = 32
    temporal_channels: int = 96
    prior_channels: int = 96
    motion_channels: int = 64
    context_blocks: int = 2
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    recon_blocks: int = 1


@dataclass(frozen=True, slots=True)
class DynamicHybridState(State):
    """`feature` and `vectors` are those of the last inter frame, None after an intra frame."""

    feature: Tensor | None = None  # [B, C, H/8, W/8]
    vectors: Tensor | None = None  # [B, 2, H/8, W/8] in pixels


class ResidualEncoder(nn.Module):
    """What motion leaves of a frame to its latent on one route, given a context."""

    def __init__(self, config: DynamicHybridConfig, route: int) -> None:
        super().__init__()
        width = config.route_channels[route]
        self.embed = SignalPointwise(PATCH_VALUES, width)
        self.blocks = nn.Sequential(
            DepthConvBlock(config.feature_channels + width, width),
            *blocks(config.encoder_blocks - 1, width),
        )
        self.bank = StepBank(ANCHORS, width)
        self.down = SignalConv(width, config.latent_channels[route], 3, stride=2, padding=1)

    def forward(self, patches: Tensor, context: Tensor, positions: Tensor) -> Tensor:
        """Return the latent [B, L, H/16, W/16] of patches [B, 192, H/8, W/8]."""
        merged = self.blocks(torch.cat((context, self.embed(patches)), 1))
        y: Tensor = self.down(merged * self.bank(positions))
        return y


class FeatureDecoder(nn.Module):
    """A latent on one route to a feature of full width, given a context."""

    def __init__(self, config: DynamicHybridConfig, route: int) -> None:
        super().__init__()
        feature, width = config.feature_channels, config.route_channels[route]
        self.up = Shuffle(config.latent_channels[route], width)
        self.blocks = nn.Sequential(
            DepthConvBlock(feature + width, width), *blocks(config.decoder_blocks - 1, width)
        )
        self.merge = SignalPointwise(feature + width, feature)

    def forward(self, y_hat: Tensor, context: Tensor) -> Tensor:
        """Return [B, F, H/8, W/8] of a latent [B, L, H/16, W/16]."""
        decoded = self.blocks(torch.cat((context, self.up(y_hat)), 1))
        feature: Tensor = self.merge(torch.cat((context, decoded), 1))
        return feature


class DynamicHybridModel(VideoModel[DynamicHybridState]):
    """An intra model, a motion coder, and a coder of one width a route for what motion leaves."""

    routes = ROUTES
    ladder: Tensor  # [4] float32: the highest quality that each route is meant for

    def __init__(self, config: DynamicHybridConfig) -> None:
        super().__init__()
        self.config: DynamicHybridConfig = config
        self.register_buffer("ladder", torch.full((ROUTES,), QUALITIES - 1.0))
        width, hyper = config.feature_channels, config.hyper_channels
        self.intra: IntraModel = IntraModel(config.intra)
        self.picture_adaptor = SignalPointwise(PATCH_VALUES, width)
        self.motion = MotionCoder(width, config.motion_channels)
        self.embed_prediction = SignalPointwise(PATCH_VALUES, width)
        self.context = nn.Sequential(
            DepthConvBlock(2 * width, width), *blocks(config.context_blocks - 1, width)
        )
        self.encoder = Slimmable(partial(ResidualEncoder, config), ROUTES)
        self.temporal = Down(width, config.temporal_channels)
        first_row = LAW_ROWS + QUALITIES * config.intra.hyper_channels
        z_prior = FactorisedPrior(ANCHORS, hyper, first_row=first_row)
        self.prior = ChannelwisePrior(
            Hyperprior(config.latent_channels[-1], hyper, hyper, z_prior),
            config.latent_channels,
            known_channels=config.temporal_channels + hyper,
            width=config.prior_channels,
            rows=ANCHORS,
        )
        self.decoder = Slimmable(partial(FeatureDecoder, config), ROUTES)
        self.decoder_bank = StepBank(ANCHORS, width)
        self.recon = nn.Sequential(*blocks(config.recon_blocks, width))
        self.head = SignalPointwise(width, PATCH_VALUES)
        self.agent = RateAgent(config.agent, ROUTES)

    def route_ladder(self) -> tuple[float, ...]:
        """Return the highest quality that each route is meant for; the last is for all."""
        return tuple(self.ladder.tolist())

    def initial_state(self, height: int, width: int, batch: int = 1) -> DynamicHybridState:
        """Return the state before the first frame of height x width, multiples of 16."""
        return DynamicHybridState(height, width, batch)

    def code_frame(
        self,
        frame: Tensor | None,
        state: DynamicHybridState,
        choice: FrameChoice,
        coder: LatentCoder,
    ) -> DynamicHybridState:
        """Code one frame [B, 3, H, W] in [0, 1] (None when reading) and return the state after."""
        quality = quality_positions(choice, state.batch, self.decoder_bank.vectors)
        if choice.kind is FrameKind.INTRA:
            picture = self.intra.code(frame, state.grid, quality, coder).clamp(0.0, 1.0)
            return replace(state, picture=picture, feature=None, vectors=None)
        reference, route = self.render(state), choice.route
        positions = bank_positions(quality, choice.level)
        feature = state.feature
        if feature is None or choice.refresh:
            feature = self.picture_adaptor(patchify(reference))
        last = torch.zeros_like(feature[:, :2]) if state.vectors is None else state.vectors
        found = None if frame is None else find_motion(frame, reference, positions)
        vectors = self.motion.code(found, last, feature, positions, coder).vectors
        prediction = compensate_picture(reference, vectors)
        context = self._context(prediction, compensate_features(feature, vectors))
        y = None
        if frame is not None:
            y = self.encoder(route, patchify(frame - prediction), context, positions)
        y_hat = self.prior.code(y, self.temporal(context), positions, coder, route=route)
        feature = self.decoder(route, y_hat, context) * self.decoder_bank(positions)
        picture = prediction + unpatchify(self.head(self.recon(feature)))
        return replace(state, picture=picture.clamp(0.0, 1.0), feature=feature, vectors=vectors)

    def render(self, state: DynamicHybridState) -> Tensor:
        """Return the picture [B, 3, H, W] in [0, 1] that `state` stands for."""
        if state.picture is None:
            raise ValueError("no frame was coded yet")
        return state.picture

    def foresee(self, frame: Tensor, state: DynamicHybridState) -> Callable[[FrameChoice], Tensor]:
        """Return what tells the bits [B] that a choice for an inter frame is expected to take."""
        reference = self.render(state)
        middle = frame.new_full((state.batch,), (ANCHORS - 1) / 2)
        vectors = find_motion(frame, reference, middle).vectors
        return partial(bits_of, self.agent(frame, compensate_picture(reference, vectors), vectors))

    def _context(self, prediction: Tensor, feature: Tensor) -> Tensor:
        predicted = self.embed_prediction(patchify(prediction))
        context: Tensor = self.context(torch.cat((predicted, feature), 1))
        return context
