"""Motion compensation of feature maps. Motion [B, 2, H, W] is in pixels: to the right, down."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def warp(image: Tensor, motion: Tensor) -> Tensor:
    """Return `image` [B, C, H, W] as seen from where `motion` points to, by linear interpolation.

    Beyond the border its values go on. Motion is relative to each pixel: 16 bits hold an offset
    well, but not a place in a large picture, so places are in float32 whatever comes in.
    """
    height, width = image.shape[-2:]
    rows = torch.linspace(-1, 1, height, device=image.device)[:, None]
    columns = torch.linspace(-1, 1, width, device=image.device)
    right, down = motion.float().unbind(1)
    places = torch.stack(
        (columns + right / (max(width - 1, 1) / 2), rows + down / (max(height - 1, 1) / 2)), -1
    )
    warped = functional.grid_sample(
        image.float(), places, mode="bilinear", padding_mode="border", align_corners=True
    )
    return warped.to(image.dtype)


def double_motion(motion: Tensor) -> Tensor:
    """Return [B, 2, 2H, 2W]: the motion of a picture of twice the resolution."""
    return 2 * enlarge(motion)


def halve_motion(motion: Tensor) -> Tensor:
    """Return [B, 2, H/2, W/2]: the motion of a picture of half the resolution."""
    return functional.avg_pool2d(motion, 2) / 2


def enlarge(values: Tensor) -> Tensor:
    """Return [B, C, 2H, 2W] by linear interpolation."""
    return functional.interpolate(values, scale_factor=2, mode="bilinear", align_corners=False)
