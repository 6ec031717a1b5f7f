"""A chain of frames coded for training: the loss of each segment and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neuvid.choice import QUALITIES, ROUTES, FrameChoice, FrameKind
from neuvid.codec.schedule import FIRST_FRAME_ONLY, Schedule
from neuvid.entropy.coder import RateEstimator
from neuvid.lagrangian import INTRA_LAMBDAS
from neuvid.models.base import State, VideoModel
from neuvid.training.losses import LEVEL_WEIGHTS, Objective, errors_of


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
    """Frames [B, T, 3, H, W] that are coded as a stream would be; `noise` is for training.

    `quality` is one for each sample, `routes` are those of the frames in turn. `ladder` is the
    highest quality on each route, where that of a sample is higher. `schedule` says which frames
    are intra frames, and which restart the features.
    """

    frames: Tensor
    quality: tuple[float, ...]
    objective: Objective
    noise: bool
    routes: tuple[int, ...] = (0,)
    ladder: tuple[float, ...] = (QUALITIES - 1.0,) * ROUTES
    schedule: Schedule = FIRST_FRAME_ONLY
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

    def _choice(self, model: VideoModel[Any], number: int, route: int) -> FrameChoice:
        plan = self.schedule.plan(number, 0, model.refresh_period)
        if plan.kind is FrameKind.INTRA:
            return FrameChoice(plan.kind, self.quality)
        quality = tuple(min(each, self.ladder[route]) for each in self.quality)
        return FrameChoice(plan.kind, quality, plan.level, route, plan.refresh)

    def _code_frame(
        self, model: VideoModel[Any], state: State, number: int
    ) -> tuple[ChainLosses, State]:
        choice = self._choice(model, number, self.routes[number % len(self.routes)])
        coder = RateEstimator(noise=self.noise)
        frame = self.frames[:, number]
        state = model.code_frame(frame, state, choice, coder)
        errors = errors_of(model.render(state), frame)
        bits_per_pixel = coder.total().float() / (state.height * state.width)
        error = self.objective.distortion(errors)
        quality = model.coded_quality(choice, state.batch)
        if choice.kind is FrameKind.INTRA:
            lambdas, weight = INTRA_LAMBDAS, 1.0
        else:
            lambdas, weight = model.inter_lambdas, LEVEL_WEIGHTS[choice.level]
        loss = self.objective.loss(bits_per_pixel, error, quality, lambdas=lambdas, weight=weight)
        return ChainLosses(loss, bits_per_pixel, errors.plane_psnr()), state


def _mean(losses: list[ChainLosses]) -> ChainLosses:
    return ChainLosses(
        torch.stack([each.loss for each in losses]).mean(0),
        torch.stack([each.bits_per_pixel for each in losses]).mean(0),
        torch.stack([each.plane_psnr for each in losses]).mean(0),
    )
