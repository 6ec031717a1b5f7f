"""What training minimises: bits per pixel and lambda times distortion."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from neuvid.rate.lagrangian import PLANE_WEIGHTS

LEVEL_WEIGHTS = (0.52, 1.33, 0.83)  # of the distortion at each level (DCVC-DC)
ERROR_MIN = 1e-6  # mean squared error below which a plane counts as perfect
KR, KB = 0.2126, 0.0722  # BT.709
KG = 1 - KR - KB


def plane_errors(reconstruction: Tensor, frame: Tensor) -> Tensor:
    """Return mean squared errors [B, 3] of Y, U, V; chroma at half the resolution (4:2:0).

    Both pictures are [B, 3, H, W], values in [0, 1].
    """
    difference = reconstruction - frame
    luma = difference[:, :1].square().mean((1, 2, 3))
    chroma = functional.avg_pool2d(difference[:, 1:], 2).square().mean((2, 3))
    return torch.cat((luma[:, None], chroma), 1)


def rgb_error(reconstruction: Tensor, frame: Tensor) -> Tensor:
    """Return the sum [B] of the mean squared errors of R, G, B by BT.709."""
    luma, blue, red = (reconstruction - frame).unbind(1)
    r = luma + 2 * (1 - KR) * red
    b = luma + 2 * (1 - KB) * blue
    g = (luma - KR * r - KB * b) / KG
    return torch.stack((r, g, b), 1).square().mean((2, 3)).sum(1)


def distortion(reconstruction: Tensor, frame: Tensor, rgb_share: float) -> Tensor:
    """Return the distortion [B]: three times the planes' weighted geometric mean, and RGB's.

    The geometric mean is to errors what the weighted mean of the planes' PSNRs is to PSNR.
    """
    weights = torch.tensor(PLANE_WEIGHTS, device=frame.device)
    logarithms = (plane_errors(reconstruction, frame) + ERROR_MIN).log()
    planes = 3 * (logarithms * weights).sum(1).exp()
    return (1 - rgb_share) * planes + rgb_share * rgb_error(reconstruction, frame)
