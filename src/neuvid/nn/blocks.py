"""Convolution blocks of DCVC-RT (appendix B.1).

Feature maps are [B, C, H, W] in channels-last memory, in which a 1x1 convolution is one
matrix product. The paper's WSiLU(x) = x sigmoid(4x) equals silu(4x) / 4; both factors are
powers of two and live in the neighbouring weights, so that the blocks use the plain SiLU.

Under autocast only the residual branches of blocks compute in fewer bits: they add a little to
a signal that passes them, and all else that the signal passes stays in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 8  # pixels along the side of a patch


def patchify(frame: Tensor) -> Tensor:
    """Turn pixels [B, 3, H, W] into patches [B, 192, H/8, W/8]."""
    batch, channels, height, width = frame.shape
    rows, columns = height // PATCH, width // PATCH
    patches = frame.reshape(batch, channels, rows, PATCH, columns, PATCH)
    maps = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows, columns, -1)
    return maps.permute(0, 3, 1, 2)


def unpatchify(patches: Tensor) -> Tensor:
    """Turn patches [B, 192, H/8, W/8] into pixels [B, 3, H, W]."""
    batch, values, rows, columns = patches.shape
    size = (batch, rows, columns, values // PATCH**2, PATCH, PATCH)
    pixels = patches.permute(0, 2, 3, 1).reshape(size).permute(0, 3, 1, 4, 2, 5)
    return pixels.reshape(batch, -1, PATCH * rows, PATCH * columns)


def pad_to(maps: Tensor, multiple: int) -> Tensor:
    """Return maps [B, C, h, w] whose edges go on until both sides are multiples of a number."""
    bottom, right = (-side % multiple for side in maps.shape[2:])
    return functional.pad(maps, (0, right, 0, bottom), mode="replicate")


def double(maps: Tensor) -> Tensor:
    """Turn maps [B, 4C, h, w] into [B, C, 2h, 2w] as a pixel shuffle does."""
    batch, channels, height, width = maps.shape
    rows = maps.permute(0, 2, 3, 1).reshape(batch, height, width, channels // 4, 2, 2)
    rows = rows.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2 * height, 2 * width, -1)
    return rows.permute(0, 3, 1, 2)


class Pointwise(nn.Conv2d):
    """A 1x1 convolution as a matrix product, whose sums do not depend on the number of threads."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H, W]."""
        rows = functional.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return rows.permute(0, 3, 1, 2)


class SignalPointwise(Pointwise):
    """A 1x1 convolution in float32, even under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H, W]."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class SignalConv(nn.Conv2d):
    """A convolution in float32, even under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H / stride, W / stride]."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class DepthConvBlock(nn.Module):
    """A depth-wise convolution and a feed-forward network, each with a residual connection.

    An adaptor changes the number of channels first where that is needed (or forced). With
    `shortcut` the block's input is added once more to its output.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        shortcut: bool = False,
        force_adaptor: bool = False,
    ) -> None:
        super().__init__()
        channels = out_channels
        needs_adaptor = force_adaptor or in_channels != out_channels
        self.adaptor = SignalPointwise(in_channels, channels) if needs_adaptor else None
        self.expand = Pointwise(channels, channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.project = Pointwise(channels, channels)
        self.widen = Pointwise(channels, 4 * channels)
        self.narrow = Pointwise(2 * channels, channels)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H, W]."""
        if self.adaptor is not None:
            x = self.adaptor(x)
        spatial = x + self.project(self.depthwise(functional.silu(self.expand(x))))
        first, second = functional.silu(self.widen(spatial)).chunk(2, 1)
        mixed: Tensor = spatial + self.narrow(first + second)
        return mixed + x if self.shortcut else mixed


class Down(nn.Module):
    """Halve the resolution by a 2x2 convolution, then a block."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.down = SignalConv(in_channels, out_channels, 2, stride=2)
        self.block = DepthConvBlock(out_channels, out_channels, shortcut=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H/2, W/2]."""
        halved: Tensor = self.block(self.down(x))
        return halved


class Shuffle(nn.Module):
    """Double the resolution by a convolution to four times the channels and a pixel shuffle.

    With `inner_channels` it is two convolutions, of which the second is pointwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        inner_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.narrow: nn.Conv2d | None = None
        if inner_channels is not None:
            self.narrow = SignalConv(in_channels, inner_channels, kernel, padding=kernel // 2)
            in_channels, kernel = inner_channels, 1
        wide = 4 * out_channels
        if kernel == 1:
            self.spread: nn.Conv2d = SignalPointwise(in_channels, wide)
        else:
            self.spread = SignalConv(in_channels, wide, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, 2H, 2W]."""
        narrowed = x if self.narrow is None else self.narrow(x)
        return double(self.spread(narrowed))


class Up(nn.Module):
    """Double the resolution, then a block."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = Shuffle(in_channels, out_channels)
        self.block = DepthConvBlock(out_channels, out_channels, shortcut=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, 2H, 2W]."""
        doubled: Tensor = self.block(self.up(x))
        return doubled


def blocks(count: int, channels: int) -> list[DepthConvBlock]:
    """Return `count` blocks of equal width."""
    return [DepthConvBlock(channels, channels) for _ in range(count)]


class Bank(nn.Module):
    """A vector for every row of quality (DCVC-RT, section 4.4); interpolated between rows."""

    def __init__(self, rows: int, channels: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.ones(rows, channels))

    def forward(self, positions: Tensor) -> Tensor:
        """Return the vectors [B, channels, 1, 1] at positions [B] in 0..rows-1."""
        below = positions.floor().long()
        above = positions.ceil().long()
        fraction = (positions - below)[:, None]
        step = self.vectors[above] - self.vectors[below]
        vectors: Tensor = self.vectors[below] + step * fraction
        return vectors[:, :, None, None]


class StepBank(Bank):
    """A vector of quantiser steps for every row of quality, kept and interpolated as logarithms."""

    def __init__(self, rows: int, channels: int) -> None:
        super().__init__(rows, channels)
        nn.init.zeros_(self.vectors)

    def forward(self, positions: Tensor) -> Tensor:
        """Return the steps [B, channels, 1, 1] at positions [B] in 0..rows-1."""
        return super().forward(positions).exp()
