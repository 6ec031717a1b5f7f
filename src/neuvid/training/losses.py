"""What training minimises: bits per pixel and lambda times distortion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from neuvid.lagrangian import PLANE_WEIGHTS, LambdaRange

LEVEL_WEIGHTS = (0.52, 1.33, 0.83)  # of the distortion at each level (DCVC-DC)
ERROR_MIN = 1e-6  # mean squared error below which a plane counts as perfect
KR, KB = 0.2126, 0.0722  # BT.709
KG = 1 - KR - KB
BALANCED_QUALITY = 48.0  # whose loss is the same whatever the balance


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a frame's loss is made of: bits per pixel and lambda times distortion.

    `rgb_share` is the part of R, G, B in the distortion. Losses are divided by lambda to the
    power of `balance`: at 0 the highest qualities outweigh all others a hundredfold, at about
    0.65 all qualities weigh the same.
    """

    rgb_share: float
    balance: float = 0.0

    def loss(
        self,
        bits_per_pixel: Tensor,
        distortion: Tensor,
        quality: Tensor,
        *,
        lambdas: LambdaRange,
        weight: float = 1.0,
    ) -> Tensor:
        """Return the loss [B] of frames whose distortion weighs `weight`; tensors are [B]."""
        loss = bits_per_pixel + weight * lambdas.at(quality) * distortion
        middle = lambdas.at(torch.tensor(BALANCED_QUALITY, device=quality.device))
        return loss * (middle / lambdas.at(quality)) ** self.balance


def plane_errors(reconstruction: Tensor, frame: Tensor) -> Tensor:
    """Return mean squared errors [B, 3] of Y, U, V; chroma at half the resolution (4:2:0).

    Both pictures are [B, 3, H, W], values in [0, 1].
    """
    difference = reconstruction - frame
    luma = difference[:, :1].square().mean((1, 2, 3))
    chroma = functional.avg_pool2d(difference[:, 1:], 2).square().mean((2, 3))
    return torch.cat((luma[:, None], chroma), 1)


@torch.no_grad()
def plane_psnr(reconstruction: Tensor, frame: Tensor) -> Tensor:
    """Return the PSNR [B, 3] of Y, U, V in dB, 100 at most."""
    return -10 * plane_errors(reconstruction.float(), frame).clamp(min=1e-10).log10()


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
