"""Coding with noise in the place of rounding, for training.

The bits are those of the rounded values, so the laws learn what is really coded. Values get the
gradient of what they cost with uniform noise of one step, and that of the coded values straight
through the rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
    if not values.requires_grad:
        return law.coded(integers), law.bits(integers).flatten(1).sum(1)
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
        values, scales, noise = (_rows(maps) for maps in (values, scales, noise))
        coded, value_slopes, scale_slopes = (torch.empty_like(values) for _ in range(3))
        bits = values.new_empty(len(values))
        _fused.code_laplace(
            LEVELS[-1],
            values=_flat(values),
            scales=_flat(scales),
            noise=_flat(noise),
            coded=_flat(coded),
            value_slopes=_flat(value_slopes),
            scale_slopes=_flat(scale_slopes),
            bits=bits.numpy(),
            bounds=(least, ERROR_PER_BIT, PROBABILITY_MIN, float(SYMBOL_MAX)),
        )
        ctx.save_for_backward(value_slopes, scale_slopes)
        decoded = coded.permute(0, 3, 1, 2)
        if not ctx.needs_input_grad[0]:
            ctx.mark_non_differentiable(decoded)
        return decoded, bits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_coded, of_bits = gradients[0], gradients[1][:, None, None, None]
        value_slopes, scale_slopes = (slopes.permute(0, 3, 1, 2) for slopes in ctx.saved_tensors)
        of_values = None
        if ctx.needs_input_grad[0]:
            of_values = torch.addcmul(of_coded, of_bits, value_slopes)
        return of_values, of_bits * scale_slopes, None, None


def _rows(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).contiguous()


def _flat(rows: Tensor) -> NDArray[np.float32]:
    flat: NDArray[np.float32] = rows.flatten(1).numpy()
    return flat
