"""Training a rate control agent: what frames take on each route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuvid.choice import FrameChoice
from neuvid.entropy.coder import RateEstimator
from neuvid.models.base import State, VideoModel
from neuvid.training.chains import Chain, ChainLosses
from neuvid.training.losses import errors_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ForesightChain(Chain):
    """Frames whose bits on all routes the model's agent learns to foresee, and nothing else.

    The loss of a frame is the mean absolute error of the logarithm of its bits.
    """

    def _code_frame(
        self, model: VideoModel[Any], state: State, number: int
    ) -> tuple[ChainLosses, State]:
        frame = self.frames[:, number]
        choices = [self._choice(model, number, route) for route in range(model.routes)]
        with torch.no_grad():
            coded = [_try(model, frame, state, choice) for choice in choices]
        bits = torch.stack([each for each, _ in coded], 1)  # [B, routes]
        foreseen = model.foresee(frame, state)
        expected = torch.stack([foreseen(choice) for choice in choices], 1)
        loss = (expected.log() - bits.log()).abs().mean(1)
        route = self.routes[number % len(self.routes)]
        _, after = coded[route]
        bits_per_pixel = bits[:, route] / (state.height * state.width)
        psnr = errors_of(model.render(after), frame).plane_psnr()
        return ChainLosses(loss, bits_per_pixel, psnr), after


def _try(
    model: VideoModel[Any], frame: Tensor, state: State, choice: FrameChoice
) -> tuple[Tensor, State]:
    """Return the bits [B] that a choice takes and the state after it."""
    coder = RateEstimator(noise=False)
    after: State = model.code_frame(frame, state, choice, coder)
    return coder.total().float().clamp(min=1.0), after
