"""The prior of still pictures: side information and what is coded already, in four steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuvid.entropy.coder import LatentCoder
from neuvid.nn.blocks import StepBank
from neuvid.priors.checkerboard import FOUR_STEPS, Law, code_in_steps, skipping_gaussian
from neuvid.priors.hyperprior import SideInformation


class FourStepPrior(nn.Module):
    """Codes a latent of C channels in four steps.

    `fusion` makes 2C + 2 parameters of the side information: quantiser steps of encoder and
    decoder, scales, means. From the second step on, one of `adaptors`, then `spatial`, make 2C
    scales and means of what is coded and the parameters, which `reduction` condenses. With a
    step bank all of them work in the latent's own units.
    """

    def __init__(
        self,
        *,
        hyperprior: SideInformation,
        fusion: nn.Sequential,
        reduction: nn.Module,
        adaptors: nn.ModuleList,
        spatial: nn.Sequential,
        step_bank: StepBank | None = None,
        law: Law = skipping_gaussian,
    ) -> None:
        super().__init__()
        self.hyperprior = hyperprior
        self.fusion = fusion
        self.reduction = reduction
        self.adaptors = adaptors
        self.spatial = spatial
        self.step_bank = step_bank
        self.sigmoid = nn.Sigmoid()
        self.law = law

    def code(
        self, y: Tensor | None, grid: tuple[int, int], positions: Tensor, coder: LatentCoder
    ) -> Tensor:
        """Code y [B, C, h, w] (None when reading), where (h, w) is `grid`; return y_hat."""
        unit = 1.0 if self.step_bank is None else self.step_bank(positions)
        scaled = None if y is None else y / unit
        features = self.hyperprior.code(scaled, grid, positions, coder)
        params = self.fusion(features)[:, :, : grid[0], : grid[1]]
        steps: Tensor = 1.5 * self.sigmoid(params[:, :2]) + 0.5
        encoder_step, decoder_step = steps.chunk(2, 1)
        common = self.reduction(params)

        def parameters(step: int, coded: Tensor) -> tuple[Tensor, Tensor]:
            if step == 0:
                scales, means = params[:, 2:].chunk(2, 1)
            else:
                context = torch.cat((coded * unit, common), 1)
                scales, means = self.spatial(self.adaptors[step - 1](context)).chunk(2, 1)
            return scales / unit, means / unit

        start = torch.zeros_like(params[:, 2:]).chunk(2, 1)[0]
        values = None if scaled is None else scaled * encoder_step
        coded = code_in_steps(values, FOUR_STEPS, parameters, start, coder, law=self.law)
        return coded * (decoder_step * unit)
