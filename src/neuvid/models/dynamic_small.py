"""The family with routes at the scale of a processor: fm-small with coefficients by route.

After DynamicDVC ("Learned Rate Control for Frame-Level Adaptive Neural Video Compression via
Dynamic Neural Network", ECCV 2024). docs/decisions/0008 tells what differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuvid.choice import QUALITIES, FrameChoice
from neuvid.entropy.coder import LatentCoder
from neuvid.models.agent import AgentConfig, RateAgent, bits_of
from neuvid.models.block_motion import ANCHORS, find_motion
from neuvid.models.residual import (
    TRANSFORM_CHANNELS,
    Foreknowledge,
    Fusion,
    ResidualConfig,
    ResidualModel,
    ResidualState,
    laws_of,
    magnitudes,
)
from neuvid.nn.blocks import Bank, DepthConvBlock, SignalPointwise, blocks
from neuvid.nn.motion import compensate_picture
from neuvid.nn.slimmable import Slimmable
from neuvid.priors.checkerboard import TWO_STEPS, code_in_steps, skipping_laplace

ROUTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicHybridConfig(ResidualConfig):
    """`route_channels` are those inside the filter, `latent_channels` those coded, by route."""

    agent: AgentConfig = field(default_factory=AgentConfig)
    route_channels: tuple[int, ...] = (80, 96, 112, 128)
    latent_channels: tuple[int, ...] = (24, 48, 72, TRANSFORM_CHANNELS)


class GroupPrior(nn.Module):
    """Laws of the coefficients first..end-1, in two steps, given features and those before."""

    def __init__(self, first: int, end: int, width: int) -> None:
        super().__init__()
        group = end - first
        self.group = group
        self.modulation = DepthConvBlock(width + first, width)
        self.adaptor = DepthConvBlock(width + group, width)
        self.laws = nn.ModuleList(SignalPointwise(width, 2 * group) for _ in TWO_STEPS)

    def forward(
        self, values: Tensor | None, fused: Tensor, before: Tensor, coder: LatentCoder
    ) -> Tensor:
        """Code values [B, G, h, w] in quantiser steps (None when reading), given those before."""
        features = self.modulation(torch.cat((fused, magnitudes(before)), 1))

        def parameters(step: int, coded: Tensor) -> tuple[Tensor, Tensor]:
            seen = features
            if step:
                seen = self.adaptor(torch.cat((features, magnitudes(coded)), 1))
            return laws_of(self.laws[step](seen))

        start = torch.zeros_like(fused[:, :1]).expand(-1, self.group, -1, -1)
        return code_in_steps(values, TWO_STEPS, parameters, start, coder, law=skipping_laplace)


class GroupwisePrior(Fusion):
    """Autoregression over groups of coefficients, from low frequencies to high ones.

    Route k codes the groups 0..k, whatever the other routes do.
    """

    def __init__(self, config: DynamicHybridConfig) -> None:
        super().__init__(config)
        self.channels = config.latent_channels
        self.groups = nn.ModuleList(
            GroupPrior(first, end, config.prior_channels)
            for first, end in pairwise((0, *self.channels))
        )

    def code(
        self, y: Tensor | None, known: Foreknowledge, route: int, coder: LatentCoder
    ) -> Tensor:
        """Code the first `channels[route]` of y [B, C, h, w] (None when reading)."""
        fused = self.fuse(known)
        values = None if y is None else y / self.encoder_steps(known.positions)
        coded = fused[:, :0]
        for number, (first, end) in enumerate(pairwise((0, *self.channels[: route + 1]))):
            part = None if values is None else values[:, first:end]
            group = self.groups[number](part, fused, coded, coder)
            coded = torch.cat((coded, group), 1)
        steps: Tensor = self.decoder_steps(known.positions)
        return coded * steps[:, : coded.shape[1]]


class DynamicHybridModel(ResidualModel):
    """The residual model with routes: so many coefficients, so wide a filter."""

    routes = ROUTES
    has_agent = True
    prior: GroupwisePrior
    ladder: Tensor  # [4] float32: the highest quality that each route is meant for

    def __init__(self, config: DynamicHybridConfig) -> None:
        decoder = Slimmable(partial(_make_decoder, config), ROUTES)
        super().__init__(config, GroupwisePrior(config), decoder)
        self.config: DynamicHybridConfig = config
        self.register_buffer("ladder", torch.full((ROUTES,), QUALITIES - 1.0))
        self.route_bank = Bank(ROUTES, config.feature_channels)
        self.agent = RateAgent(config.agent, ROUTES)

    def route_ladder(self) -> tuple[float, ...]:
        """Return the highest quality that each route is meant for; the last is for all."""
        return tuple(self.ladder.tolist())

    def foresee(self, frame: Tensor, state: ResidualState) -> Callable[[FrameChoice], Tensor]:
        """Return what tells the bits [B] that a choice for an inter frame is expected to take."""
        reference = self.render(state)
        middle = frame.new_full((state.batch,), (ANCHORS - 1) / 2)
        vectors = find_motion(frame, reference, state.last_vectors(frame), middle).vectors
        foreseen = self.agent(frame, compensate_picture(reference, vectors), vectors)
        return lambda choice: bits_of(foreseen, choice, self.coded_quality(choice, state.batch))

    def _code_coefficients(
        self, y: Tensor | None, known: Foreknowledge, route: int, coder: LatentCoder
    ) -> tuple[Tensor, Tensor]:
        y_hat = self.prior.code(y, known, route, coder)
        decoded = self.decoder(route, torch.cat((known.context, y_hat), 1))
        # What a narrow route does not compute passes from the context.
        feature = torch.cat((decoded, known.context[:, decoded.shape[1] :]), 1)
        row = torch.full_like(known.positions, route)
        missing = TRANSFORM_CHANNELS - y_hat.shape[1]
        y_hat = functional.pad(y_hat, (0, 0, 0, 0, 0, missing))
        return y_hat, feature * self.route_bank(row)


def _make_decoder(config: DynamicHybridConfig, route: int) -> nn.Sequential:
    width = config.route_channels[route]
    return nn.Sequential(
        DepthConvBlock(config.feature_channels + config.latent_channels[route], width),
        *blocks(config.decoder_blocks - 1, width),
    )
