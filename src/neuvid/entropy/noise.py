"""Coding with noise in the place of rounding, for training.

The bits are those of the rounded values, so the laws learn what is really coded. Values get the
gradient of what they cost with uniform noise of one step, and that of the coded values straight
through the rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neuvid import _fused
from neuvid.entropy.distributions import (
    ERROR_PER_BIT,
    PROBABILITY_MIN,
    SCALE_USEFUL,
    SYMBOL_MAX,
    Distribution,
    Laplace,
)

LEVELS = _fused.levels()


def code_with_noise(values: Tensor, law: Distribution) -> tuple[Tensor, Tensor]:
    """Return what a decoder sees of `values` [B, C, h, w], and the bits [B]."""
    noise = torch.empty_like(values).uniform_(-0.5, 0.5)
    if isinstance(law, Laplace) and LEVELS and values.device.type == "cpu":
        least = SCALE_USEFUL / law.spread if law.skips else 0.0
        coded, bits = _NativeLaplace.apply(values, law.scales, noise, least)  # type: ignore[no-untyped-call]
        return coded, bits
    return _by_definition(values, law, noise)


def _by_definition(values: Tensor, law: Distribution, noise: Tensor) -> tuple[Tensor, Tensor]:
    integers = law.quantise(values)
    # Not coded values count too: a law must not save bits by leaving values out.
    bits = law.bits(integers)
    noisy = law.frozen().bits(values + noise)
    bits = bits + (noisy - noisy.detach())
    coded = values + (law.coded(integers) - values).detach()
    return coded, bits.flatten(1).sum(1)


class _NativeLaplace(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, scales: Tensor, noise: Tensor, least: float
    ) -> tuple[Tensor, Tensor]:
        inputs = [_rows(tensor) for tensor in (values, scales, noise)]
        coded, value_slopes, scale_slopes = (torch.empty_like(inputs[0]) for _ in range(3))
        bits = inputs[0].new_empty(len(values))
        bounds = (least, ERROR_PER_BIT, PROBABILITY_MIN, float(SYMBOL_MAX))
        arrays = [rows.flatten(1).numpy() for rows in (*inputs, coded, value_slopes, scale_slopes)]
        _fused.code_laplace(LEVELS[-1], *arrays, bits.numpy(), bounds)
        ctx.save_for_backward(value_slopes, scale_slopes)
        return coded.permute(0, 3, 1, 2), bits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_coded, of_bits = gradients
        of_values, of_scales = (
            (of_bits[:, None, None, None] * slopes).permute(0, 3, 1, 2)
            for slopes in ctx.saved_tensors
        )
        return of_values + of_coded, of_scales, None, None


def _rows(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).contiguous()

