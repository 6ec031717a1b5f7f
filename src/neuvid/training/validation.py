"""What a model does with the same clips each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuvid.lagrangian import PLANE_WEIGHTS
from neuvid.models.base import VideoModel
from neuvid.training.chains import ChainLosses
from neuvid.training.stages import Recipe

QUALITIES = (0, 16, 32, 48, 63)
ROUTE_QUALITIES = (
    (0, 16),
    (16, 24),
    (16, 32),
    (32, 48, 63),
)  # of each route, where there are several


@dataclass(frozen=True, slots=True)
class Validation:
    """Codes `frames` [B, T, 3, H, W] as a recipe says, with rounding in the place of noise."""

    recipe: Recipe
    frames: Tensor

    def numbers(self, model: VideoModel[Any]) -> dict[str, float]:
        """Return the mean loss, and rate and PSNR of Y at each point by name."""
        if model.routes == 1:
            points = {f"{quality}": (0, quality) for quality in QUALITIES}
        else:
            points = {
                f"{quality} on route {route}": (route, quality)
                for route, qualities in enumerate(ROUTE_QUALITIES)
                for quality in qualities
            }
        losses, numbers = [], {}
        for name, (route, quality) in points.items():
            coded = self._code(model, route, quality)
            losses.append(coded.loss.mean().item())
            numbers[f"bpp_{name}"] = coded.bits_per_pixel.mean().item()
            numbers[f"psnr_{name}"] = coded.plane_psnr[:, 0].mean().item()
        return {"loss": sum(losses) / len(losses), **numbers}

    def point(self, model: VideoModel[Any], route: int, quality: float) -> tuple[float, float]:
        """Return bits per pixel and mean squared error of inter frames on a route."""
        coded = self._code(model, route, quality)
        weights = torch.tensor(PLANE_WEIGHTS, device=coded.plane_psnr.device)
        errors = 10 ** (-(coded.plane_psnr * weights).sum(1) / 10)
        return coded.bits_per_pixel.mean().item(), errors.mean().item()

    def _code(self, model: VideoModel[Any], route: int, quality: float) -> ChainLosses:
        count = self.frames.shape[1]
        chain = self.recipe.chain(
            frames=self.frames,
            quality=(float(quality),) * len(self.frames),
            routes=(route,),
            objective=self.recipe.objective,
            noise=False,
        )
        if count == 1:
            return chain.code(model, None, range(1))[0]
        return chain.code(model, chain.start(model), range(1, count))[0]
