"""The network that foresees the rates of all routes (DynamicDVC, section 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuvid.choice import FrameChoice
from neuvid.models.block_motion import ANCHORS, bank_positions
from neuvid.nn.blocks import PATCH, DepthConvBlock, Down, SignalPointwise, pad_to
from neuvid.nn.motion import QUARTERS

DENSITY_MIN = 1e-6  # bits per pixel
FIRST_DENSITY = -3.0  # before training, as an argument of softplus: 0.05 bits per pixel
BLOCK_VALUES = 5  # differences of Y, U and V, changes of the vector across and down
LEVELS = 255  # of 8 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Widths at 1/8 of the resolution, 1/16 and so on; the defaults have the paper's size."""

    channels: tuple[int, ...] = (96, 208, 336, 688)


class RateAgent(nn.Module):
    """Foresees the bits of a frame from what motion leaves of it, and from how motion changes.

    Of each block it sees the root mean square differences, and by how much its vector differs from
    those at the left and above; as logarithms, which bits go with. It expects a density of bits at
    each place, for each route and at a few qualities; the mean over all places is the rate.
    """

    def __init__(self, config: AgentConfig, routes: int) -> None:
        super().__init__()
        first, last = config.channels[0], config.channels[-1]
        self.routes = routes
        self.multiple = 1 << (len(config.channels) - 1)  # of rows and columns at 1/8
        self.embed = DepthConvBlock(BLOCK_VALUES, first)
        self.body = nn.Sequential(*(Down(*widths) for widths in pairwise(config.channels)))
        self.heads = SignalPointwise(last, routes * ANCHORS)
        nn.init.constant_(self.heads.bias, FIRST_DENSITY)  # type: ignore[arg-type]

    def forward(self, frame: Tensor, prediction: Tensor, motion: Tensor) -> Tensor:
        """Return logarithms of bits [B, routes, ANCHORS] at rows of quality.

        Frame and prediction are [B, 3, H, W] in [0, 1], motion is [B, 2, H/8, W/8] in pixels.
        """
        left = functional.avg_pool2d((frame - prediction).square(), PATCH).sqrt()
        across = functional.pad(motion.diff(dim=3), (1, 0)).abs().sum(1, keepdim=True)
        down = functional.pad(motion.diff(dim=2), (0, 0, 1, 0)).abs().sum(1, keepdim=True)
        seen = torch.cat((LEVELS * left, QUARTERS * across, QUARTERS * down), 1)
        features = self.body(self.embed(pad_to((1.0 + seen).log2(), self.multiple)))
        densities = functional.softplus(self.heads(features).float())
        rates = densities.mean((2, 3)).clamp(min=DENSITY_MIN).log()
        pixels = frame.shape[2] * frame.shape[3]
        return rates.view(-1, self.routes, ANCHORS) + math.log(pixels)


def bits_of(foreseen: Tensor, choice: FrameChoice, quality: Tensor) -> Tensor:
    """Return the bits [B] of a choice that codes at a quality [B].

    An agent foresees `foreseen` [B, routes, ANCHORS].
    """
    rows = foreseen[:, choice.route]
    positions = bank_positions(quality, choice.level)
    below = positions.floor().long().clamp(max=ANCHORS - 2)[:, None]
    first, second = (rows.gather(1, row)[:, 0] for row in (below, below + 1))
    return (first + (second - first) * (positions - below[:, 0])).exp()
