"""A codec of known behaviour: controllers see numbers alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain, islice, repeat
from math import exp, sin

import numpy as np

from neuvid.choice import FrameChoice, FrameKind, quality_of
from neuvid.rate.controller import FramePlan, FrameStats, FrameView, RateController, Trial

LEVELS = (0, 1, 0, 2, 0, 2, 0, 2)
LEVEL_BITS, LEVEL_PSNR = (0.0, 1.2, 0.6), (0.0, 0.6, 0.3)
FRAME_RATE = 30.0
PIXELS = 640 * 360
NOISE: list[float] = np.random.default_rng(1).normal(size=1000).tolist()
LATE = 2  # frames whose cost is told late


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """Bits are exponential in quality, PSNR is linear.

    `ratio` is intra over plain inter bits, `noise` the deviation of the logarithm of bits,
    `waves` the amplitude of its slow change. At `cuts` the scene changes.
    """

    frames: int = 240
    ratio: float = 12.0
    noise: float = 0.05
    waves: float = 0.0
    rise: float = 0.05
    intra_bits: float = 0.12 * PIXELS  # at quality 0
    slope: float = 0.07
    intra_slope: float = 0.045
    cuts: tuple[int, ...] = ()
    intra_at_cuts: bool = True
    flagged: bool = True
    durations: tuple[float, ...] = ()  # of frames, in seconds; the rest last 1 / FRAME_RATE

    def bits(self, number: int, choice: FrameChoice, last_quality: float) -> float:
        """Return the bits of a frame."""
        quality, change = quality_of(choice), self.noise * NOISE[number]
        change += self.waves * sin(number / 12)
        if choice.kind is FrameKind.INTRA:
            return self.intra_bits * exp(self.intra_slope * quality)
        if number in self.cuts:
            return 1.3 * self.intra_bits * exp(self.intra_slope * quality)
        change += LEVEL_BITS[choice.level] + self.slope * quality
        change += self.rise * max(quality - last_quality, 0.0)
        return self.intra_bits / self.ratio / 2 * exp(change) + 64

    def times(self) -> list[float]:
        """Return when each frame is shown, and when the last one ends, in seconds."""
        durations = chain(self.durations, repeat(1 / FRAME_RATE))
        return list(islice(accumulate(durations, initial=0.0), self.frames + 1))

    def psnr(self, number: int, choice: FrameChoice) -> float:
        """Return the PSNR of a frame in dB."""
        change = 2 * self.waves * sin(number / 12) + 0.1 * NOISE[number]
        return 28 + 0.2 * quality_of(choice) + LEVEL_PSNR[choice.level] - change

    def plan(self, number: int, now: int | None = None) -> FramePlan:
        """Return the plan of a frame; at frame `now` no later cut is known."""
        known = number if now is None else now
        intra = [cut for cut in self.cuts if self.intra_at_cuts and cut <= known]
        since = number - (intra[-1] if intra else 0)
        kind = FrameKind.INTER if since else FrameKind.INTRA
        return FramePlan(kind, LEVELS[since % 8], False, since, since % 8)

    def mean_bits(self, quality: float) -> float:
        """Return the mean of all frames at a constant quality."""
        choices = [self.plan(number).choice(quality) for number in range(self.frames)]
        bits = (self.bits(number, choice, quality) for number, choice in enumerate(choices))
        return sum(bits) / self.frames


@dataclass(slots=True)
class Run:
    """What a controller did, frame by frame."""

    bits: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    choices: list[FrameChoice] = field(default_factory=list)

    def error(self, mean: float, start: int = 0, end: int | None = None) -> float:
        """Return by how much the mean of some frames misses another mean."""
        return float(np.mean(self.bits[start:end])) / mean - 1


def drive(
    plant: Plant,
    control: RateController,
    *,
    late: int = LATE,
    before: Callable[[int], None] = lambda number: None,
) -> Run:
    """Let a controller code all frames; `before` is called before each of them."""
    run, pending, last_quality = Run(), deque[tuple[FrameChoice, float]](), 0.0
    for number in range(plant.frames):
        before(number)
        choice = control.choose(_view(plant, number, last_quality))
        assert replace(choice, quality=32.0, route=0) == plant.plan(number).choice(32.0)
        bits = plant.bits(number, choice, last_quality)
        run.bits.append(bits)
        run.psnr.append(plant.psnr(number, choice))
        run.choices.append(choice)
        last_quality = quality_of(choice)
        pending.append((choice, bits))
        while len(pending) > late:
            told, cost = pending.popleft()
            control.observe(told, FrameStats(cost))
    return run


def _view(plant: Plant, number: int, last_quality: float) -> FrameView:
    def trial(choice: FrameChoice) -> Trial:
        bits = plant.bits(number, choice, last_quality)
        return Trial(bits, lambda: plant.psnr(number, choice))

    return FrameView(
        number=number,
        seconds=plant.times()[number] if plant.durations else number / FRAME_RATE,
        plan=plant.plan(number),
        later=lambda ahead: plant.plan(number + ahead, number),
        may_be_cut=plant.flagged and number in plant.cuts,
        trial=trial,
        foresee=lambda: lambda choice: plant.bits(number, choice, last_quality),
    )
