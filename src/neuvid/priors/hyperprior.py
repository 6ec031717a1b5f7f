"""Side information z about a latent y, at a quarter of its resolution."""

from __future__ import annotations

from torch import Tensor, nn

from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import FactorisedPrior
from neuvid.nn.blocks import DepthConvBlock, Down, Up, pad_to

REDUCTION = 4  # positions of y along the side of one position of z


class SideInformation(nn.Module):
    """Codes z, which an encoder makes of y, and turns it into features about y by a decoder."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, prior: FactorisedPrior) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior

    def code(
        self, y: Tensor | None, grid: tuple[int, int], positions: Tensor, coder: LatentCoder
    ) -> Tensor:
        """Code z of y [B, C, h, w] (None when reading), where (h, w) is `grid`.

        Returns features [B, out_channels, 4 ceil(h/4), 4 ceil(w/4)]: the caller crops them.
        """
        height, width = (-(-side // REDUCTION) for side in grid)
        z = None if y is None else self.encoder(pad_to(y, REDUCTION))
        features: Tensor = self.decoder(coder.code(z, self.prior.at(positions, height, width)))
        return features


class Hyperprior(SideInformation):
    """Side information through depth-wise convolution blocks (DCVC-RT, figure 4)."""

    def __init__(
        self, latent_channels: int, hyper_channels: int, out_channels: int, prior: FactorisedPrior
    ) -> None:
        encoder = nn.Sequential(
            DepthConvBlock(latent_channels, hyper_channels),
            Down(hyper_channels, hyper_channels),
            Down(hyper_channels, hyper_channels),
        )
        decoder = nn.Sequential(
            Up(hyper_channels, hyper_channels),
            Up(hyper_channels, hyper_channels),
            DepthConvBlock(hyper_channels, out_channels),
        )
        super().__init__(encoder, decoder, prior)
