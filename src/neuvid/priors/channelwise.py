"""Coding a latent group by group of channels, each of which sees the groups before it."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuvid.entropy.coder import LatentCoder
from neuvid.nn.blocks import DepthConvBlock, SignalPointwise, StepBank
from neuvid.nn.rounding import lower_bound
from neuvid.priors.checkerboard import skipping_laplace
from neuvid.priors.hyperprior import SideInformation

QUANT_STEP_MIN = 0.5


class Modulation(nn.Module):
    """Refines the last `group` of a latent's channels, given all of them."""

    def __init__(self, channels: int, group: int) -> None:
        super().__init__()
        self.group = group
        self.change = nn.Sequential(
            DepthConvBlock(channels, channels), SignalPointwise(channels, group)
        )

    def forward(self, y: Tensor) -> Tensor:
        """Return the refined group [B, group, h, w] of y [B, channels, h, w]."""
        refined: Tensor = y[:, -self.group :] + self.change(y)
        return refined


class ChannelwisePrior(nn.Module):
    """Autoregression over groups of channels (DynamicDVC, section 3.2).

    On route k the latent is the groups 0..k, `channels[k]` channels. Their laws come from side
    information, a temporal prior and the groups before. Groups that a narrower route would end
    with are modulated before they are coded: towards what that route would code. Networks work in
    the latent's own units; `rows` are those of the banks of quantiser steps.
    """

    def __init__(
        self,
        hyperprior: SideInformation,
        channels: tuple[int, ...],
        *,
        known_channels: int,
        width: int,
        rows: int,
    ) -> None:
        super().__init__()
        self.channels = channels
        groups = list(pairwise((0, *channels)))
        self.hyperprior = hyperprior
        self.modulations = nn.ModuleList(Modulation(end, end - first) for first, end in groups[:-1])
        self.predictors = nn.ModuleList(
            nn.Sequential(
                DepthConvBlock(known_channels + first, width, force_adaptor=True),
                SignalPointwise(width, 3 * (end - first)),
            )
            for first, end in groups
        )
        self.encoder_steps = StepBank(rows, channels[-1])
        self.decoder_steps = StepBank(rows, channels[-1])

    def code(
        self,
        y: Tensor | None,
        temporal: Tensor,
        positions: Tensor,
        coder: LatentCoder,
        *,
        route: int,
    ) -> Tensor:
        """Code y [B, channels[route], h, w] (None when reading) and return y_hat.

        `temporal` is [B, C, h, w]. It and the features of the side information are the
        `known_channels`, at rows `positions` [B] of the banks.
        """
        steps = self.encoder_steps(positions)[:, : self.channels[route]]
        scaled = None if y is None else self._modulate(y, route) / steps
        hyper = self._code_side_information(scaled, temporal, positions, coder)
        known = torch.cat((temporal, hyper), 1)
        unit = self.decoder_steps(positions)
        for group, (first, end) in enumerate(pairwise((0, *self.channels[: route + 1]))):
            values = None if scaled is None else scaled[:, first:end]
            params = self.predictors[group](known)
            y_hat = _code_group(values, params, unit[:, first:end], coder)
            known = torch.cat((known, y_hat), 1)
        return known[:, -self.channels[route] :]

    def _modulate(self, y: Tensor, route: int) -> Tensor:
        """Return y with all groups but its last one refined."""
        refined = [
            modulation(y[:, :end])
            for modulation, end in zip(self.modulations, self.channels[:route], strict=False)
        ]
        return torch.cat((*refined, y[:, self.channels[route - 1] if route else 0 :]), 1)

    def _code_side_information(
        self, y: Tensor | None, temporal: Tensor, positions: Tensor, coder: LatentCoder
    ) -> Tensor:
        height, width = temporal.shape[2:]
        if y is not None:  # zeros in the place of the groups that the route lacks
            y = functional.pad(y, (0, 0, 0, 0, 0, self.channels[-1] - y.shape[1]))
        features = self.hyperprior.code(y, (height, width), positions, coder)
        return features[:, :, :height, :width]


def _code_group(values: Tensor | None, params: Tensor, unit: Tensor, coder: LatentCoder) -> Tensor:
    """Code values [B, G, h, w] in steps of `unit` by parameters [B, 3G, h, w]."""
    quant_step, scales, means = params.chunk(3, 1)
    quant_step, means = lower_bound(quant_step, QUANT_STEP_MIN), means / unit
    residual = None if values is None else values / quant_step - means
    coded = coder.code(residual, skipping_laplace(scales / unit)) + means
    return coded * (quant_step * unit)
