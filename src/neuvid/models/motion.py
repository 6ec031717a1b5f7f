"""DCVC-FM: inter frames coded on contexts that coded motion moves, at three resolutions.

"Neural Video Compression with Feature Modulation", CVPR 2024.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from neuvid.choice import QUALITIES, FrameChoice, FrameKind
from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import LAW_ROWS
from neuvid.models.base import ModelConfig, State, VideoModel
from neuvid.models.picture import PictureConfig, PictureModel
from neuvid.nn.blocks import Shuffle, SignalConv, SignalPointwise
from neuvid.nn.contexts import ContextExtractor, Contexts
from neuvid.nn.flow import MotionEstimator
from neuvid.nn.gated_blocks import STEEP_SLOPE, ResidualDown, ResidualUp, SummingBlock, UNet
from neuvid.priors.conditional import ConditionalPrior

LEVELS = 3  # of the quality pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionConfig(ModelConfig):
    """Widths of the video model; the defaults are those of the paper.

    `feature_channels` are those at the full resolution, 1/2 and 1/4; the first is a multiple of
    3. Motion and latent channels are multiples of 4.
    """

    intra: PictureConfig = field(default_factory=PictureConfig)
    feature_channels: tuple[int, int, int] = (48, 64, 96)
    latent_channels: int = 128
    motion_channels: int = 64
    hyper_channels: int = 64
    detail_channels: int = 32


@dataclass(frozen=True, slots=True)
class MotionState(State):
    """The last `picture`, and after an inter frame what else it leaves to the next one."""

    feature: Tensor | None = None  # [B, C, H, W]
    motion_feature: Tensor | None = None  # [B, M, H/4, W/4]
    motion_latent: Tensor | None = None  # [B, M, H/16, W/16]
    latent: Tensor | None = None  # [B, L, H/16, W/16]


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


class FrameTransform(nn.Module):
    """A frame to its latent, given contexts, and back to the feature that the next frame gets."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        (fine, middle, coarse), latent = config.feature_channels, config.latent_channels
        detail = config.detail_channels
        self.embed = _down(3 + fine, middle)
        self.encoder_merge = SummingBlock(2 * middle, 2 * middle)
        self.encoder_scale = ScaleRange()
        self.encoder_down = _down(2 * middle, coarse)
        self.encoder = nn.Sequential(
            SummingBlock(2 * coarse, 2 * coarse), _down(2 * coarse, coarse), _down(coarse, latent)
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
            SignalConv(detail + fine, fine, 3, padding=1), _unet(fine), _unet(fine)
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


class MotionModel(VideoModel[MotionState]):
    """The walk through motion, contexts and frame (figure 2 of the paper)."""

    integer_arithmetic = False
    refresh_period = 32

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config: MotionConfig = config
        fine, _, coarse = config.feature_channels
        latent, hyper = config.latent_channels, config.hyper_channels
        motion_row = LAW_ROWS + QUALITIES * config.intra.hyper_channels
        self.intra: PictureModel = PictureModel(config.intra, first_row=LAW_ROWS)
        self.estimator = MotionEstimator()
        self.motion_transform = MotionTransform(config.motion_channels)
        self.motion_prior = ConditionalPrior(config.motion_channels, hyper, 0, first_row=motion_row)
        self.picture_adaptor = SignalConv(3, fine, 3, padding=1)
        self.feature_adaptors = nn.ModuleList(SignalPointwise(fine, fine) for _ in range(LEVELS))
        self.contexts = ContextExtractor(config.feature_channels)
        self.temporal = nn.Sequential(
            _down(coarse, coarse), nn.LeakyReLU(STEEP_SLOPE), _down(coarse, latent)
        )
        self.prior = ConditionalPrior(latent, hyper, latent, first_row=motion_row + hyper)
        self.transform = FrameTransform(config)
        self.head = SignalConv(fine, 3, 3, padding=1)

    def initial_state(self, height: int, width: int, batch: int = 1) -> MotionState:
        """Return the state before the first frame of height x width, multiples of 16."""
        return MotionState(height, width, batch)

    def code_frame(
        self, frame: Tensor | None, state: MotionState, choice: FrameChoice, coder: LatentCoder
    ) -> MotionState:
        """Code one frame [B, 3, H, W] in [0, 1] (None when reading) and return the state after."""
        positions = self.coded_quality(choice, state.batch)
        size = state.height, state.width, state.batch
        if choice.kind is FrameKind.INTRA:
            picture = self.intra.code(frame, state.grid, positions, coder)
            return MotionState(*size, picture=picture)
        reference = self.render(state).clamp(0.0, 1.0)
        motion_latent = self._code_motion(frame, reference, state, positions, coder)
        motion_feature, motion = self.motion_transform.synthesise(motion_latent, positions)
        contexts = self.contexts(self._adapt(reference, state, choice), reference, motion)
        y = None if frame is None else self.transform.analyse(frame, contexts, positions)
        latent = self.prior.code(y, self.temporal(contexts[-1]), state.latent, coder)
        feature = self.transform.synthesise(latent, contexts, positions)
        picture = self.head(feature)
        return MotionState(*size, picture, feature, motion_feature, motion_latent, latent)

    def render(self, state: MotionState) -> Tensor:
        """Return the picture [B, 3, H, W] that `state` stands for, unclamped."""
        if state.picture is None:
            raise ValueError("no frame was coded yet")
        return state.picture

    def _code_motion(
        self,
        frame: Tensor | None,
        reference: Tensor,
        state: MotionState,
        positions: Tensor,
        coder: LatentCoder,
    ) -> Tensor:
        y = None
        if frame is not None:
            motion = self.estimator(frame, reference)
            y = self.motion_transform.analyse(motion, state.motion_feature, positions)
        nothing = reference.new_empty(state.batch, 0, *state.grid)
        return self.motion_prior.code(y, nothing, state.motion_latent, coder)

    def _adapt(self, reference: Tensor, state: MotionState, choice: FrameChoice) -> Tensor:
        if state.feature is None or choice.refresh:
            adapted: Tensor = self.picture_adaptor(reference)
        else:
            adapted = self.feature_adaptors[choice.level](state.feature)
        return adapted


def _down(in_channels: int, out_channels: int) -> nn.Module:
    return SignalConv(in_channels, out_channels, 3, stride=2, padding=1)


def _unet(channels: int) -> nn.Module:
    return UNet(channels, channels, block=SummingBlock, down=lambda _: nn.MaxPool2d(2))
