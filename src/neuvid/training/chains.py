"""A chain of frames coded for training: the loss of each segment and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neuvid.choice import FrameChoice, FrameKind
from neuvid.codec.schedule import FIRST_FRAME_ONLY
from neuvid.entropy.coder import RateEstimator
from neuvid.models.base import State, VideoModel
from neuvid.training.losses import Objective, distortion, plane_errors


@dataclass(frozen=True, slots=True)
class ChainLosses:
    """Means over the frames of a segment."""

    loss: Tensor  # [B]
    bits_per_pixel: Tensor  # [B]
    plane_psnr: Tensor  # [B, 3] of Y, U, V in dB

    def detach(self) -> ChainLosses:
        """Return the same numbers without their gradient's history."""
        return ChainLosses(
            self.loss.detach(), self.bits_per_pixel.detach(), self.plane_psnr.detach()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Frames [B, T, 3, H, W] that are coded as a stream would be; `noise` is for training."""

    frames: Tensor
    quality: tuple[float, ...]  # one for each sample
    objective: Objective
    noise: bool
    recompute: bool = False

    def start(self, model: VideoModel[Any], *, true_first_frame: bool = False) -> State:
        """Return the state after the first frame, which gets no gradient."""
        first = self.frames[:, 0]
        state: State = self._initial_state(model)
        if true_first_frame:
            return replace(state, picture=first)
        choice = FrameChoice(FrameKind.INTRA, self.quality)
        with torch.no_grad():
            state = model.code_frame(first, state, choice, RateEstimator(noise=False))
        return state

    def code(
        self, model: VideoModel[Any], state: State | None, segment: range
    ) -> tuple[ChainLosses, State]:
        """Code the frames of a segment after `state`; None before the first, an intra frame."""
        if state is None:
            state = self._initial_state(model)
        losses = []
        for number in segment:
            if self.recompute:
                coded = checkpoint(self._code_frame, model, state, number, use_reentrant=False)
            else:
                coded = self._code_frame(model, state, number)
            frame_losses, state = coded
            losses.append(frame_losses)
        return _mean(losses), state

    def _initial_state(self, model: VideoModel[Any]) -> State:
        batch, _, _, height, width = self.frames.shape
        state: State = model.initial_state(height, width, batch)
        return state

    def _code_frame(
        self, model: VideoModel[Any], state: State, number: int
    ) -> tuple[ChainLosses, State]:
        plan = FIRST_FRAME_ONLY.plan(number, 0, model.refresh_period)
        coder = RateEstimator(noise=self.noise)
        frame = self.frames[:, number]
        choice = FrameChoice(plan.kind, self.quality, level=plan.level, refresh=plan.refresh)
        state = model.code_frame(frame, state, choice, coder)
        picture = model.render(state).float()
        bits_per_pixel = coder.total().float() / (state.height * state.width)
        error = distortion(picture, frame, self.objective.rgb_share)
        quality = torch.tensor(self.quality, device=frame.device)
        loss = self.objective.loss(bits_per_pixel, error, quality, kind=plan.kind, level=plan.level)
        with torch.no_grad():
            psnr = -10 * plane_errors(picture, frame).clamp(min=1e-10).log10()
        return ChainLosses(loss, bits_per_pixel, psnr), state


def _mean(losses: list[ChainLosses]) -> ChainLosses:
    return ChainLosses(
        torch.stack([each.loss for each in losses]).mean(0),
        torch.stack([each.bits_per_pixel for each in losses]).mean(0),
        torch.stack([each.plane_psnr for each in losses]).mean(0),
    )
