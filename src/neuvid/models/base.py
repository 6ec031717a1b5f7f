"""The one interface of all families."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from neuvid.choice import QUALITIES, FrameChoice
from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import LAW_ROWS, FactorisedPrior
from neuvid.errors import InvalidSetting
from neuvid.lagrangian import INTER_LAMBDAS, LambdaRange
from neuvid.models.still import StillModel

GRID = 16  # pixels along the side of one position of y; padded frames are multiples of it


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Widths and depths of a family's networks; its type says which family."""


@dataclass(frozen=True, slots=True)
class State:
    """What is carried from frame to frame; `height` and `width` are those of padded frames.

    `picture` is the last frame as it is shown, unclamped, where no feature stands for it.
    """

    height: int
    width: int
    batch: int
    picture: Tensor | None = None  # [B, 3, H, W]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of y."""
        return self.height // GRID, self.width // GRID

    def detach(self) -> Self:
        """Return the same state, cut off from its gradient's history."""
        tensors = {
            field.name: value.detach()
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **tensors)  # type: ignore[arg-type]


S = TypeVar("S", bound=State)


class VideoModel(nn.Module, ABC, Generic[S]):
    """Weights of a codec, and the walk that codes a frame with them.

    Frames have one of `levels` levels of the quality pattern and one of `routes`. A family without
    `integer_arithmetic` decodes only on machines like that of the encoder. Features restart every
    `refresh_period` frames unless a schedule says otherwise, 0 for never; the frames where they do
    are coded `refresh_lead` qualities higher. `inter_lambdas` weigh the distortion of inter frames.
    `has_agent` tells whether the model foresees rates.
    """

    levels: ClassVar[int] = 3
    routes: ClassVar[int] = 1
    integer_arithmetic: ClassVar[bool] = True
    refresh_period: ClassVar[int] = 0
    refresh_lead: ClassVar[float] = 0.0
    has_agent: ClassVar[bool] = False
    inter_lambdas: ClassVar[LambdaRange] = INTER_LAMBDAS
    config: ModelConfig
    intra: StillModel

    @abstractmethod
    def initial_state(self, height: int, width: int, batch: int = 1) -> S:
        """Return the state before the first frame of height x width, multiples of 16."""

    @abstractmethod
    def code_frame(
        self, frame: Tensor | None, state: S, choice: FrameChoice, coder: LatentCoder
    ) -> S:
        """Code one frame [B, 3, H, W] in [0, 1] (None when reading) and return the state after.

        The walk is the same for every coder, so a decoder's state equals its encoder's.
        Nothing but the returned value changes: a trial is a call whose result is dropped.
        """

    @abstractmethod
    def render(self, state: S) -> Tensor:
        """Return the picture [B, 3, H, W] in [0, 1] that `state` stands for."""

    def foresee(self, frame: Tensor, state: S) -> Callable[[FrameChoice], Tensor]:
        """Return what tells the bits [B] that a choice for an inter frame is expected to take.

        Nothing is coded. Raises InvalidSetting for a family without a rate control agent.
        """
        expected = "one with a rate control agent"
        raise InvalidSetting("model", got=type(self).__name__, expected=expected)

    def coded_quality(self, choice: FrameChoice, batch: int) -> Tensor:
        """Return the quality [B] at which a choice codes each sample, 0..63."""
        device = next(self.parameters()).device
        each = choice.quality if isinstance(choice.quality, tuple) else (choice.quality,) * batch
        quality = torch.tensor(each, dtype=torch.float32).to(device, non_blocking=True)
        return lead(quality, self.refresh_lead) if choice.refresh else quality

    def route_ladder(self) -> tuple[float, ...]:
        """Return the highest quality that each route is meant for; the last is for all."""
        return (QUALITIES - 1.0,) * self.routes

    def factorised_priors(self) -> list[FactorisedPrior]:
        """Return the priors that need rows in the integer tables, in order of their rows."""
        return [module for module in self.modules() if isinstance(module, FactorisedPrior)]

    def assign_rows(self) -> None:
        """Give each prior its rows in the integer tables, after those of all laws."""
        row = LAW_ROWS
        for prior in self.factorised_priors():
            prior.first_row = row
            row += prior.row_count


def lead(quality: Tensor, qualities: Tensor | float) -> Tensor:
    """Return a quality that is higher by so many qualities, up to the highest."""
    return (quality + qualities).clamp(max=QUALITIES - 1)
