"""Coded block motion, and the banks of the models that have it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuvid.choice import QUALITIES
from neuvid.entropy.coder import LatentCoder
from neuvid.nn.blocks import DepthConvBlock, Down, SignalPointwise, StepBank
from neuvid.nn.motion import BLOCK, QUARTERS, search_motion
from neuvid.nn.rounding import round_to
from neuvid.priors.checkerboard import FOUR_STEPS, code_in_steps

LEVEL_OFFSETS = (0, 8, 4)  # added to the quality at each level of the pattern
POSITION_MAX = QUALITIES - 1 + max(LEVEL_OFFSETS)
ANCHORS = 4  # rows of a bank, evenly spread over the positions
VECTOR_VALUES = 8  # of the four blocks at one position of the motion latent
BIT_COSTS = (300.0, 9.0)  # of a vector's bit in the search, at the lowest and the highest position


def bank_positions(quality: Tensor, level: int) -> Tensor:
    """Return the rows [B] of banks at qualities [B] and a level of the quality pattern."""
    return (quality + LEVEL_OFFSETS[level]) * ((ANCHORS - 1) / POSITION_MAX)


def search_vectors(frame: Tensor, reference: Tensor, positions: Tensor) -> Tensor:
    """Return vectors [B, 2, H/8, W/8] from a frame to a reference, both [B, 3, H, W]."""
    low, high = BIT_COSTS
    costs = low * (high / low) ** (positions / (ANCHORS - 1))
    # Rounded, because powers differ between machines in their last bits.
    return search_motion(frame[:, 0], reference[:, 0], (16 * costs).round() / 16)


class MotionCoder(nn.Module):
    """Codes vectors as combinations of neighbours, given the last frame's feature and vectors."""

    def __init__(self, feature_channels: int, width: int) -> None:
        super().__init__()
        self.temporal = Down(feature_channels, width)
        self.context = DepthConvBlock(width + VECTOR_VALUES, width)
        self.transform = SignalPointwise(VECTOR_VALUES, VECTOR_VALUES)
        self.first = SignalPointwise(width, 2 * VECTOR_VALUES)
        self.adaptors = nn.ModuleList(
            DepthConvBlock(VECTOR_VALUES + width, width) for _ in FOUR_STEPS[1:]
        )
        self.spatial = SignalPointwise(width, 2 * VECTOR_VALUES)
        self.steps = StepBank(ANCHORS, VECTOR_VALUES)
        self.inverse = SignalPointwise(VECTOR_VALUES, VECTOR_VALUES)
        self.refine = nn.Sequential(
            DepthConvBlock(VECTOR_VALUES + width, width), SignalPointwise(width, VECTOR_VALUES)
        )

    def code(
        self,
        vectors: Tensor | None,
        last: Tensor,
        feature: Tensor,
        positions: Tensor,
        coder: LatentCoder,
    ) -> Tensor:
        """Code vectors [B, 2, 2h, 2w] (None when reading), given the last ones and a feature.

        Returns them in quarter pixels, so that what stands still has vectors of zero.
        """
        step = self.steps(positions)
        before = functional.pixel_unshuffle(last, 2) / BLOCK
        context = self.context(torch.cat((self.temporal(feature), before), 1))
        values = None
        if vectors is not None:
            values = self.transform(functional.pixel_unshuffle(vectors, 2)) / step

        def parameters(number: int, coded: Tensor) -> tuple[Tensor, Tensor]:
            if number == 0:
                params = self.first(context)
            else:
                params = self.spatial(
                    self.adaptors[number - 1](torch.cat((coded * (step / BLOCK), context), 1))
                )
            scales, means = params.chunk(2, 1)
            return scales / step, means / step

        start = torch.zeros_like(before)
        coded = code_in_steps(values, FOUR_STEPS, parameters, start, coder) * step
        details = self.refine(torch.cat((coded / BLOCK, context), 1))
        decoded = functional.pixel_shuffle(self.inverse(coded) + details, 2)
        return round_to(decoded, 1 / QUARTERS)
