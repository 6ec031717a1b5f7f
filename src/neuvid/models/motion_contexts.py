"""What DCVC-FM and DynamicDVC have in common: coded motion, and contexts that it moves."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from neuvid.choice import QUALITIES, FrameChoice, FrameKind
from neuvid.entropy.coder import LatentCoder
from neuvid.models.base import ModelConfig, State, VideoModel
from neuvid.models.picture import PictureConfig, PictureModel
from neuvid.nn.blocks import Shuffle, SignalConv, SignalPointwise
from neuvid.nn.contexts import ContextExtractor, Contexts
from neuvid.nn.flow import MotionEstimator
from neuvid.nn.gated_blocks import ResidualDown, ResidualUp, SummingBlock, UNet
from neuvid.priors.conditional import ConditionalPrior


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionContextConfig(ModelConfig):
    """Widths of motion and contexts; the defaults are those of the papers.

    `feature_channels` are those at the full resolution, 1/2 and 1/4; the first is a multiple of
    3. Motion channels are a multiple of 4.
    """

    intra: PictureConfig = field(default_factory=PictureConfig)
    feature_channels: tuple[int, int, int] = (48, 64, 96)
    motion_channels: int = 64
    hyper_channels: int = 64


@dataclass(frozen=True, slots=True)
class MotionContextState(State):
    """The last `picture`, and after an inter frame what else it leaves to the next one."""

    feature: Tensor | None = None  # [B, C, H, W]
    motion_feature: Tensor | None = None  # [B, M, H/4, W/4]
    motion_latent: Tensor | None = None  # [B, M, H/16, W/16]


M = TypeVar("M", bound=MotionContextState)


class ScaleRange(nn.Module):
    """A factor for each quality between two learned ones, even in logarithms (equation 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.logarithms = nn.Parameter(torch.zeros(2))  # at the lowest and the highest quality

    def forward(self, positions: Tensor) -> Tensor:
        """Return factors [B, 1, 1, 1] at qualities [B]."""
        low, high = self.logarithms
        return torch.exp(low + positions * ((high - low) / (QUALITIES - 1)))[:, None, None, None]


class MotionTransform(nn.Module):
    """Motion to its latent, and back to motion and a feature about it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(ResidualDown(2, channels), SummingBlock(channels, channels))
        self.encoder_scale = ScaleRange()
        self.down = ResidualDown(channels, channels)
        self.first_adaptor = SummingBlock(channels, channels)
        self.adaptor = SummingBlock(2 * channels, channels)
        self.encoder = nn.Sequential(
            ResidualDown(channels, channels),
            SummingBlock(channels, channels),
            SignalConv(channels, channels, 3, stride=2, padding=1),
        )
        self.decoder = nn.Sequential(
            SummingBlock(channels, channels),
            ResidualUp(channels, channels),
            SummingBlock(channels, channels),
            ResidualUp(channels, channels),
            SummingBlock(channels, channels),
        )
        self.up = ResidualUp(channels, channels)
        self.decoder_scale = ScaleRange()
        self.head = nn.Sequential(SummingBlock(channels, channels), Shuffle(channels, 2))

    def analyse(self, motion: Tensor, last_feature: Tensor | None, positions: Tensor) -> Tensor:
        """Return the latent [B, C, H/16, W/16] of motion [B, 2, H, W]."""
        embedded = self.down(self.embed(motion) * self.encoder_scale(positions))
        if last_feature is None:
            adapted = self.first_adaptor(embedded)
        else:
            adapted = self.adaptor(torch.cat((embedded, last_feature), 1))
        latent: Tensor = self.encoder(adapted)
        return latent

    def synthesise(self, latent: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return a feature [B, C, H/4, W/4] and motion [B, 2, H, W]."""
        feature: Tensor = self.decoder(latent)
        motion: Tensor = self.head(self.up(feature) * self.decoder_scale(positions))
        return feature, motion


class MotionContextModel(VideoModel[M]):
    """Codes motion and makes contexts of it; families code the frame on these."""

    integer_arithmetic = False
    refresh_period = 32

    def __init__(self, config: MotionContextConfig) -> None:
        super().__init__()
        fine, _, _ = config.feature_channels
        motion, hyper = config.motion_channels, config.hyper_channels
        self.intra: PictureModel = PictureModel(config.intra)
        self.estimator = MotionEstimator()
        self.motion_transform = MotionTransform(motion)
        self.motion_prior = ConditionalPrior(motion, hyper, 0)
        self.picture_adaptor = SignalConv(3, fine, 3, padding=1)
        self.feature_adaptors = nn.ModuleList(
            SignalPointwise(fine, fine) for _ in range(self.levels)
        )
        self.contexts = ContextExtractor(config.feature_channels)
        self.head = SignalConv(fine, 3, 3, padding=1)

    @abstractmethod
    def code_in_contexts(
        self,
        frame: Tensor | None,
        contexts: Contexts,
        state: M,
        quality: Tensor,
        route: int,
        coder: LatentCoder,
    ) -> M:
        """Return the state with the picture and feature of a frame, coded at qualities [B]."""

    def code_frame(
        self, frame: Tensor | None, state: M, choice: FrameChoice, coder: LatentCoder
    ) -> M:
        """Code one frame [B, 3, H, W] in [0, 1] (None when reading) and return the state after."""
        quality = self.coded_quality(choice, state.batch)
        if choice.kind is FrameKind.INTRA:
            picture = self.intra.code(frame, state.grid, quality, coder)
            fresh = self.initial_state(state.height, state.width, state.batch)
            return replace(fresh, picture=picture)
        reference = self.render(state).clamp(0.0, 1.0)
        motion_latent = self._code_motion(frame, reference, state, quality, coder)
        motion_feature, motion = self.motion_transform.synthesise(motion_latent, quality)
        contexts = self.contexts(self._adapt(reference, state, choice), reference, motion)
        moved = replace(state, motion_feature=motion_feature, motion_latent=motion_latent)
        return self.code_in_contexts(frame, contexts, moved, quality, choice.route, coder)

    def render(self, state: M) -> Tensor:
        """Return the picture [B, 3, H, W] that `state` stands for, unclamped."""
        if state.picture is None:
            raise ValueError("no frame was coded yet")
        return state.picture

    def _code_motion(
        self,
        frame: Tensor | None,
        reference: Tensor,
        state: M,
        quality: Tensor,
        coder: LatentCoder,
    ) -> Tensor:
        y = None
        if frame is not None:
            motion = self.estimator(frame, reference)
            y = self.motion_transform.analyse(motion, state.motion_feature, quality)
        nothing = reference.new_empty(state.batch, 0, *state.grid)
        return self.motion_prior.code(y, nothing, state.motion_latent, coder)

    def _adapt(self, reference: Tensor, state: M, choice: FrameChoice) -> Tensor:
        if state.feature is None or choice.refresh:
            adapted: Tensor = self.picture_adaptor(reference)
        else:
            adapted = self.feature_adaptors[choice.level](state.feature)
        return adapted


def halving(in_channels: int, out_channels: int) -> nn.Module:
    """Return a convolution that halves the resolution."""
    return SignalConv(in_channels, out_channels, 3, stride=2, padding=1)


def full_unet(channels: int) -> nn.Module:
    """Return a U-Net of blocks at the full resolution."""
    return UNet(channels, channels, block=SummingBlock, down=lambda _: nn.MaxPool2d(2))
