"""Operations whose gradient is not their derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(values)
        ctx.bound = bound
        return values.clamp(min=bound)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (values,) = ctx.saved_tensors
        (gradient,) = gradients
        passes = (values >= ctx.bound) | (gradient < 0)
        return torch.where(passes, gradient, 0.0), None


def lower_bound(values: Tensor, bound: float) -> Tensor:
    """Return max(values, bound); below the bound only gradients that push upwards pass."""
    if not torch.is_grad_enabled():
        return values.clamp(min=bound)
    bounded: Tensor = _LowerBound.apply(values, bound)  # type: ignore[no-untyped-call]
    return bounded
