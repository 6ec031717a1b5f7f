"""The motion family at the scale of a processor: coded block motion, and all else at 1/8.

After DCVC-FM ("Neural Video Compression with Feature Modulation", CVPR 2024): a coded motion
field, contexts moved along it, quality by learned scalers that are interpolated as logarithms,
features that can be refreshed from the reconstruction. docs/decisions/0006 tells what differs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neuvid.entropy.coder import LatentCoder
from neuvid.lagrangian import LambdaRange
from neuvid.models.residual import (
    TRANSFORM_CHANNELS,
    Foreknowledge,
    Fusion,
    ResidualConfig,
    ResidualModel,
    laws_of,
    magnitudes,
)
from neuvid.nn.blocks import DepthConvBlock, SignalPointwise, blocks
from neuvid.priors.checkerboard import FOUR_STEPS, code_in_steps, skipping_laplace


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridConfig(ResidualConfig):
    """Widths and depths; the numbers of blocks include the first, which merges two maps."""


class HybridPrior(Fusion):
    """Laws of the transformed residual: from activity and the context, then from its own parts.

    From the second step on, networks see how large the coefficients are that are already coded.
    """

    def __init__(self, config: HybridConfig) -> None:
        super().__init__(config)
        width = config.prior_channels
        self.adaptors = nn.ModuleList(
            DepthConvBlock(TRANSFORM_CHANNELS + width, width) for _ in FOUR_STEPS[1:]
        )
        self.laws = nn.ModuleList(
            SignalPointwise(width, 2 * TRANSFORM_CHANNELS) for _ in FOUR_STEPS
        )

    def code(self, y: Tensor | None, known: Foreknowledge, coder: LatentCoder) -> Tensor:
        """Code y [B, 96, h, w] (None when reading)."""
        fused = self.fuse(known)

        def parameters(step: int, coded: Tensor) -> tuple[Tensor, Tensor]:
            features = fused
            if step:
                features = self.adaptors[step - 1](torch.cat((fused, magnitudes(coded)), 1))
            return laws_of(self.laws[step](features))

        values = None if y is None else y / self.encoder_steps(known.positions)
        start = torch.zeros_like(fused[:, :1]).expand(-1, TRANSFORM_CHANNELS, -1, -1)
        coded = code_in_steps(values, FOUR_STEPS, parameters, start, coder, law=skipping_laplace)
        y_hat: Tensor = coded * self.decoder_steps(known.positions)
        return y_hat


class HybridModel(ResidualModel):
    """The residual model whose coefficients are coded in four steps."""

    inter_lambdas = LambdaRange(2.5, 2048)
    prior: HybridPrior

    def __init__(self, config: HybridConfig) -> None:
        width = config.feature_channels
        decoder = nn.Sequential(
            DepthConvBlock(width + TRANSFORM_CHANNELS, width),
            *blocks(config.decoder_blocks - 1, width),
        )
        super().__init__(config, HybridPrior(config), decoder)
        self.config: HybridConfig = config

    def _code_coefficients(
        self, y: Tensor | None, known: Foreknowledge, route: int, coder: LatentCoder
    ) -> tuple[Tensor, Tensor]:
        y_hat = self.prior.code(y, known, coder)
        return y_hat, self.decoder(torch.cat((known.context, y_hat), 1))
