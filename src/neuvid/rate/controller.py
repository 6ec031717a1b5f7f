"""Who chooses a frame's quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from neuvid.choice import QUALITIES, FrameChoice, FrameKind, round_quality


@dataclass(frozen=True, slots=True)
class FrameStats:
    """What a choice cost: `bits` of the packet, its head and checksum included."""

    bits: float


@dataclass(frozen=True, slots=True)
class Trial(FrameStats):
    """What a choice would cost, and give.

    `psnr` renders the picture and measures it: (6Y + U + V) / 8 in dB.
    """

    psnr: Callable[[], float]


@dataclass(frozen=True, slots=True)
class FramePlan:
    """What the schedule says of a frame: all of its choice but quality and route.

    `since_intra` counts frames from the last intra frame, `place` is the frame's place in the
    quality pattern; both are 0 for an intra frame. `ladder` is the highest quality that each
    route of the model is meant for.
    """

    kind: FrameKind
    level: int
    refresh: bool
    since_intra: int
    place: int
    ladder: tuple[float, ...] = (QUALITIES - 1.0,)

    def choice(self, quality: float, route: int | None = None) -> FrameChoice:
        """Return the planned choice at a quality, rounded to what a packet can store.

        Without a route, the narrowest one that is meant for the quality; 0 for an intra frame.
        """
        rounded = round_quality(quality)
        if self.kind is FrameKind.INTRA:
            route = 0
        elif route is None:
            route = sum(highest < rounded for highest in self.ladder[:-1])
        return FrameChoice(self.kind, rounded, self.level, route, self.refresh)


@dataclass(frozen=True, slots=True)
class FrameView:
    """What a controller may know of a frame before it chooses.

    `number` counts frames from 0, `seconds` is when the frame is shown, the first frame at 0.
    `plan` is what the schedule says of it, `later` what it says of the frame so many frames
    later. `may_be_cut` tells that the picture differs much from the last one.

    `trial` codes the frame without a trace and tells what a choice would cost. It takes about as
    long as coding the frame, which is then not coded again if this is the choice. `foresee`
    returns what tells the bits that a choice for an inter frame is expected to take; nothing is
    coded, but only models with a rate control agent can.
    """

    number: int
    seconds: float
    plan: FramePlan
    later: Callable[[int], FramePlan]
    may_be_cut: bool
    trial: Callable[[FrameChoice], Trial]
    foresee: Callable[[], Callable[[FrameChoice], float]]


class RateController(Protocol):
    """Chooses for each frame in order, and learns what each choice cost."""

    def choose(self, view: FrameView) -> FrameChoice:
        """Return the choice for a frame; called once for each frame."""

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn what a frame cost; called once for each frame, in order, one frame late."""


class FixedQuality:
    """The same quality for every frame: 0..63, rounded to quarter steps.

    Inter frames take the same `route`, without one the narrowest that is meant for the quality.
    Raises InvalidSetting when quality or route is out of range.
    """

    def __init__(self, quality: float, route: int | None = None) -> None:
        FrameChoice(FrameKind.INTER, quality, route=route or 0)  # checks the ranges
        self.quality = round_quality(quality)
        self.route = route

    def choose(self, view: FrameView) -> FrameChoice:
        """Return the planned choice at the fixed quality."""
        return view.plan.choice(self.quality, self.route)

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn nothing."""
