"""The still-picture model of DCVC-FM: convolutions down to 1/16 of the resolution, and a U-Net."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from neuvid.choice import QUALITIES
from neuvid.entropy.distributions import SCALE_MIN, FactorisedPrior, Gaussian
from neuvid.models.still import StillModel
from neuvid.nn.blocks import Bank, SignalConv, SignalPointwise
from neuvid.nn.gated_blocks import (
    DoublyGatedBlock,
    GatedBlock,
    PatchDown,
    ResidualUp,
    SummingBlock,
    UNet,
)
from neuvid.nn.rounding import lower_bound
from neuvid.priors.checkerboard import FOUR_STEPS
from neuvid.priors.conditional import StridedHyperprior
from neuvid.priors.four_step import FourStepPrior

SPATIAL_BLOCKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureConfig:
    """Widths of the still-picture model; the defaults are those of the paper.

    `trunk_channels` are those at 1/2, 1/4 and 1/8 of the resolution, `refine_channels` those of
    the picture before its last refinement. Latent and hyper channels are multiples of 4.
    """

    trunk_channels: tuple[int, int, int] = (128, 192, 256)
    latent_channels: int = 256
    hyper_channels: int = 128
    refine_channels: int = 16


def gaussian(scales: Tensor) -> Gaussian:
    """Return a Gaussian that codes everything."""
    return Gaussian(lower_bound(scales, SCALE_MIN), skips=False)


class PicturePrior(FourStepPrior):
    """Hyperprior and four-step spatial prior of the still-picture latent."""

    def __init__(self, config: PictureConfig) -> None:
        latent, width = config.latent_channels, 2 * config.latent_channels
        z_prior = FactorisedPrior(QUALITIES, config.hyper_channels)
        super().__init__(
            hyperprior=StridedHyperprior(latent, config.hyper_channels, latent, z_prior),
            fusion=nn.Sequential(SummingBlock(latent, width), SummingBlock(width, width + 2)),
            reduction=SignalPointwise(width + 2, latent),
            adaptors=nn.ModuleList(GatedBlock(width, width) for _ in FOUR_STEPS[1:]),
            spatial=nn.Sequential(*(GatedBlock(width, width) for _ in range(SPATIAL_BLOCKS))),
            law=gaussian,
        )


class PictureModel(StillModel):
    """Codes a picture by itself: latent at 1/16 of the resolution, hyper-latent at 1/64."""

    def __init__(self, config: PictureConfig) -> None:
        super().__init__()
        (fine, middle, coarse), latent = config.trunk_channels, config.latent_channels
        refine = config.refine_channels
        self.embed = nn.Sequential(PatchDown(3, fine), DoublyGatedBlock(fine))
        self.encoder_bank = Bank(QUALITIES, fine)
        self.encoder = nn.Sequential(
            PatchDown(fine, middle),
            DoublyGatedBlock(middle),
            PatchDown(middle, coarse),
            DoublyGatedBlock(coarse),
            SignalConv(coarse, latent, 3, stride=2, padding=1),
        )
        self.prior = PicturePrior(config)
        self.decoder = nn.Sequential(
            DoublyGatedBlock(latent),
            ResidualUp(latent, coarse),
            DoublyGatedBlock(coarse),
            ResidualUp(coarse, middle),
            DoublyGatedBlock(middle),
            ResidualUp(middle, fine),
        )
        self.decoder_bank = Bank(QUALITIES, fine)
        self.head = nn.Sequential(DoublyGatedBlock(fine), ResidualUp(fine, refine))
        self.refine = nn.Sequential(
            UNet(refine, refine, block=GatedBlock, down=_down), SignalConv(refine, 3, 3, padding=1)
        )

    def analyse(self, frame: Tensor, positions: Tensor) -> Tensor:
        """Return y [B, C, H/16, W/16] of a frame [B, 3, H, W]."""
        y: Tensor = self.encoder(self.embed(frame) * self.encoder_bank(positions))
        return y

    def synthesise(self, y_hat: Tensor, positions: Tensor) -> Tensor:
        """Return the unclamped picture [B, 3, H, W] of y_hat."""
        picture: Tensor = self.refine(self.head(self.decoder(y_hat) * self.decoder_bank(positions)))
        return picture


def _down(channels: int) -> nn.Module:
    return SignalConv(channels, channels, 2, stride=2)
