"""What training minimises: bits per pixel and lambda times distortion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neuvid.lagrangian import PLANE_WEIGHTS, LambdaRange
from neuvid.video.frame import BLUE, GREEN, RED

LEVEL_WEIGHTS = (0.52, 1.33, 0.83)  # of the distortion at each level (DCVC-DC)
ERROR_MIN = 1e-6  # mean squared error below which a plane counts as perfect
RED_OF_V, BLUE_OF_U = 2 - 2 * RED, 2 - 2 * BLUE
RGB_OF_YUV = np.array(
    (
        (1, 0, RED_OF_V),
        (1, -BLUE_OF_U * BLUE / GREEN, -RED_OF_V * RED / GREEN),
        (1, BLUE_OF_U, 0),
    )
)
RGB_PRODUCTS = (RGB_OF_YUV.T @ RGB_OF_YUV).tolist()  # what products of Y, U, V weigh in errors
BALANCED_QUALITY = 48.0  # whose loss is the same whatever the balance


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean squared errors of pictures whose values are in [0, 1]."""

    planes: Tensor  # [B, 3] of Y, U, V; chroma at half the resolution (4:2:0)
    rgb: Tensor  # [B], the sum of those of R, G, B by BT.709

    @torch.no_grad()
    def plane_psnr(self) -> Tensor:
        """Return the PSNR [B, 3] of Y, U, V in dB, 100 at most."""
        return -10 * self.planes.clamp(min=1e-10).log10()


def errors_of(reconstruction: Tensor, frame: Tensor) -> Errors:
    """Return the errors of pictures [B, 3, H, W] of Y, U, V."""
    difference = reconstruction.float() - frame
    pixels = difference.flatten(2)
    with torch.autocast(pixels.device.type, enabled=False):
        products = pixels @ pixels.transpose(1, 2) / pixels.shape[2]  # [B, 3, 3]
    chroma = functional.avg_pool2d(difference[:, 1:], 2).square().mean((2, 3))
    weights = torch.tensor(RGB_PRODUCTS).to(products.device, non_blocking=True)
    rgb = (products * weights).sum((1, 2))
    return Errors(torch.cat((products[:, :1, 0], chroma), 1), rgb)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a frame's loss is made of: bits per pixel and lambda times distortion.

    `rgb_share` is the part of R, G, B in the distortion, `plane_weights` those of Y, U, V among
    each other in the rest. Losses are divided by lambda to the
    power of `balance`: at 0 the highest qualities outweigh all others a hundredfold, at about
    0.65 all qualities weigh the same.
    """

    rgb_share: float
    plane_weights: tuple[float, float, float] = PLANE_WEIGHTS
    balance: float = 0.0

    def distortion(self, errors: Errors) -> Tensor:
        """Return the distortion [B]: three times the planes' weighted geometric mean, and RGB's.

        The geometric mean is to errors what the weighted mean of the planes' PSNRs is to PSNR.
        """
        weights = torch.tensor(self.plane_weights).to(errors.planes.device, non_blocking=True)
        logarithms = (errors.planes + ERROR_MIN).log()
        planes = 3 * (logarithms * weights / weights.sum()).sum(1).exp()
        return (1 - self.rgb_share) * planes + self.rgb_share * errors.rgb

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
        middle = lambdas.at(quality.new_full((), BALANCED_QUALITY))
        return loss * (middle / lambdas.at(quality)) ** self.balance
