"""Arithmetic whose results are the same on every machine; docs/determinism.md tells why.

Matrix products are sums of integers. Everything else is single float32 operations that IEEE 754
rounds in one way, in an order that is written down here. This module is the definition; what is
faster is only ever proven equal to it. Feature maps are [B, H, W, C].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

ACTIVATION_BITS = 13  # activations are integers within +-2^13
WEIGHT_MAX = 32767
SEGMENT = 256  # inputs whose products are summed as integers
SEGMENT_SUM_MAX = (1 << (31 - ACTIVATION_BITS)) - 1  # of the absolute weights of a segment
EXPONENT_MIN, EXPONENT_MAX = -24, 40  # of activations; smaller ones vanish, larger ones saturate
SHIFT_MAX = 40  # weights below 2^-40 vanish

SILU_MIN = -40.0  # SiLU is constant below
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440054690583e-4  # their sum is ln 2
TAYLOR = (1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0)  # of exp, highest power first


@dataclass(frozen=True, slots=True)
class IntegerMatrix:
    """Weights and bias of a linear map: weight = integer * step, a power of two for each output."""

    weights: Tensor  # [outputs, inputs] int16
    steps: Tensor  # [outputs] float32
    bias: Tensor  # [outputs] float32

    @classmethod
    def of(cls, weights: Tensor, bias: Tensor) -> IntegerMatrix:
        """Round weights [outputs, inputs] with the smallest steps for which no sum overflows.

        Raises ValueError for weights that are not finite.
        """
        if not (weights.isfinite().all() and bias.isfinite().all()):
            raise ValueError("weights must be finite")
        shifts = _first_shifts(weights)
        while True:
            integers = (weights * power_of_two(shifts)[:, None]).round()
            excessive = _segment_sums(integers) > SEGMENT_SUM_MAX
            excessive |= integers.abs().amax(1) > WEIGHT_MAX
            if not excessive.any():
                return cls(integers.to(torch.int16), power_of_two(-shifts), bias)
            shifts = shifts - excessive.int()


def _segment_sums(weights: Tensor) -> Tensor:
    """Return the largest sum [outputs] of absolute weights in a segment, in double precision."""
    parts = torch.split(weights.abs(), SEGMENT, 1)
    return torch.stack([part.sum(1, dtype=torch.float64) for part in parts]).amax(0)


def _first_shifts(weights: Tensor) -> Tensor:
    """Return shifts [outputs], int32, with which the rounded weights are the least too large."""
    sums = torch.frexp(_segment_sums(weights)).exponent
    largest = torch.frexp(weights.abs().amax(1)).exponent
    fitting = torch.minimum(SEGMENT_SUM_MAX.bit_length() - sums, WEIGHT_MAX.bit_length() - largest)
    return (fitting + 1).clamp(-SHIFT_MAX, SHIFT_MAX)


def power_of_two(exponents: Tensor) -> Tensor:
    """Return 2^n as float32 for int32 n in -126..127."""
    return ((exponents + 127) << 23).view(torch.float32)


def round_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return integers [..., C] and their unit [..., 1], a power of two, for float32 rows [..., C].

    The largest absolute value of a row determines its unit.
    """
    largest = rows.abs().amax(-1, keepdim=True)
    exponents = (largest.view(torch.int32) >> 23) - 126  # largest < 2^exponent
    shifts = ACTIVATION_BITS - exponents.clamp(EXPONENT_MIN, EXPONENT_MAX)
    limit = float(1 << ACTIVATION_BITS)
    integers = (rows * power_of_two(shifts)).round().clamp(-limit, limit)
    return integers, power_of_two(-shifts)


def product(rows: Tensor, matrix: IntegerMatrix) -> Tensor:
    """Return [..., outputs] of float32 rows [..., inputs]."""
    integers, unit = round_rows(rows)
    parts = torch.split(integers.double(), SEGMENT, -1)
    weights = torch.split(matrix.weights.double(), SEGMENT, 1)
    # The integers are below 2^31, so that double precision sums are exact in any order.
    sums = [(part @ weight.mT).float() for part, weight in zip(parts, weights, strict=True)]
    total = sums[0]
    for each in sums[1:]:
        total = total + each
    return total * (unit * matrix.steps) + matrix.bias


def exp(x: Tensor) -> Tensor:
    """Return e^x, within 2 units in the last place, of float32 in -80..80."""
    power = (x * LOG2_E).round()
    rest = (x - power * LN2_HIGH) - power * LN2_LOW
    series = torch.full_like(rest, TAYLOR[0])
    for coefficient in TAYLOR[1:]:
        series = series * rest + coefficient
    return series * power_of_two(power.int())


def silu(x: Tensor) -> Tensor:
    """Return x sigmoid(x)."""
    bounded = x.clamp(min=SILU_MIN)
    return bounded / (exp((-bounded).clamp(min=SILU_MIN)) + 1.0)


def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x)."""
    return torch.ones_like(x) / (exp((-x).clamp(SILU_MIN, -SILU_MIN)) + 1.0)


def patches(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Return [B, H', W', kernel * kernel * C]: what each position of a convolution sees."""
    padded = functional.pad(x, (0, 0, padding, padding, padding, padding))
    rows, columns = ((side - kernel) // stride * stride + 1 for side in padded.shape[1:3])
    taps = [
        padded[:, y : y + rows : stride, x : x + columns : stride]
        for y in range(kernel)
        for x in range(kernel)
    ]
    return torch.cat(taps, -1)


def depthwise(x: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """Convolve each channel with its own 3x3 weights [9, C], adding tap after tap to the bias."""
    total = bias
    for tap, weight in zip(patches(x, 3, 1, 1).chunk(9, -1), weights, strict=True):
        total = total + tap * weight
    return total


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution with a square kernel; the matrix has the inputs [kernel, kernel, C]."""

    matrix: IntegerMatrix
    kernel: int = 1
    stride: int = 1
    padding: int = 0

    def apply(self, x: Tensor) -> Tensor:
        """Return [B, H', W', outputs] of float32 [B, H, W, C]."""
        if self.kernel == self.stride == 1:
            return product(x, self.matrix)
        return product(patches(x, self.kernel, self.stride, self.padding), self.matrix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The parts of a `DepthConvBlock`."""

    adaptor: IntegerMatrix | None
    expand: IntegerMatrix
    depthwise: Tensor  # [9, C] float32
    depthwise_bias: Tensor  # [C] float32
    project: IntegerMatrix
    widen: IntegerMatrix
    narrow: IntegerMatrix
    shortcut: bool

    def apply(self, x: Tensor) -> Tensor:
        """Return [B, H, W, C] of float32 [B, H, W, inputs]."""
        if self.adaptor is not None:
            x = product(x, self.adaptor)
        expanded = silu(product(x, self.expand))
        filtered = depthwise(expanded, self.depthwise, self.depthwise_bias)
        spatial = x + product(filtered, self.project)
        first, second = silu(product(spatial, self.widen)).chunk(2, -1)
        mixed = spatial + product(first + second, self.narrow)
        return mixed + x if self.shortcut else mixed
