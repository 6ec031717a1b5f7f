"""Coding a latent in a few steps, each of which sees what the steps before it coded.

The channels form G groups. At every position each step codes exactly one group, so a step
folds the latent [B, C, h, w] to [B, C/G, h, w], and after G steps everything is coded.
"""

from __future__ import annotations

from collections.abc import Callable

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


def _masks(groups: tuple[int, ...], like: Tensor) -> Tensor:
    """Return [G, 1, h, w]: 1 where a group is coded in the step, else 0."""
    height, width = like.shape[-2:]
    tile = torch.tensor(groups).to(like.device, non_blocking=True).view(2, 2)
    coded = tile.repeat(-(-height // 2), -(-width // 2))[:height, :width]
    numbers = torch.arange(max(groups) + 1, device=like.device).view(-1, 1, 1)
    return (coded == numbers).to(like.dtype)[:, None]


def _fold(values: Tensor, masks: Tensor) -> Tensor:
    batch, channels, height, width = values.shape
    groups = values.view(batch, len(masks), channels // len(masks), height, width)
    return (groups * masks).sum(1)


def _unfold(folded: Tensor, masks: Tensor) -> Tensor:
    return (folded[:, None] * masks).flatten(1, 2)


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
        masks = _masks(groups, start)
        scales, means = (_fold(each, masks) for each in parameters(step, coded))
        residual = None if values is None else _fold(values, masks) - means
        coded = coded + _unfold(coder.code(residual, law(scales)) + means, masks)
    return coded
