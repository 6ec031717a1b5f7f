"""What a bit is worth in distortion at each quality."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from neuvid.choice import QUALITIES

PLANE_WEIGHTS = (6 / 8, 1 / 8, 1 / 8)  # of Y, U, V in the papers' PSNR


@dataclass(frozen=True, slots=True)
class LambdaRange:
    """Weights of the distortion from the lowest quality to the highest, even in logarithms."""

    low: float
    high: float

    def at(self, quality: Tensor) -> Tensor:
        """Return lambda at qualities 0..63; beyond them the line goes on."""
        growth = math.log(self.high / self.low) / (QUALITIES - 1)
        return self.low * torch.exp(growth * quality)


INTRA_LAMBDAS = LambdaRange(10, 4096)
INTER_LAMBDAS = LambdaRange(1, 768)
