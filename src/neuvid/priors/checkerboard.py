"""Coding a latent in a few steps, each of which sees what the steps before it coded.

The channels form G groups. At every position each step codes exactly one group, so a step
folds the latent [B, C, h, w] to [B, C/G, h, w], and after G steps everything is coded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import SCALE_MIN, Distribution, Gaussian, Laplace
from neuvid.nn.rounding import lower_bound

# PATTERN[step][phase] is the group coded there; phase = 2 (row mod 2) + (column mod 2).
Pattern = tuple[tuple[int, ...], ...]
TWO_STEPS: Pattern = ((0, 1, 1, 0), (1, 0, 0, 1))
FOUR_STEPS: Pattern = ((0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (1, 0, 3, 2))

# (step, latent coded so far [B, C, h, w]) -> scales and means [B, C, h, w]
Parameters = Callable[[int, Tensor], tuple[Tensor, Tensor]]
Law = Callable[[Tensor], Distribution]  # of the scales that a network predicts, whatever they are


def skipping_gaussian(scales: Tensor) -> Gaussian:
    """Return a Gaussian that codes nothing where scales are too small to be useful."""
    return Gaussian(lower_bound(scales, SCALE_MIN))


def skipping_laplace(scales: Tensor) -> Laplace:
    """Return a Laplace law that codes as little at small scales as the Gaussian does."""
    return Laplace(lower_bound(scales, SCALE_MIN) / Laplace.spread)


class _Fold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, groups: tuple[int, ...]) -> Tensor:
        ctx.groups = groups
        return _folded(values, groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _unfolded(gradients[0], ctx.groups), None


class _Unfold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, folded: Tensor, groups: tuple[int, ...]) -> Tensor:
        ctx.groups = groups
        return _unfolded(folded, groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _folded(gradients[0], ctx.groups), None


def _parts(
    unfolded: Tensor, folded: Tensor, groups: tuple[int, ...]
) -> list[tuple[Tensor, Tensor]]:
    """Return for each phase the views of both where its group is."""
    channels = folded.shape[1]
    parts = []
    for phase, group in enumerate(groups):
        rows, columns = (slice(first, None, 2) for first in divmod(phase, 2))
        of_group = unfolded[:, group * channels : (group + 1) * channels, rows, columns]
        parts.append((of_group, folded[:, :, rows, columns]))
    return parts


def _like(maps: Tensor) -> dict[str, Any]:
    return {
        "dtype": maps.dtype,
        "device": maps.device,
        "memory_format": torch.channels_last,
    }


def _folded(values: Tensor, groups: tuple[int, ...]) -> Tensor:
    """Return [B, C/G, h, w]: at each position the group of values [B, C, h, w] coded there."""
    batch, channels, height, width = values.shape
    size = (batch, channels // (max(groups) + 1), height, width)
    folded = torch.empty(size, **_like(values))
    for of_group, part in _parts(values, folded, groups):
        part.copy_(of_group)
    return folded


def _unfolded(folded: Tensor, groups: tuple[int, ...]) -> Tensor:
    """Return [B, C, h, w] with a folded latent in its places, and zeros elsewhere."""
    batch, channels, height, width = folded.shape
    size = (batch, channels * (max(groups) + 1), height, width)
    values = torch.empty(size, **_like(folded)).zero_()
    for of_group, part in _parts(values, folded, groups):
        of_group.copy_(part)
    return values


def _fold(values: Tensor, groups: tuple[int, ...]) -> Tensor:
    folded: Tensor = _Fold.apply(values, groups)  # type: ignore[no-untyped-call]
    return folded


def _unfold(folded: Tensor, groups: tuple[int, ...]) -> Tensor:
    values: Tensor = _Unfold.apply(folded, groups)  # type: ignore[no-untyped-call]
    return values


def code_in_steps(
    values: Tensor | None,
    pattern: Pattern,
    parameters: Parameters,
    start: Tensor,
    coder: LatentCoder,
    *,
    law: Law = skipping_gaussian,
) -> Tensor:
    """Code `values` [B, C, h, w] (None when reading) and return what the decoder sees.

    `start` is zeros [B, C, h, w]: the latent before anything is coded.
    """
    coded = start
    for step, groups in enumerate(pattern):
        scales, means = (_fold(each, groups) for each in parameters(step, coded))
        residual = None if values is None else _fold(values, groups) - means
        coded = coded + _unfold(coder.code(residual, law(scales)) + means, groups)
    return coded
