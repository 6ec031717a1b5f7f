"""Keeping any controller within a buffer."""

from __future__ import annotations

from collections import deque
from copy import copy
from dataclasses import replace

from neuvid.choice import FrameChoice, FrameKind, quality_of, round_quality
from neuvid.rate.budget import LeakyBucket
from neuvid.rate.controller import FrameStats, FrameView, RateController
from neuvid.rate.pace import FramePace
from neuvid.rate.planner import STEP, BitPlanner

HORIZON = 20  # frames after which the reserve should be free
RESERVE, MOST_RESERVE = 0.3, 0.8  # of the capacity
PATTERN = 2  # mean frames that the quality pattern needs, more or less
CUT_COST = 1.5  # times an intra frame of the lowest quality that a scene cut may cost
INTRA_ROOM = 0.75  # of the room that an intra frame may take: another cut may follow
SPARE_BITS = 96.0  # that the time of a frame may take beside what a trial tells
UNKNOWN = 2  # inter frames of a scene whose cost only a trial tells
TRIALS = 8


class BufferGuard:
    """Lowers the quality that another controller chooses where a buffer would overflow.

    It plans ahead so that the buffer keeps room for a scene cut, and tries every frame: no packet
    overflows the buffer unless the lowest quality does. `frame_rate` is in frames per second,
    `pixels` are those of a frame.
    """

    def __init__(
        self, control: RateController, bucket: LeakyBucket, *, frame_rate: float, pixels: int
    ) -> None:
        self.control = control
        self._bucket = bucket
        self._pace = FramePace(1 / frame_rate)
        self._planner = BitPlanner(pixels)
        self._pending: deque[tuple[float, float]] = deque()  # seconds and bits

    def choose(self, view: FrameView) -> FrameChoice:
        """Return the other controller's choice, or one that fits into the buffer."""
        choice = self.control.choose(view)
        self._pace.see(view.seconds)
        bucket = copy(self._bucket)
        for seconds, bits in self._pending:
            bucket.add(seconds, bits)
        room = bucket.room(view.seconds) - SPARE_BITS
        if choice.kind is FrameKind.INTRA:
            choice, tried = self._fit(view, choice, INTRA_ROOM * room)
            if view.number == 0 or view.may_be_cut:
                self._planner.begin_scene(quality_of(choice), tried)
        else:
            reserve = self._reserve(bucket.capacity)
            if view.plan.since_intra <= UNKNOWN:
                self._planner.calibrate(view, quality_of(choice))
            most = self._steady_quality(view, bucket, reserve)
            if quality_of(choice) > most:
                choice = replace(choice, quality=round_quality(most))
            if not view.may_be_cut:  # else the frame is what the reserve is for
                room = max(room - reserve, min(room, self._drained(view, 1)))
            choice, tried = self._fit(view, choice, room)
        self._planner.expect(view, choice)
        self._pending.append((view.seconds, tried))
        return choice

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn what a frame cost."""
        self._planner.observe(choice, stats)
        self._bucket.add(self._pending.popleft()[0], stats.bits)
        self.control.observe(choice, stats)

    def _reserve(self, capacity: float) -> float:
        """Return the bits that are kept free for a scene cut."""
        needed = CUT_COST * self._planner.intra_bits(0)
        return min(max(needed, RESERVE * capacity), MOST_RESERVE * capacity)

    def _drained(self, view: FrameView, frames: int) -> float:
        return frames * self._pace.seconds * self._bucket.drain.at(view.seconds)

    def _steady_quality(self, view: FrameView, bucket: LeakyBucket, reserve: float) -> float:
        """Return the quality at which the reserve is free after the horizon, and a bit more."""
        kept = min(reserve + self._drained(view, PATTERN), MOST_RESERVE * bucket.capacity)
        bits = self._drained(view, HORIZON) + bucket.room(view.seconds) - kept
        return self._planner.steady_quality(view, bits, HORIZON)

    def _fit(self, view: FrameView, choice: FrameChoice, room: float) -> tuple[FrameChoice, float]:
        """Return a choice that fits, by trials, and its bits; the lowest quality if none does."""
        for left in reversed(range(TRIALS)):
            bits, quality = view.trial(choice).bits, quality_of(choice)
            if bits <= room or not quality:
                break
            allowed = room * self._planner.frame_bits(view, choice) / bits
            lower = self._planner.steady_quality(view, allowed, 1) if left > 1 else 0.0
            quality = round_quality(min(lower, quality - STEP))
            choice = replace(choice, quality=max(quality, 0.0))
        return choice, bits
