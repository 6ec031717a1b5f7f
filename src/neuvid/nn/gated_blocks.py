"""Convolution blocks of DCVC-FM: depth-wise convolutions, and gates in the place of activations.

Feature maps are [B, C, H, W].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuvid.nn.blocks import Pointwise, Shuffle, SignalConv, SignalPointwise

SLOPE, STEEP_SLOPE = 0.01, 0.1  # of leaky rectifiers below zero
FEED_FORWARD_MAX = 1024  # channels inside a plain feed-forward network, where these are enough


def _adaptor(in_channels: int, out_channels: int) -> nn.Module:
    if in_channels == out_channels:
        return nn.Identity()
    return SignalPointwise(in_channels, out_channels)


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels)


class Depthwise(nn.Module):
    """A depth-wise convolution with a residual connection."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.adaptor = _adaptor(in_channels, out_channels)
        self.expand = Pointwise(in_channels, in_channels)
        self.depthwise = _depthwise(in_channels)
        self.project = Pointwise(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H, W]."""
        filtered = self.depthwise(functional.leaky_relu(self.expand(x), SLOPE))
        mixed: Tensor = self.adaptor(x) + self.project(filtered)
        return mixed


class GatedDepthwise(nn.Module):
    """A depth-wise convolution, times a gate, with a residual connection."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.adaptor = _adaptor(in_channels, out_channels)
        self.expand = Pointwise(in_channels, out_channels)
        self.depthwise = _depthwise(out_channels)
        self.gate = Pointwise(in_channels, out_channels)
        self.project = Pointwise(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H, W]."""
        filtered = self.depthwise(functional.leaky_relu(self.expand(x), SLOPE))
        mixed: Tensor = self.adaptor(x) + self.project(filtered * self.gate(x))
        return mixed


class FeedForward(nn.Module):
    """A feed-forward network with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(min(4 * channels, FEED_FORWARD_MAX), 2 * channels)
        self.widen = Pointwise(channels, inner)
        self.narrow = Pointwise(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        widened = functional.leaky_relu(self.widen(x), STEEP_SLOPE)
        return x + functional.leaky_relu(self.narrow(widened), STEEP_SLOPE)


class GatedFeedForward(nn.Module):
    """A feed-forward network, one half of which gates the other, with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.widen = Pointwise(channels, 4 * channels)
        self.narrow = Pointwise(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        first, second = self.widen(x).chunk(2, 1)
        gated: Tensor = x + self.narrow(first * functional.leaky_relu(second, STEEP_SLOPE))
        return gated


class SummingFeedForward(nn.Module):
    """A feed-forward network with two slopes, the halves summed, with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.widen = Pointwise(channels, 4 * channels)
        self.narrow = Pointwise(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        first, second = self.widen(x).chunk(2, 1)
        steep = functional.leaky_relu(first, STEEP_SLOPE)
        summed: Tensor = x + self.narrow(steep + functional.leaky_relu(second, SLOPE))
        return summed


class PlainBlock(nn.Sequential):
    """A depth-wise convolution, then a feed-forward network."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(Depthwise(in_channels, out_channels), FeedForward(out_channels))


class SummingBlock(nn.Sequential):
    """A depth-wise convolution, then a feed-forward network of two slopes."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(Depthwise(in_channels, out_channels), SummingFeedForward(out_channels))


class GatedBlock(nn.Sequential):
    """A depth-wise convolution, then a gated feed-forward network."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(Depthwise(in_channels, out_channels), GatedFeedForward(out_channels))


class DoublyGatedBlock(nn.Sequential):
    """A gated depth-wise convolution, then a gated feed-forward network."""

    def __init__(self, channels: int) -> None:
        super().__init__(GatedDepthwise(channels, channels), GatedFeedForward(channels))


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        inner = self.first(functional.leaky_relu(x, SLOPE))
        refined: Tensor = x + self.second(functional.leaky_relu(inner, SLOPE))
        return refined


class PatchDown(nn.Module):
    """Halve the resolution by a 2x2 convolution, then two convolutions with a residual one."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.down = SignalConv(in_channels, out_channels, 2, stride=2)
        self.first = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.second = Pointwise(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H/2, W/2]."""
        halved: Tensor = self.down(x)
        inner = self.second(functional.leaky_relu(self.first(halved), SLOPE))
        return halved + functional.leaky_relu(inner, SLOPE)


class ResidualDown(nn.Module):
    """Halve the resolution by two 3x3 convolutions, beside every second pixel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.shortcut = SignalConv(in_channels, out_channels, 1, stride=2)
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H/2, W/2]."""
        inner = self.second(functional.leaky_relu(self.first(x), SLOPE))
        halved: Tensor = functional.leaky_relu(inner, STEEP_SLOPE) + self.shortcut(x)
        return halved


class ResidualUp(nn.Module):
    """Double the resolution by a pixel shuffle and a 3x3 convolution, beside a shuffle alone."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.shortcut = Shuffle(in_channels, out_channels)
        self.first = Shuffle(in_channels, out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, 2H, 2W]."""
        inner = self.second(functional.leaky_relu(self.first(x), SLOPE))
        doubled: Tensor = functional.leaky_relu(inner, STEEP_SLOPE) + self.shortcut(x)
        return doubled


class UNet(nn.Module):
    """Refines a map at three resolutions; H and W are multiples of 4.

    `block` makes its blocks and `down` a layer that halves the resolution of so many channels.
    """

    WIDTHS = (32, 64, 128)
    INNER_BLOCKS = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        block: Callable[[int, int], nn.Module],
        down: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        fine, middle, coarse = self.WIDTHS
        self.fine = block(in_channels, fine)
        self.middle = nn.Sequential(down(fine), block(fine, middle))
        self.coarse = nn.Sequential(
            down(middle),
            block(middle, coarse),
            *(block(coarse, coarse) for _ in range(self.INNER_BLOCKS)),
        )
        self.coarse_up = Shuffle(coarse, middle)
        self.middle_merge = block(2 * middle, middle)
        self.middle_up = Shuffle(middle, fine)
        self.fine_merge = block(2 * fine, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H, W]."""
        fine = self.fine(x)
        middle = self.middle(fine)
        coarse = self.coarse_up(self.coarse(middle))
        middle = self.middle_up(self.middle_merge(torch.cat((middle, coarse), 1)))
        merged: Tensor = self.fine_merge(torch.cat((fine, middle), 1))
        return merged
