"""The prior of latents of inter frames: side information, context, and the last frame's latent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import FactorisedPrior, Laplace
from neuvid.nn.blocks import SignalConv, SignalPointwise
from neuvid.nn.gated_blocks import PlainBlock, ResidualUp, SummingBlock
from neuvid.nn.rounding import lower_bound
from neuvid.priors.checkerboard import FOUR_STEPS, code_in_steps
from neuvid.priors.hyperprior import SideInformation

LAPLACE_SCALE_MIN = 0.01  # in quantiser steps
QUANT_STEP_MIN = 0.5


def laplace(scales: Tensor) -> Laplace:
    """Return a Laplace law that codes everything."""
    return Laplace(lower_bound(scales, LAPLACE_SCALE_MIN), skips=False)


class StridedHyperprior(SideInformation):
    """Side information through strided convolutions (DCVC-FM)."""

    def __init__(
        self, latent_channels: int, hyper_channels: int, out_channels: int, prior: FactorisedPrior
    ) -> None:
        hyper = hyper_channels
        encoder = nn.Sequential(
            SummingBlock(latent_channels, hyper),
            SignalConv(hyper, hyper, 3, stride=2, padding=1),
            nn.LeakyReLU(),
            SignalConv(hyper, hyper, 3, stride=2, padding=1),
        )
        decoder = nn.Sequential(
            ResidualUp(hyper, hyper), ResidualUp(hyper, hyper), SummingBlock(hyper, out_channels)
        )
        super().__init__(encoder, decoder, prior)


class ConditionalPrior(nn.Module):
    """Codes a latent in four steps, given context of `context_channels`, which may be 0."""

    def __init__(self, channels: int, hyper_channels: int, context_channels: int) -> None:
        super().__init__()
        params, known = 3 * channels, context_channels + channels
        z_prior = FactorisedPrior(1, hyper_channels)
        self.hyperprior = StridedHyperprior(channels, hyper_channels, channels, z_prior)
        self.first_adaptor = PlainBlock(known, known + channels)
        self.adaptor = PlainBlock(known + channels, known + channels)
        self.fusion = nn.Sequential(
            PlainBlock(known + channels, params), PlainBlock(params, params)
        )
        self.step_adaptors = nn.ModuleList(
            SignalPointwise(channels + params, params) for _ in FOUR_STEPS[1:]
        )
        self.spatial = nn.Sequential(
            PlainBlock(params, params), PlainBlock(params, params), PlainBlock(params, 2 * channels)
        )

    def code(
        self, y: Tensor | None, context: Tensor, last: Tensor | None, coder: LatentCoder
    ) -> Tensor:
        """Code y [B, C, h, w] (None when reading) and return y_hat.

        `context` is [B, context_channels, h, w], and `last` is y_hat of the last frame, None after
        an intra frame.
        """
        params = self._predict(y, context, last, coder)
        quant_step, first_scales, first_means = params.chunk(3, 1)
        quant_step = lower_bound(quant_step, QUANT_STEP_MIN)

        def parameters(step: int, coded: Tensor) -> tuple[Tensor, Tensor]:
            if step == 0:
                return first_scales, first_means
            known = self.step_adaptors[step - 1](torch.cat((coded, params), 1))
            scales, means = self.spatial(known).chunk(2, 1)
            return scales, means

        values = None if y is None else y * quant_step.reciprocal()
        start = torch.zeros_like(quant_step)
        return code_in_steps(values, FOUR_STEPS, parameters, start, coder, law=laplace) * quant_step

    def _predict(
        self, y: Tensor | None, context: Tensor, last: Tensor | None, coder: LatentCoder
    ) -> Tensor:
        """Code side information and return quantiser steps, scales and means [B, 3C, h, w]."""
        batch, _, height, width = context.shape
        hyper = self.hyperprior.code(y, (height, width), context.new_zeros(batch), coder)
        known = (context, hyper[:, :, :height, :width])
        if last is None:
            adapted = self.first_adaptor(torch.cat(known, 1))
        else:
            adapted = self.adaptor(torch.cat((*known, last), 1))
        params: Tensor = self.fusion(adapted)
        return params
