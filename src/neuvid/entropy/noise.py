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
    LOGIT_MAX,
    PROBABILITY_MIN,
    SCALE_USEFUL,
    SYMBOL_MAX,
    Bernoulli,
    Distribution,
    Laplace,
)
from neuvid.kernels import LEVELS


def code_with_noise(values: Tensor, law: Distribution) -> tuple[Tensor, Tensor]:
    """Return what a decoder sees of `values` [B, C, h, w], and the bits [B]."""
    if LEVELS and values.device.type == "cpu":
        if isinstance(law, Laplace):
            noise = torch.empty_like(values).uniform_(-0.5, 0.5)
            least = SCALE_USEFUL / law.spread if law.skips else 0.0
            coded, bits = _NativeLaplace.apply(values, law.scales, noise, least)  # type: ignore[no-untyped-call]
            return coded, bits
        if isinstance(law, Bernoulli):
            return values, _NativeFlags.apply(values, law.logits, law.asked)  # type: ignore[no-untyped-call]
    return _by_definition(values, law)


def _by_definition(values: Tensor, law: Distribution) -> tuple[Tensor, Tensor]:
    integers = law.quantise(values)
    if not values.requires_grad:
        return law.coded(integers), law.bits(integers).flatten(1).sum(1)
    noise = torch.empty_like(values).uniform_(-0.5, 0.5)
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


class _NativeFlags(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flags: Tensor, logits: Tensor, asked: Tensor) -> Tensor:
        flags, logits, asked = (maps.contiguous() for maps in (flags, logits, asked))
        slopes, bits = torch.empty_like(logits), logits.new_empty(len(logits))
        _fused.code_flags(
            flags=_flat(flags),
            logits=_flat(logits),
            asked=asked.flatten(1).numpy(),
            most=LOGIT_MAX,
            bits=bits.numpy(),
            slopes=_flat(slopes),
        )
        ctx.save_for_backward(slopes)
        return bits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        (slopes,) = ctx.saved_tensors
        return None, gradients[0][:, None, None, None] * slopes, None


def _rows(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).contiguous()


def _flat(rows: Tensor) -> NDArray[np.float32]:
    flat: NDArray[np.float32] = rows.flatten(1).numpy()
    return flat
