"""What the models of still pictures have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from neuvid.entropy.coder import LatentCoder
from neuvid.priors.four_step import FourStepPrior


class StillModel(nn.Module, ABC):
    """Codes a picture by itself: latent at 1/16 of the resolution, hyper-latent at 1/64."""

    prior: FourStepPrior

    @abstractmethod
    def analyse(self, frame: Tensor, positions: Tensor) -> Tensor:
        """Return y [B, C, H/16, W/16] of a frame [B, 3, H, W]."""

    @abstractmethod
    def synthesise(self, y_hat: Tensor, positions: Tensor) -> Tensor:
        """Return the unclamped picture [B, 3, H, W] of y_hat."""

    def code(
        self,
        frame: Tensor | None,
        grid: tuple[int, int],
        positions: Tensor,
        coder: LatentCoder,
    ) -> Tensor:
        """Code a frame [B, 3, 16h, 16w] (None when reading) at quality positions [B].

        Returns the reconstruction, unclamped: it may leave [0, 1] a little.
        """
        y = None if frame is None else self.analyse(frame, positions)
        y_hat = self.prior.code(y, grid, positions, coder)
        return self.synthesise(y_hat, positions)
