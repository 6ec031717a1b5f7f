"""The controllers of the papers."""

from __future__ import annotations

from collections import deque
from math import ceil, floor

from neuvid.choice import FrameChoice, FrameKind
from neuvid.rate.budget import Bitrate
from neuvid.rate.controller import FrameStats, FrameView
from neuvid.rate.planner import FINEST, BitPlanner

FIRST_QUALITY = 32.0
FALLS = ((10, 12), (5, 6), (2, 2))  # frames in the buffer, and the change of quality
TARGET_SHARE = 0.95  # of the buffer that is left as the next target
WINDOW = 30  # frames


class BufferFeedback:
    """Algorithm 1 of DCVC-FM ("Neural Video Compression with Feature Modulation", appendix C).

    Compares a buffer with its target and changes the quality after every second frame.
    """

    def __init__(self, target: Bitrate, *, frame_rate: float) -> None:
        self.target = target
        self._frame_seconds = 1 / frame_rate
        self._quality = FIRST_QUALITY
        self._buffer = self._target_buffer = 0.0  # bits
        self._tried: deque[float] = deque()  # bits of frames that are not observed yet

    def choose(self, view: FrameView) -> FrameChoice:
        """Return the choice at the quality that followed from the frames before."""
        choice = view.plan.choice(self._quality)
        bits = view.trial(choice).bits
        self._tried.append(bits)
        self._buffer += bits - self.target.at(view.seconds) * self._frame_seconds
        if view.number % 2 == 0:
            change = self._buffer - self._target_buffer
            self._target_buffer = TARGET_SHARE * self._buffer
            step = _step(change, self._buffer, bits) if change > 0 else 0
            step -= _step(-change, -self._buffer, bits) if change < 0 else 0
            self._quality = min(max(self._quality - step, 0.0), float(FINEST))
        return choice

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn what another choice than the one that was tried has cost."""
        self._buffer += stats.bits - self._tried.popleft()


def _step(change: float, buffer: float, frame: float) -> int:
    """Return how much quality falls for a buffer that grew; mirrored, how much it rises."""
    for frames, fall in FALLS:
        if buffer > frames * frame:
            return fall
    return int(change > 0.5 * frame and buffer > -frame)


class SlidingWindow:
    """The bit allocation of DynamicDVC (equations 5 and 6), with qualities in place of routes.

    What was spent too much or too little is made up for within WINDOW frames. Intra frames are
    exempt. Of the qualities whose cost is expected above and below the allocation, the one above
    is taken while bits are left, else the one below.
    """

    def __init__(self, target: Bitrate, *, frame_rate: float, pixels: int) -> None:
        self.target = target
        self._frame_seconds = 1 / frame_rate
        self._planner = BitPlanner(pixels)
        self._budget = self._coded = 0.0  # bits; intra frames may cost what they do

    def choose(self, view: FrameView) -> FrameChoice:
        """Return the choice whose cost is next to the allocation."""
        mean = self.target.at(view.seconds) * self._frame_seconds
        if view.plan.kind is FrameKind.INTRA:
            choice = view.plan.choice(FIRST_QUALITY)
            bits = view.trial(choice).bits
            self._planner.begin_scene(FIRST_QUALITY, bits)
            self._budget += bits
        else:
            left = self._budget - self._coded - self._planner.pending_bits
            allocated = mean + left / WINDOW
            quality = self._planner.steady_quality(view, allocated, 1)
            choice = view.plan.choice(ceil(quality) if left > 0 else floor(quality))
            self._budget += mean
        self._planner.expect(view, choice)
        return choice

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn what a frame cost."""
        self._planner.observe(choice, stats)
        self._coded += stats.bits
