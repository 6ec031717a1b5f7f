"""Spending a number of bits on a clip that was coded before."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import exp, log

from neuvid.choice import FrameChoice, FrameKind, quality_of, round_quality
from neuvid.rate.controller import FrameStats, FrameView
from neuvid.rate.filter import QUALITY
from neuvid.rate.planner import (
    FINEST,
    INTER_BITS,
    INTRA_BITS,
    STEP,
    highest_quality,
)

ORIGIN = 32.0  # quality
SLOPES = {FrameKind.INTRA: INTRA_BITS[1].mean, FrameKind.INTER: INTER_BITS[QUALITY].mean}
MEMORY = 1 / 16  # weight of the last frame among those that tell what this pass costs
ENDING = 3  # frames at the end that are tried
TRIALS = 8
LEAST_SLOPE = 0.005
NEAR = 0.01  # of what a frame may cost that it may leave
PATIENCE = 16  # frames before the end until which small changes of quality are not made
TOLERANCE = 0.3  # of quality


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """What a frame cost in a pass before."""

    kind: FrameKind
    quality: float
    bits: float

    def bits_at_origin(self) -> float:
        """Return what it might have cost at the quality ORIGIN."""
        return self.bits * exp(SLOPES[self.kind] * (ORIGIN - self.quality))


class TotalControl:
    """Spends `bits` on all frames of a clip, not more, at a quality that hardly changes.

    `frames` tells what they cost in a pass before; what they cost in this one corrects it.
    """

    def __init__(self, bits: float, frames: Sequence[CodedFrame]) -> None:
        self._left = bits  # for frames whose cost is not known yet
        self._count = len(frames)
        self._rest = {kind: _rest(frames, kind) for kind in FrameKind}
        self._pending: deque[float] = deque()  # bits expected
        mean = bits / max(len(frames), 1)
        self._actual = self._expected = mean  # of recent frames
        self._quality = ORIGIN

    def choose(self, view: FrameView) -> FrameChoice:
        """Return the choice that leaves for the others what they need."""
        number, left = view.number, self._left - sum(self._pending)
        wanted = highest_quality(lambda quality: self._cost(number, quality) <= left)
        patient = 0 < number < self._count - PATIENCE
        if not patient or abs(wanted - self._quality) > TOLERANCE:
            self._quality = round_quality(wanted)
        choice = view.plan.choice(self._quality)
        others = self._cost(number + 1, self._quality)
        expected = self._cost(number, self._quality) - others
        if number >= self._count - ENDING:
            choice, expected = _fill(view, choice, left - others)
        self._pending.append(expected)
        return choice

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn what a frame cost."""
        expected = self._pending.popleft() / self._correction
        self._left -= stats.bits
        if choice.kind is FrameKind.INTER:
            self._actual += MEMORY * (stats.bits - self._actual)
            self._expected += MEMORY * (expected - self._expected)

    @property
    def _correction(self) -> float:
        """Bits of inter frames in this pass for each one that was expected."""
        return self._actual / self._expected

    def _cost(self, number: int, quality: float) -> float:
        """Return what frame `number` and all after it are expected to cost."""
        place = min(number, self._count)
        intra, inter = (
            self._rest[kind][place] * exp(SLOPES[kind] * (quality - ORIGIN)) for kind in FrameKind
        )
        return intra + inter * self._correction


def _rest(frames: Sequence[CodedFrame], kind: FrameKind) -> list[float]:
    """Return the bits at ORIGIN of each frame and all after it, of a kind; 0 after the last."""
    bits = (frame.bits_at_origin() if frame.kind is kind else 0.0 for frame in reversed(frames))
    return list(accumulate(bits, initial=0.0))[::-1]


def _fill(view: FrameView, choice: FrameChoice, room: float) -> tuple[FrameChoice, float]:
    """Return the choice that fills a room best without going beyond it, by trials, and its bits.

    It is the lowest quality where no other is found that fits.
    """
    fits: _Tried | None = None
    exceeds: _Tried | None = None
    quality, stride = quality_of(choice), 1.0
    for _ in range(TRIALS):
        bits = view.trial(replace(choice, quality=quality)).bits
        tried = _Tried(quality, log(bits))
        fits, exceeds = (tried, exceeds) if bits <= room else (fits, tried)
        if 0 <= room - bits <= NEAR * room or quality == (FINEST if bits <= room else 0):
            break
        missing, slope = log(max(room, 1.0) / bits), SLOPES[choice.kind]
        if fits and exceeds:
            if exceeds.quality - fits.quality <= STEP:
                break
            slope = max((exceeds.bits - fits.bits) / (exceeds.quality - fits.quality), LEAST_SLOPE)
        else:
            missing, stride = stride * missing, 2 * stride
        low = fits.quality + STEP if fits else 0.0
        high = exceeds.quality - STEP if exceeds else float(FINEST)
        quality = min(max(round_quality(quality + missing / slope), low), high)
    best = replace(choice, quality=fits.quality if fits else 0.0)
    return best, view.trial(best).bits


@dataclass(frozen=True, slots=True)
class _Tried:
    """A quality, and the logarithm of the bits at it."""

    quality: float
    bits: float
