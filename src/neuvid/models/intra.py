"""The still-picture model of DCVC-RT: a frame that refers to no other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from neuvid.choice import QUALITIES
from neuvid.entropy.distributions import FactorisedPrior
from neuvid.models.still import StillModel
from neuvid.nn.blocks import (
    PATCH,
    Bank,
    DepthConvBlock,
    Shuffle,
    SignalConv,
    SignalPointwise,
    StepBank,
    Up,
    blocks,
    patchify,
    unpatchify,
)
from neuvid.priors.checkerboard import FOUR_STEPS, skipping_gaussian, skipping_laplace
from neuvid.priors.four_step import FourStepPrior
from neuvid.priors.hyperprior import Hyperprior

PATCH_VALUES = 3 * PATCH * PATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class IntraConfig:
    """Widths and depths of the still-picture model; the defaults are those of the paper.

    With `step_bank`, a vector of quantiser steps per quality lets the networks that predict
    means and scales work in the latent's own units, whatever the quality; and laws are those of
    Laplace, whose tails forgive what small networks do not foresee. With `linear_path`, a linear
    transform of 16x16 pixels lies beside encoder and decoder, so that nothing bounds the quality
    where the latent has as many values as the picture: 384 for 4:2:0 video. `latent_blocks` are
    those at the latent's resolution, in encoder and decoder each.
    """

    trunk_channels: int = 368
    latent_channels: int = 256
    hyper_channels: int = 128
    hyper_feature_channels: int = 256
    prior_channels: int = 512
    common_channels: int = 256
    encoder_blocks: int = 6
    decoder_blocks: int = 12
    fusion_blocks: int = 2
    spatial_blocks: int = 3
    latent_blocks: int = 0
    step_bank: bool = False
    linear_path: bool = False


class IntraPrior(FourStepPrior):
    """Hyperprior and four-step spatial prior of the still-picture latent."""

    def __init__(self, config: IntraConfig) -> None:
        latent, width = config.latent_channels, config.prior_channels
        params = 2 * latent + 2
        z_prior = FactorisedPrior(QUALITIES, config.hyper_channels)
        super().__init__(
            hyperprior=Hyperprior(
                latent, config.hyper_channels, config.hyper_feature_channels, z_prior
            ),
            fusion=nn.Sequential(
                DepthConvBlock(config.hyper_feature_channels, width),
                *blocks(config.fusion_blocks, width),
                SignalPointwise(width, params),
            ),
            reduction=SignalPointwise(params, config.common_channels),
            adaptors=nn.ModuleList(
                DepthConvBlock(latent + config.common_channels, width, force_adaptor=True)
                for _ in FOUR_STEPS[1:]
            ),
            spatial=nn.Sequential(
                *blocks(config.spatial_blocks, width), SignalPointwise(width, 2 * latent)
            ),
            step_bank=StepBank(QUALITIES, latent) if config.step_bank else None,
            law=skipping_laplace if config.step_bank else skipping_gaussian,
        )


class LinearPath(nn.Module):
    """A linear transform of 16x16 pixels beside the networks, both ways."""

    def __init__(self, latent_channels: int) -> None:
        super().__init__()
        self.analysis = SignalConv(PATCH_VALUES, latent_channels, 2, stride=2)
        self.synthesis = Shuffle(latent_channels, PATCH_VALUES)


class IntraModel(StillModel):
    """Codes a picture by itself: patches at 1/8, latent at 1/16, hyper-latent at 1/64."""

    prior: IntraPrior

    def __init__(self, config: IntraConfig) -> None:
        super().__init__()
        trunk, latent = config.trunk_channels, config.latent_channels
        self.embed = DepthConvBlock(PATCH_VALUES, trunk)
        self.encoder_bank = Bank(QUALITIES, trunk)
        self.encoder = nn.Sequential(
            *blocks(config.encoder_blocks, trunk),
            SignalConv(trunk, latent, 3, stride=2, padding=1),
        )
        self.latent_encoder = nn.Sequential(*blocks(config.latent_blocks, latent))
        self.linear_path = LinearPath(latent) if config.linear_path else None
        self.prior = IntraPrior(config)
        self.latent_bank = Bank(QUALITIES, latent) if config.latent_blocks else None
        self.latent_decoder = nn.Sequential(*blocks(config.latent_blocks, latent))
        self.decoder = nn.Sequential(Up(latent, trunk), *blocks(config.decoder_blocks, trunk))
        self.decoder_bank = Bank(QUALITIES, trunk)
        self.head = DepthConvBlock(trunk, PATCH_VALUES)

    def analyse(self, frame: Tensor, positions: Tensor) -> Tensor:
        """Return y [B, C, H/16, W/16] of a frame [B, 3, H, W]."""
        patches = patchify(frame)
        features = self.encoder(self.embed(patches) * self.encoder_bank(positions))
        y: Tensor = self.latent_encoder(features)
        return y if self.linear_path is None else y + self.linear_path.analysis(patches)

    def synthesise(self, y_hat: Tensor, positions: Tensor) -> Tensor:
        """Return the unclamped picture [B, 3, H, W] of y_hat."""
        scaled = y_hat if self.latent_bank is None else y_hat * self.latent_bank(positions)
        features = self.decoder(self.latent_decoder(scaled)) * self.decoder_bank(positions)
        patches: Tensor = self.head(features)
        if self.linear_path is not None:
            patches = patches + self.linear_path.synthesis(y_hat)
        return unpatchify(patches)
