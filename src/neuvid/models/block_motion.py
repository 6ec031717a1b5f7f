"""Coded block motion, and the banks of the models that have it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuvid.choice import QUALITIES
from neuvid.entropy.coder import LatentCoder
from neuvid.models.base import GRID
from neuvid.models.vectors import VectorCoder
from neuvid.nn.blocks import DepthConvBlock, Down, SignalPointwise, StepBank
from neuvid.nn.motion import BLOCK, QUARTERS, compensate_picture, search_motion
from neuvid.priors.checkerboard import (
    TWO_STEPS,
    code_in_steps,
    skipping_laplace,
)

LEVEL_OFFSETS = (0, 8, 4)  # added to the quality at each level of the pattern
POSITION_MAX = QUALITIES - 1 + max(LEVEL_OFFSETS)
ANCHORS = 4  # rows of a bank, evenly spread over the positions
VECTOR_VALUES = 8  # x and y of the four blocks at one position of the context
ACTIVITY_VALUES = 2  # change against the last picture as it is, and against it moved
BIT_COSTS = (107.0, 4.3)  # of a vector's bit in the search, at the lowest and the highest position


def bank_positions(quality: Tensor, level: int) -> Tensor:
    """Return the rows [B] of banks at qualities [B] and a level of the quality pattern."""
    return (quality + LEVEL_OFFSETS[level]) * ((ANCHORS - 1) / POSITION_MAX)


@dataclass(frozen=True, slots=True)
class Motion:
    """What happens at each place: `vectors` [B, 2, H/8, W/8] in pixels, and how much changes.

    As an encoder finds it, `activity` [B, 2, H/16, W/16] is the root mean square change; coded,
    it is the logarithm of that to base 2, 0 for no more than noise.
    """

    vectors: Tensor
    activity: Tensor


def find_motion(frame: Tensor, reference: Tensor, last: Tensor, positions: Tensor) -> Motion:
    """Return the motion from a frame to a reference, both [B, 3, H, W], without gradient.

    `last` [B, 2, H/8, W/8] are the vectors of the frame before, which cost the least to repeat.
    """
    low, high = BIT_COSTS
    with torch.no_grad():
        costs = low * (high / low) ** (positions / (ANCHORS - 1))
        # Rounded, because powers differ between machines in their last bits.
        costs = (16 * costs).round() / 16
        vectors = search_motion(frame[:, 0], reference[:, 0], last, costs)
        pictures = (reference, compensate_picture(reference, vectors))
        changes = torch.cat([_change(frame, picture) for picture in pictures], 1)
    return Motion(vectors, changes)


def _change(frame: Tensor, picture: Tensor) -> Tensor:
    """Return the root mean square difference of luma [B, 1, H/16, W/16]."""
    return functional.avg_pool2d((frame - picture)[:, :1].square(), GRID).sqrt()


class MotionCoder(nn.Module):
    """Codes how much changes at each place, then the vectors.

    Activity comes first, so that what stands still costs next to nothing. The context of both is
    the last frame's feature and vectors.
    """

    def __init__(self, feature_channels: int, width: int) -> None:
        super().__init__()
        self.temporal = Down(feature_channels, width)
        self.context = DepthConvBlock(width + VECTOR_VALUES, width)
        self.change_units = StepBank(ANCHORS, ACTIVITY_VALUES)
        self.first_activity = SignalPointwise(width, 2 * ACTIVITY_VALUES)
        self.second_activity = nn.Sequential(
            DepthConvBlock(ACTIVITY_VALUES + width, width),
            SignalPointwise(width, 2 * ACTIVITY_VALUES),
        )
        self.inform = SignalPointwise(ACTIVITY_VALUES, width)
        self.bank = StepBank(ANCHORS, width)
        self.vectors = VectorCoder(width)

    def code(
        self,
        found: Motion | None,
        last: Tensor,
        feature: Tensor,
        positions: Tensor,
        coder: LatentCoder,
    ) -> Motion:
        """Code what was found (None when reading), given the last vectors and a feature."""
        before = functional.pixel_unshuffle(last, 2) / BLOCK
        context = self.context(torch.cat((self.temporal(feature), before), 1))
        changes = None if found is None else found.activity / self.change_units(positions)
        activity = self._code_activity(changes, context, coder)
        informed = (context + self.inform(activity)) * self.bank(positions)
        wanted = None if found is None else found.vectors * QUARTERS
        vectors = self.vectors.code(wanted, last * QUARTERS, informed, coder)
        return Motion(vectors / QUARTERS, activity)

    def _code_activity(self, changes: Tensor | None, context: Tensor, coder: LatentCoder) -> Tensor:
        def parameters(number: int, coded: Tensor) -> tuple[Tensor, Tensor]:
            if number == 0:
                params = self.first_activity(context)
            else:
                params = self.second_activity(torch.cat((coded, context), 1))
            scales, means = params.chunk(2, 1)
            return scales, means

        values = None if changes is None else changes.clamp(min=1.0).log2()
        start = torch.zeros_like(context[:, :ACTIVITY_VALUES])
        return code_in_steps(values, TWO_STEPS, parameters, start, coder, law=skipping_laplace)
