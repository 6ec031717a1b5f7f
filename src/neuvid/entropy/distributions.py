"""How likely each value of a latent is: differentiable bits and exact rows of the tables."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neuvid.entropy.tables import (
    EntropyTables,
    flag_tables,
    gaussian_tables,
    laplace_tables,
)

SCALE_MIN = 0.11  # standard deviations in quantiser steps
SCALE_MAX = 64.0
SCALE_USEFUL = 0.12  # at or below it a value is taken as 0 and not coded
SCALE_LEVELS = 128
FLAG_LEVELS = 64
LOGIT_STEP = 0.25  # between the levels of flags
LOGIT_MAX = LOGIT_STEP * FLAG_LEVELS / 2
LAW_ROWS = 2 * SCALE_LEVELS + FLAG_LEVELS  # of Gaussians, Laplace laws, and flags, in the tables
SKIP = 0xFFFF  # row of a value that is not coded
# Squared error, in quantiser steps, that is worth a bit. High-rate theory has 2 ln 2 / 12 = 0.12;
# less, because later frames and other values profit from what is exact.
ERROR_PER_BIT = 0.08
SYMBOL_MAX = 32000  # symbols are clamped to +-SYMBOL_MAX, well inside 16 bits
PROBABILITY_MIN = 1e-6


def scale_thresholds() -> NDArray[np.float32]:
    """Return [128] thresholds: a scale belongs to the level of the last threshold below it."""
    levels = np.linspace(math.log(SCALE_USEFUL), math.log(SCALE_MAX), SCALE_LEVELS)
    return np.exp(levels).astype(np.float32)


def level_scales() -> NDArray[np.float64]:
    """Return the standard deviation [128] that stands for each level."""
    thresholds = scale_thresholds().astype(np.float64)
    ratio = thresholds[1] / thresholds[0]
    scales: NDArray[np.float64] = np.sqrt(ratio) * thresholds
    return scales


class Distribution(Protocol):
    """The law of a latent of the shape [B, C, h, w]."""

    shape: torch.Size

    def bits(self, values: Tensor) -> Tensor:
        """Return the cost in bits of each value, differentiable."""

    def frozen(self) -> Distribution:
        """Return the same law without its gradient's history."""

    def rows(self, thresholds: Tensor) -> Tensor:
        """Return the row of the integer tables for each value, SKIP where none is coded."""

    def quantise(self, values: Tensor) -> Tensor:
        """Return the integers that stand for `values` best, in error and bits together."""

    def coded(self, integers: Tensor) -> Tensor:
        """Return what a decoder sees of `integers`."""


def _bits(probability: Tensor) -> Tensor:
    return -torch.log2(probability + PROBABILITY_MIN)


class _ScaledLaw(ABC):
    """A zero-mean law with a scale [B, C, h, w] for each value, and a row for each level of it.

    With `skips`, values of the smallest scales are 0 and are not coded.
    """

    first_row: ClassVar[int]
    spread: ClassVar[float]  # what the thresholds bound: `spread` times the scale

    def __init__(self, scales: Tensor, *, skips: bool = True) -> None:
        self.scales = scales
        self.shape = scales.shape
        self.skips = skips

    @abstractmethod
    def bits(self, values: Tensor) -> Tensor:
        """Return -log2 of the mass of the unit interval around each value."""

    def frozen(self) -> Self:
        """Return the same law without its gradient's history."""
        return type(self)(self.scales.detach(), skips=self.skips)

    def rows(self, thresholds: Tensor) -> Tensor:
        """Return the row of each scale's level; SKIP where nothing is coded."""
        level = torch.bucketize((self.spread * self.scales).contiguous(), thresholds)
        rows = self.first_row + (level - 1).clamp(min=0)
        return torch.where(level == 0, SKIP, rows) if self.skips else rows

    @torch.no_grad()
    def quantise(self, values: Tensor) -> Tensor:
        """Return the nearest integers, or those next to them towards 0 where these cost less."""
        nearest = values.round().clamp(-SYMBOL_MAX, SYMBOL_MAX)
        smaller = nearest - nearest.sign()
        error_saved = (values - smaller).square() - (values - nearest).square()
        bits_spent = self.bits(nearest) - self.bits(smaller)
        return torch.where(error_saved > ERROR_PER_BIT * bits_spent, nearest, smaller)

    @torch.no_grad()
    def coded(self, integers: Tensor) -> Tensor:
        """Return 0 where nothing is coded, else the integers."""
        if not self.skips:
            return integers
        return torch.where(self.spread * self.scales > SCALE_USEFUL, integers, 0.0)


class Gaussian(_ScaledLaw):
    """Zero-mean Gaussian of the standard deviations `scales` [B, C, h, w]."""

    first_row = 0
    spread = 1.0

    @staticmethod
    def tables() -> EntropyTables:
        """Return the rows of all levels."""
        return gaussian_tables(level_scales())

    def bits(self, values: Tensor) -> Tensor:
        """Return -log2 of the mass of the unit interval around each value."""
        distance = values.abs()
        inverse = math.sqrt(0.5) / self.scales
        upper = torch.erfc((distance - 0.5) * inverse)
        lower = torch.erfc((distance + 0.5) * inverse)
        return _bits(0.5 * (upper - lower))


