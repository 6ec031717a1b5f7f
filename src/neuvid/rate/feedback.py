"""Holding a bit rate in one pass, without looking ahead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from neuvid.choice import FrameChoice, FrameKind
from neuvid.rate.budget import Bitrate
from neuvid.rate.controller import FramePlan, FrameStats, FrameView
from neuvid.rate.pace import FramePace
from neuvid.rate.planner import FINEST, BitPlanner, SceneBudget

HORIZON = 32  # frames in which a small excess is made up for
REPAYMENT = 32  # frames in which that of an intra frame is repaid, or before the next one
SCENE_FRAMES = 96  # over which the bits of a scene are planned, and those before a known end
LEAST_FRAMES = 4  # that are planned together at the end of the first of these
SCENE_SECONDS, SCENE_SHARE = 1.4, 0.32  # of the target, of these bits: most for its first frame
CATCH_UP, MOST_CATCH_UP = 0.8, 16.0  # of the quality that an intra frame turns out to lack
BOTH_SHARE = 0.4  # of the planned bits: most for an intra frame and what makes up for it
SETTLING = 8  # frames of a new scene after which its excess is known
UNSURE = 2  # inter frames of a new scene or target that are tried before they are chosen
STEEP = 4.0  # rise of quality from which a frame is tried
DEAR = 2.0  # mean frames from which a frame is tried while a new target is reached and held
INTER_TRIALS = 3
PRECISION = 1.0  # of the quality that is sought by them
TURN = 16  # frames in which a new target is reached; what they spend is not made up for
HOLD, HOLD_PART = 32, 16  # frames after these in which it is met, and in each part of them
PART_ENDING = 2  # frames at the end of such a part that are tried before they are chosen
TURN_REPAYMENT = 0.01  # of a mean frame by which each frame repays the excess of an old target
TOLERANCE = 0.5  # change of quality that is not worth making
GAIN = 0.5  # of other changes
ENDING = 8  # frames at a known end that are tried before they are chosen
MOST_EXCESS, MOST_CREDIT = 2.0, 0.5  # seconds of the target made up for; or a frame's credit


@dataclass(frozen=True, slots=True)
class Debt:
    """Bits spent ahead of the budget on purpose, and the frames in which they are repaid."""

    bits: float = 0.0
    frames: int = 0

    def step(self) -> Debt:
        """Return what is left after a frame."""
        if self.frames <= 1:
            return Debt()
        return Debt(self.bits * (self.frames - 1) / self.frames, self.frames - 1)


class BitrateControl:
    """Holds a bit rate: spends on the frames to come what the budget has left.

    For every frame it looks for the constant quality at which the next HORIZON frames will have
    spent the budget, and moves towards it. The excess of intra frames is repaid more slowly than
    that. The first SCENE_FRAMES of the first scene spend their budget at one quality, as the last
    ones of a clip whose length is known spend what is left. The first frames of each scene are
    found by trials. `frame_rate` is the usual one, in frames per second; where frames come at other
    times, as many bits are planned for each as its time allows. `pixels` are those of a frame;
    `overhead_bits` are spent beside the frames, and `frames` is how many a clip will have, None
    where that is not known.
    """

    def __init__(
        self,
        target: Bitrate,
        *,
        frame_rate: float,
        pixels: int,
        overhead_bits: float = 0.0,
        frames: int | None = None,
    ) -> None:
        self.target = target
        self._frames = frames
        self._pace = FramePace(1 / frame_rate)
        self._planner = BitPlanner(pixels)
        self._spent = overhead_bits
        self._debt = Debt()
        self._seconds = -self._pace.seconds  # time of the last frame
        self._rate = 0.0  # the last frame's target
        self._mean = 0.0  # bits of a frame at that
        self._first_end = 0  # frame until which the first scene spends its bits at one quality
        self._turning = 0  # frames that are left to reach and hold a new target
        self._unsure = 0  # frames that are left to try of a new scene

    def set_bitrate(self, rate: float) -> None:
        """Let another rate, in bits per second, hold from the next frame on.

        Raises InvalidSetting when it is out of range.
        """
        self.target.change(self._seconds + self._pace.seconds / 2, rate)

    def choose(self, view: FrameView) -> FrameChoice:
        """Return the choice that keeps to the budget."""
        self._seconds = view.seconds
        self._pace.see(view.seconds)
        excess = self._excess()
        self._follow_target(excess)
        if self._turning:
            view = _without_refreshes(view, self._turning)
        new_scene = view.number == 0 or view.may_be_cut
        if new_scene and view.plan.kind is FrameKind.INTRA:
            quality = self._planner.scene_quality(view, self._scene_budget(view, excess))
        else:
            quality = self._next_quality(view, excess)
            new_scene = new_scene and self._planner.look(view, quality)
            if new_scene:
                budget = self._scene_budget(view, excess)
                quality = min(
                    self._planner.steady_quality(view, budget.bits, budget.frames),
                    self._planner.steady_quality(view, budget.first, 1),
                )
        if new_scene:
            self._begin_scene(view)
        choice = view.plan.choice(quality)
        after = excess + self._planner.expect(view, choice) - self._mean
        self._debt = self._next_debt(view, after, new_scene=new_scene)
        self._unsure = UNSURE if new_scene else max(self._unsure - 1, 0)
        return choice

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn what a frame cost."""
        self._planner.observe(choice, stats)
        self._spent += stats.bits

    def _excess(self) -> float:
        """Return the bits spent beyond the budget until this frame, as far as it matters."""
        budget = self.target.bits_until(self._seconds)
        excess = self._spent + self._planner.pending_bits - budget
        rate = self.target.at(self._seconds)
        credit = max(MOST_CREDIT, self._pace.longest) * rate
        allowed = min(max(excess, -credit), MOST_EXCESS * rate)
        self._spent += allowed - excess
        return allowed

    def _follow_target(self, excess: float) -> None:
        rate = self.target.at(self._seconds)
        mean = rate * self._pace.seconds
        self._turning = max(self._turning - 1, 0)
        if self._rate and rate != self._rate:
            self._turning, self._unsure = TURN + HOLD, UNSURE
            self._frames, self._first_end = None, 0  # no time to make up for an old target
        if self._turning > HOLD:
            self._debt = Debt(excess, ceil(abs(excess) / (TURN_REPAYMENT * mean)))
        self._rate, self._mean = rate, mean

    def _begin_scene(self, view: FrameView) -> None:
        """Drop what was planned for the scene before."""
        alone = _next_intra(view, SCENE_FRAMES) == SCENE_FRAMES
        self._first_end = SCENE_FRAMES if view.number == 0 and alone else 0
        if self._turning <= HOLD:
            self._turning = 0

    def _scene_budget(self, view: FrameView, excess: float) -> SceneBudget:
        frames = self._to_end(view) or SCENE_FRAMES
        bits = max(frames * self._mean - excess, self._mean)
        most = SCENE_SECONDS * self.target.at(view.seconds)
        refreshes = sum(view.later(ahead).refresh for ahead in range(frames))
        return SceneBudget(bits, frames, refreshes, min(most, SCENE_SHARE * bits))

    def _next_quality(self, view: FrameView, excess: float) -> float:
        ending = 0 < self._to_end(view) <= ENDING or 0 < self._part_left() <= PART_ENDING
        wanted = self._wanted_quality(view, excess)
        unsure = self._unsure or ending or view.plan.refresh or self._may_be_dear(view, wanted)
        if unsure and view.plan.kind is FrameKind.INTER:
            return self._tried_quality(view, excess, wanted)
        change = wanted - self._planner.last_quality
        if self._turning or self._settling(view):
            return wanted
        return self._planner.last_quality + (GAIN * change if abs(change) > TOLERANCE else 0.0)

    def _may_be_dear(self, view: FrameView, wanted: float) -> bool:
        """Return whether a frame might cost more than can be made up for."""
        expected = self._planner.frame_bits(view, view.plan.choice(wanted))
        dear = self._turning and expected > DEAR * self._mean
        return bool(dear or wanted > self._planner.last_quality + STEEP)

    def _tried_quality(self, view: FrameView, excess: float, quality: float) -> float:
        """Return the quality of an inter frame, found by trials from that on."""
        low, high = 0.0, float(FINEST)
        for _ in range(INTER_TRIALS):
            self._planner.calibrate(view, quality)
            tried, quality = quality, self._wanted_quality(view, excess)
            if abs(quality - tried) <= PRECISION:
                break
            low, high = (tried, high) if quality > tried else (low, tried)
            if not low < quality < high:  # bits rise steeply somewhere between
                quality = (low + high) / 2
        else:
            quality = min(quality, tried)  # a higher one might cost far more than expected
        if view.plan.since_intra == 1:
            quality = self._caught_up(view, excess, quality)
        most = MOST_EXCESS * self.target.at(view.seconds) - excess
        return min(quality, self._planner.steady_quality(view, most, 1))

    def _caught_up(self, view: FrameView, excess: float, quality: float) -> float:
        """Return a quality that makes up for that of the intra frame before, if it can be paid."""
        missing = CATCH_UP * (quality - self._planner.last_quality)
        if missing <= 0:
            return quality
        better = min(quality + min(missing, MOST_CATCH_UP), float(FINEST))
        self._planner.look(view, better)
        intra = self._planner.intra_bits(self._planner.last_quality)
        most = BOTH_SHARE * (self._scene_budget(view, excess).bits + intra) - intra
        return max(quality, min(better, self._planner.steady_quality(view, most, 1)))

    def _settling(self, view: FrameView) -> bool:
        """Return whether the excess of a new scene is not known yet."""
        return self._debt.frames > 0 and view.plan.since_intra <= SETTLING

    def _wanted_quality(self, view: FrameView, excess: float) -> float:
        """Return the constant quality at which the budget is met after the horizon."""
        if left := self._to_end(view) or self._to_first_end(view):
            return self._planner.steady_quality(view, left * self._mean - excess, left)
        frames = TURN if self._turning > HOLD else self._part_left() or HORIZON
        bits = frames * self._mean - excess + self._debt_after(view, frames)
        return self._planner.steady_quality(view, bits, frames)

    def _part_left(self) -> int:
        """Return the frames left of a part in which a new target is held, 0 where none is."""
        return (self._turning - 1) % HOLD_PART + 1 if 0 < self._turning <= HOLD else 0

    def _to_end(self, view: FrameView) -> int:
        """Return the frames to the end of the clip, 0 where it is not in sight."""
        left = (self._frames or 0) - view.number
        return left if 0 < left <= SCENE_FRAMES else 0

    def _to_first_end(self, view: FrameView) -> int:
        """Return the frames over which the first scene spends its bits, 0 after them."""
        left = self._first_end - view.number
        return max(left, LEAST_FRAMES) if left > 0 else 0

    def _debt_after(self, view: FrameView, frames: int) -> float:
        """Return the bits of debt after so many frames, with those of planned intra frames."""
        debt = self._debt
        for ahead in range(frames):
            if _is_intra(view, ahead):
                cost = self._planner.intra_bits(self._planner.last_quality)
                debt = Debt(debt.bits + cost - self._mean, _next_intra(view, REPAYMENT, ahead))
            else:
                debt = debt.step()
        return debt.bits

    def _next_debt(self, view: FrameView, excess: float, *, new_scene: bool) -> Debt:
        """Return the debt after this frame, after which there is an excess."""
        if new_scene or view.plan.kind is FrameKind.INTRA:
            return Debt(excess, _next_intra(view, REPAYMENT))
        settling, debt = self._settling(view), self._debt.step()
        return Debt(excess, debt.frames) if settling else debt


def _without_refreshes(view: FrameView, frames: int) -> FrameView:
    """Return a view in which none of so many frames is a refresh."""

    def later(ahead: int) -> FramePlan:
        plan = view.later(ahead)
        return replace(plan, refresh=plan.refresh and ahead >= frames)

    return replace(view, plan=replace(view.plan, refresh=False), later=later)


def _is_intra(view: FrameView, ahead: int) -> bool:
    return view.later(ahead).kind is FrameKind.INTRA


def _next_intra(view: FrameView, most: int, ahead: int = 0) -> int:
    """Return the frames from one to the next planned intra frame, or the most."""
    later = (frames for frames in range(1, most) if _is_intra(view, ahead + frames))
    return next(later, most)
