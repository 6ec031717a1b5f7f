"""Temporal contexts of DCVC-FM: the last feature, moved to where things are now."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuvid.nn.blocks import Shuffle, SignalConv
from neuvid.nn.gated_blocks import STEEP_SLOPE, ResidualUnit
from neuvid.nn.warp import enlarge, halve_motion, warp

Contexts = tuple[Tensor, Tensor, Tensor]  # [B, C, H, W], [B, C', H/2, W/2], [B, C'', H/4, W/4]

PIECE_CHANNELS = 3  # channels that move together
PIECES = 2  # motions that each channel is moved by
OFFSET_MAX = 40.0  # pixels that a piece may move beside the motion


def _refined(conv: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(conv, ResidualUnit(channels))


def _conv(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    return SignalConv(in_channels, out_channels, 3, stride=stride, padding=1)


class OffsetDiversity(nn.Module):
    """Moves groups of channels by two motions each, near the coded one, and merges the results."""

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        groups = channels // PIECE_CHANNELS
        self.offsets = nn.Sequential(
            nn.Conv2d(channels + 5, hidden_channels, 3, stride=2, padding=1),
            nn.LeakyReLU(STEEP_SLOPE),
            nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1),
            nn.LeakyReLU(STEEP_SLOPE),
            nn.Conv2d(hidden_channels, 3 * PIECES * groups, 3, padding=1),
        )
        self.fusion = SignalConv(PIECES * channels, channels, 1, groups=groups)

    def forward(self, feature: Tensor, picture: Tensor, motion: Tensor) -> Tensor:
        """Return [B, C, H, W] of a feature and a picture [B, 3, H, W] that `motion` moves."""
        seen = torch.cat((warp(feature, motion), warp(picture, motion), motion), 1)
        first, second, mask = enlarge(self.offsets(seen).float()).chunk(3, 1)
        batch, pieces, height, width = mask.shape
        offsets = OFFSET_MAX * torch.tanh(torch.cat((first, second), 1))
        offsets = offsets + motion.repeat(1, pieces, 1, 1)
        moved = warp(
            feature.repeat(1, PIECES, 1, 1).reshape(-1, PIECE_CHANNELS, height, width),
            offsets.reshape(-1, 2, height, width),
        )
        weighted = moved * torch.sigmoid(mask).reshape(-1, 1, height, width)
        merged: Tensor = self.fusion(weighted.reshape(batch, -1, height, width))
        return merged


class ContextFusion(nn.Module):
    """Lets coarse contexts correct finer ones."""

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.coarse_up = _refined(Shuffle(coarse, middle, kernel=3), middle)
        self.coarse_out = _refined(_conv(coarse, coarse), coarse)
        self.middle_up = _refined(Shuffle(2 * middle, fine, kernel=3), fine)
        self.middle_out = _refined(_conv(2 * middle, middle), middle)
        self.fine_out = _refined(_conv(2 * fine, fine), fine)

    def forward(self, contexts: Contexts) -> Contexts:
        """Return corrected contexts of the same shapes."""
        fine, middle, coarse = contexts
        with_coarse = torch.cat((self.coarse_up(coarse), middle), 1)
        with_middle = torch.cat((self.middle_up(with_coarse), fine), 1)
        return (
            fine + self.fine_out(with_middle),
            middle + self.middle_out(with_coarse),
            coarse + self.coarse_out(coarse),
        )


class ContextExtractor(nn.Module):
    """Extracts contexts of three resolutions from the last feature; H and W multiples of 4."""

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.fine = _refined(_conv(fine, fine), fine)
        self.middle = _refined(_conv(fine, middle, stride=2), middle)
        self.coarse = _refined(_conv(middle, coarse, stride=2), coarse)
        self.alignment = OffsetDiversity(fine, middle)
        self.fusion = ContextFusion(channels)

    def forward(self, feature: Tensor, picture: Tensor, motion: Tensor) -> Contexts:
        """Return the contexts of a feature [B, C, H, W], picture [B, 3, H, W] and motion."""
        fine = self.fine(feature)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        half = halve_motion(motion)
        moved = (
            self.alignment(fine, picture, motion),
            warp(middle, half),
            warp(coarse, halve_motion(half)),
        )
        contexts: Contexts = self.fusion(moved)
        return contexts
