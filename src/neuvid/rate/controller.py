"""Who chooses a frame's quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from neuvid.choice import FrameChoice, FrameKind, round_quality


@dataclass(frozen=True, slots=True)
class FrameStats:
    """What a choice cost: `bits` of the payload."""

    bits: float


@dataclass(frozen=True, slots=True)
class FrameView:
    """What a controller may know of a frame before it chooses.

    `number` counts frames from 0; kind, level and refresh are planned. `trial` codes the frame
    without a trace and tells what a choice would cost; it takes about as long as coding the frame.
    """

    number: int
    kind: FrameKind
    level: int
    refresh: bool
    trial: Callable[[FrameChoice], FrameStats]


class RateController(Protocol):
    """Chooses for each frame in order, and learns what each choice cost."""

    def choose(self, view: FrameView) -> FrameChoice:
        """Return the choice for a frame."""

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn what a frame cost; called once for each frame, in order, maybe late."""


class FixedQuality:
    """The same quality for every frame: 0..63, rounded to quarter steps.

    Raises InvalidSetting when it is out of range.
    """

    def __init__(self, quality: float) -> None:
        FrameChoice(FrameKind.INTRA, quality)  # checks the range
        self.quality = round_quality(quality)

    def choose(self, view: FrameView) -> FrameChoice:
        """Return the planned choice at the fixed quality."""
        return FrameChoice(view.kind, self.quality, view.level, refresh=view.refresh)

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn nothing."""
