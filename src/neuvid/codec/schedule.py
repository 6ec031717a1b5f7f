"""Which frames are intra frames, and the quality pattern of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from torch import Tensor
from torch.nn import functional

from neuvid.choice import FrameKind
from neuvid.errors import InvalidSetting
from neuvid.rate.controller import FramePlan

LEVEL_PATTERN = (0, 1, 0, 2, 0, 2, 0, 2)  # level of the frame t after an intra frame, at t mod 8

AUTO: Final = "auto"  # in the place of a refresh period: features restart where it pays
RefreshPeriod: TypeAlias = int | Literal["auto"]  # frames

THUMBNAIL_STEP = 8  # pixels along the side of one pixel of a thumbnail
CUT_CHANGE = 0.04  # mean change of luma, of 1, from which a scene cut is possible
CUT_RATIO = 2.5  # times the recent mean change
CHANGE_MEMORY = 0.8  # of the running mean


@dataclass(frozen=True, slots=True)
class Schedule:
    """An intra frame every `intra_period` frames, -1 for the first frame only.

    With `scene_cuts`, a frame that looks like a cut becomes an intra frame where that is cheaper.
    Features restart every `refresh_period` frames after an intra frame, 0 for never, None for the
    period of the model's family; AUTO is that period, and between where coding a frame both ways
    tells that it pays.

    Raises InvalidSetting for other periods.
    """

    intra_period: int = -1
    scene_cuts: bool = True
    refresh_period: RefreshPeriod | None = None

    def __post_init__(self) -> None:
        if self.intra_period != -1 and self.intra_period < 1:
            raise InvalidSetting("intra period", got=self.intra_period, expected="-1 or 1 and more")
        period = self.refresh_period
        if not (period in (None, AUTO) or (isinstance(period, int) and period >= 0)):
            raise _no_refresh_period(period)

    def is_intra(self, number: int) -> bool:
        """Return whether frame `number` is an intra frame whatever it shows."""
        return number == 0 or (self.intra_period > 0 and number % self.intra_period == 0)

    def plan(self, number: int, last_intra: int, family_period: int) -> FramePlan:
        """Return the plan of frame `number`; `last_intra` is the last intra frame known.

        That may be the frame itself. The first frame after an intra frame has no features to
        restart; the next ones are counted from it. `family_period` is the refresh period of the
        model's family. With AUTO, `may_refresh` tells where another refresh is tried.
        """
        if self.intra_period > 0:
            last_intra = max(last_intra, number - number % self.intra_period)
        since_intra = number - last_intra
        period = self.refresh_period
        if period is None or period == AUTO:
            period = family_period
        refresh = _is_due(since_intra, period)
        kind = FrameKind.INTER if since_intra else FrameKind.INTRA
        place = since_intra % len(LEVEL_PATTERN)
        return FramePlan(kind, LEVEL_PATTERN[place], refresh, since_intra, place)

    def may_refresh(self, plan: FramePlan) -> bool:
        """Return whether only coding a planned frame tells if its features restart."""
        is_place = _is_due(plan.since_intra, len(LEVEL_PATTERN))
        return self.refresh_period == AUTO and is_place and not plan.refresh


def _is_due(since_intra: int, period: int) -> bool:
    return period > 0 and since_intra > 1 and (since_intra - 1) % period == 0


FIRST_FRAME_ONLY = Schedule()


def read_refresh_period(text: str) -> RefreshPeriod:
    """Return the refresh period that a text names; raise InvalidSetting where it names none."""
    if text == AUTO:
        return AUTO
    try:
        return int(text)
    except ValueError:
        raise _no_refresh_period(text) from None


def _no_refresh_period(got: object) -> InvalidSetting:
    return InvalidSetting("refresh period", got=got, expected=f"0 and more, or {AUTO}")


class CutDetector:
    """Points out frames that may begin a new scene; only coding them tells whether it pays."""

    def __init__(self) -> None:
        self._last: Tensor | None = None
        self._mean_change = 0.0

    def may_be_cut(self, frame: Tensor) -> bool:
        """Take the next frame [1, 3, H, W] and return whether it may be a cut."""
        thumbnail = functional.avg_pool2d(frame[:, :1], THUMBNAIL_STEP)
        last, self._last = self._last, thumbnail
        if last is None:
            return False
        change = float((thumbnail - last).abs().mean())
        usual = self._mean_change
        self._mean_change = CHANGE_MEMORY * usual + (1 - CHANGE_MEMORY) * change
        return change > max(CUT_CHANGE, CUT_RATIO * usual)
