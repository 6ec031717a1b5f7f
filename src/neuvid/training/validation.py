"""What a model does with the same clips each time; the processes of a run share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuvid.lagrangian import PLANE_WEIGHTS
from neuvid.models.base import VideoModel
from neuvid.training.processes import Processes
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
    """Codes frames [B, T, 3, H, W] as a recipe says, with rounding in the place of noise.

    Each process codes every so many-th of them. All processes call the same methods at the same
    time, and get the same means.
    """

    recipe: Recipe
    frames: Tensor  # on the device
    processes: Processes

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
            loss, bits_per_pixel, *psnr = self._means(model, route, quality)
            losses.append(loss)
            numbers[f"bpp_{name}"] = bits_per_pixel
            numbers[f"psnr_{name}"] = psnr[0]
        return {"loss": sum(losses) / len(losses), **numbers}

    def point(self, model: VideoModel[Any], route: int, quality: float) -> tuple[float, float]:
        """Return bits per pixel and mean squared error of inter frames on a route."""
        means = self._means(model, route, quality)
        return means[1], means[-1]

    def _means(self, model: VideoModel[Any], route: int, quality: float) -> list[float]:
        """Return the means of loss, bits per pixel, PSNR of Y, U and V, and mean squared error."""
        frames = self.frames[self.processes.rank :: self.processes.world_size]
        if len(frames):
            sums = self._code(model, frames, route, quality).sum(0)
        else:
            sums = torch.zeros(6, device=frames.device)
        means: list[float] = (self.processes.total(sums) / len(self.frames)).tolist()
        return means

    def _code(self, model: VideoModel[Any], frames: Tensor, route: int, quality: float) -> Tensor:
        """Return [B, 6], the numbers of `_means` for each sample."""
        count = frames.shape[1]
        chain = self.recipe.chain(
            frames=frames,
            quality=(float(quality),) * len(frames),
            routes=(route,),
            objective=self.recipe.objective,
            noise=False,
        )
        if count == 1:
            coded, _ = chain.code(model, None, range(1))
        else:
            coded, _ = chain.code(model, chain.start(model), range(1, count))
        weights = torch.tensor(PLANE_WEIGHTS, device=frames.device)
        errors = 10 ** (-(coded.plane_psnr * weights).sum(1, keepdim=True) / 10)
        parts = (coded.loss[:, None], coded.bits_per_pixel[:, None], coded.plane_psnr, errors)
        return torch.cat(parts, 1)
