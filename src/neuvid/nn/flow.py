"""Motion estimation from coarse to fine (SPyNet)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuvid.nn.warp import double_motion, warp

KERNELS = (7, 7, 5, 5)  # at 1/8, 1/4, 1/2 and the full resolution
WIDTHS = (8, 32, 64, 32, 16, 2)  # two pictures and motion in, motion out


def _level(kernel: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(WIDTHS):
        layers += [nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class MotionEstimator(nn.Module):
    """Estimates from where in a reference each pixel of a frame comes; H and W multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_level(kernel) for kernel in KERNELS)

    def forward(self, frame: Tensor, reference: Tensor) -> Tensor:
        """Return the motion [B, 2, H, W] between two pictures [B, 3, H, W]."""
        pyramid = [(frame, reference)]
        for _ in self.levels[1:]:
            current, last = pyramid[-1]
            pyramid.append((functional.avg_pool2d(current, 2), functional.avg_pool2d(last, 2)))
        coarsest = torch.cat(pyramid[-1], 1)
        # Levels may compute in 16 bits, their sum may not.
        motion: Tensor = self.levels[0](functional.pad(coarsest, (0, 0, 0, 0, 0, 2))).float()
        for level, (current, last) in zip(self.levels[1:], pyramid[-2::-1], strict=True):
            motion = double_motion(motion)
            motion = motion + level(torch.cat((current, warp(last, motion), motion), 1))
        return motion