class Laplace(_ScaledLaw):
    """Zero-mean Laplace law: the density falls by e every `scales` [B, C, h, w].

    Its rows follow those of the Gaussian. At half the scale of a Gaussian about as little is left
    beyond the first symbol, so both share their thresholds.
    """

    first_row = SCALE_LEVELS
    spread = 2.0

    @staticmethod
    def tables() -> EntropyTables:
        """Return the rows of all levels."""
        return laplace_tables(level_scales() / Laplace.spread)

    def bits(self, values: Tensor) -> Tensor:
        """Return -log2 of the mass of the unit interval around each value."""
        distance = values.abs()
        return _bits(self._mass_beyond(distance - 0.5) - self._mass_beyond(distance + 0.5))

    def _mass_beyond(self, values: Tensor) -> Tensor:
        tail = 0.5 * torch.exp(-values.abs() / self.scales)
        return torch.where(values < 0, 1 - tail, tail)


class Bernoulli:
    """The law of flags, 0 or 1, which are coded where they are `asked` for; elsewhere they are 0.

    Both are [B, C, h, w]; `logits` are those of the probability of 1.
    """

    first_row: ClassVar[int] = 2 * SCALE_LEVELS

    def __init__(self, logits: Tensor, asked: Tensor) -> None:
        self.logits = logits
        self.asked = asked
        self.shape = logits.shape

    @staticmethod
    def tables() -> EntropyTables:
        """Return the rows of all levels."""
        logits = LOGIT_STEP * (np.arange(FLAG_LEVELS) - FLAG_LEVELS / 2)
        return flag_tables(1 / (1 + np.exp(-logits)))

    def bits(self, values: Tensor) -> Tensor:
        """Return -log2 of the probability of each flag."""
        logits = self.logits.clamp(-LOGIT_MAX, LOGIT_MAX)
        bits = functional.softplus(logits) - values * logits
        return torch.where(self.asked, bits / math.log(2), 0.0)

    def frozen(self) -> Bernoulli:
        """Return the same law without its gradient's history."""
        return Bernoulli(self.logits.detach(), self.asked)

    def rows(self, thresholds: Tensor) -> Tensor:
        """Return the row of each logit's level; SKIP where no flag is coded."""
        levels = (self.logits / LOGIT_STEP).round() + FLAG_LEVELS / 2
        levels = levels.clamp(0, FLAG_LEVELS - 1)
        return torch.where(self.asked, self.first_row + levels.long(), SKIP)

    def quantise(self, values: Tensor) -> Tensor:
        """Return the flags as they are."""
        return values

    def coded(self, integers: Tensor) -> Tensor:
        """Return the flags as they are."""
        return integers


class FactorisedPrior(nn.Module):
    """A learned cumulative distribution for every channel and quality (DCVC-RT, section 4.4).

    The cumulative function is the sigmoid of four monotone layers of width one. `first_row`
    is the row of the integer tables of quality 0, channel 0; the others follow. Who builds the
    model assigns it.
    """

    first_row: int

    def __init__(self, qualities: int, channels: int) -> None:
        super().__init__()
        self.qualities = qualities
        self.channels = channels
        shape = (4, qualities, channels)
        self.stretch = nn.Parameter(0.01 * torch.randn(shape))
        self.shift = nn.Parameter(0.01 * torch.randn(shape))
        self.bend = nn.Parameter(0.01 * torch.randn((3, qualities, channels)))

    @property
    def row_count(self) -> int:
        """Rows of the integer tables that this prior needs."""
        return self.qualities * self.channels

    def logits(self, values: Tensor, quality: Tensor | slice, *, frozen: bool = False) -> Tensor:
        """Return the logit of the cumulative function at `values` [Q, C, ...].

        Where it is `frozen`, only the values get a gradient.
        """
        extra = (1,) * (values.dim() - 2)

        def of(parameter: Tensor) -> Tensor:
            selected = (parameter.detach() if frozen else parameter)[quality]
            return selected.view(*selected.shape, *extra)

        for layer in range(4):
            values = values * functional.softplus(of(self.stretch[layer])) + of(self.shift[layer])
            if layer < 3:
                values = values + torch.tanh(values) * torch.tanh(of(self.bend[layer]))
        return values

    def at(self, positions: Tensor, height: int, width: int) -> Factorised:
        """Return the law of a latent at quality positions [B]; the nearest quality is taken.

        A prior of one quality serves all.
        """
        quality = positions.round().long().clamp(max=self.qualities - 1)
        return Factorised(self, quality, height, width)


class Factorised:
    """The law of a latent z [B, C, h, w] at one quality per sample."""

    def __init__(
        self,
        prior: FactorisedPrior,
        quality: Tensor,
        height: int,
        width: int,
        *,
        is_frozen: bool = False,
    ) -> None:
        self.prior = prior
        self.quality = quality
        self.shape = torch.Size((len(quality), prior.channels, height, width))
        self.is_frozen = is_frozen

    def frozen(self) -> Factorised:
        """Return the same law without its gradient's history."""
        return Factorised(self.prior, self.quality, *self.shape[-2:], is_frozen=True)

    def bits(self, values: Tensor) -> Tensor:
        """Return -log2 of the mass of the unit interval around each value."""
        lower = self.prior.logits(values - 0.5, self.quality, frozen=self.is_frozen)
        upper = self.prior.logits(values + 0.5, self.quality, frozen=self.is_frozen)
        # On the far side of the median the differences of sigmoids would cancel.
        sign = torch.where(lower + upper > 0, -1.0, 1.0)
        return _bits((torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs())

    def rows(self, thresholds: Tensor) -> Tensor:
        """Return the row of each channel's table."""
        channels = torch.arange(self.prior.channels, device=self.quality.device)
        rows = self.prior.first_row + self.quality[:, None] * self.prior.channels + channels
        return rows[:, :, None, None].expand(self.shape)

    @torch.no_grad()
    def quantise(self, values: Tensor) -> Tensor:
        """Return the nearest integers."""
        return values.round().clamp(-SYMBOL_MAX, SYMBOL_MAX)

    def coded(self, integers: Tensor) -> Tensor:
        """Return the integers."""
        return integers
