"""How well bit rates are held, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import numpy as np

FIRST_FRAMES = 96
BUFFER_SECONDS = 1.0
ANSWER = 15  # frames after a step of the target in which it should be reached
PATTERN = 8  # frames over which the bits of frames are averaged


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRun:
    """A clip, coded once.

    `targets` are the bits that each frame may have on average, none at a constant quality. `bits`
    are those of the frames; the first one's hold all of the file that belongs to no frame. `psnr`
    is the mean of (6Y + U + V) / 8 in dB, and `qualities` are those of our frames. The
    `foresight_error` is by how much the bits are off, in the mean, that a rate control agent
    foresaw of each frame's choice.
    """

    codec: str
    clip: str
    setting: str
    frame_rate: float
    targets: list[float]
    bits: list[float]
    psnr: float | None = None
    qualities: list[float] | None = None
    foresight_error: float | None = None

    @property
    def bits_per_second(self) -> float:
        """The mean over the clip."""
        return fmean(self.bits) * self.frame_rate

    def error(self, start: int = 0, end: int | None = None) -> float:
        """Return by how much the bits of some frames are off their targets, 0.01 for 1 % more."""
        return sum(self.bits[start:end]) / sum(self.targets[start:end]) - 1

    def error_after_step(self) -> float | None:
        """Return the error of two patterns of frames, ANSWER frames after the target's first step.

        It is None where the target has no step, or not enough frames follow.
        """
        steps = np.flatnonzero(np.diff(self.targets))
        if not len(steps) or steps[0] + 1 + ANSWER + 2 * PATTERN > len(self.bits):
            return None
        start = int(steps[0]) + 1 + ANSWER
        return self.error(start, start + 2 * PATTERN)

    def violations(self) -> int:
        """Count the frames that overflow a buffer of BUFFER_SECONDS that drains at the target."""
        fullness, count = 0.0, 0
        capacity = BUFFER_SECONDS * self.frame_rate * self.targets[0]
        for bits, target in zip(self.bits, self.targets, strict=True):
            fullness += bits
            count += fullness > capacity
            fullness = max(fullness - target, 0.0)
        return count


def cost(run: RateRun, constant: list[RateRun]) -> float:
    """Return how many more bits a run took than constant quality at equal PSNR, 0.01 for 1 %.

    `constant` are runs of the clip at constant qualities; around the one whose bits are nearest,
    PSNR is taken to be linear in the logarithm of the bits.
    """
    points = sorted((np.log(sum(other.bits)), other.psnr or 0.0) for other in constant)
    logs, psnrs = np.array(points).T
    slopes = np.gradient(psnrs, logs)  # dB per logarithm of bits
    bits = np.log(sum(run.bits))
    near = int(np.abs(logs - bits).argmin())
    return float(np.expm1(bits - logs[near] - ((run.psnr or 0.0) - psnrs[near]) / slopes[near]))


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSummary:
    """How well a codec held its targets, in the mean over runs of what they are off either way.

    Errors are relative; `violations` counts frames of all runs. What was not measured is None.
    """

    codec: str
    runs: int
    error: float
    first_error: float
    worst_error: float
    violations: int
    cost: float | None
    step_error: float | None
    foresight_error: float | None


def summarise(runs: list[RateRun]) -> list[RateSummary]:
    """Return a summary of each codec that was given targets, in the order of the runs."""
    codecs = dict.fromkeys(run.codec for run in runs if run.targets)
    return [_summary([run for run in runs if run.codec == codec], runs) for codec in codecs]


def _summary(runs: list[RateRun], all_runs: list[RateRun]) -> RateSummary:
    steady = [run for run in runs if len(set(run.targets)) == 1]
    errors = [abs(run.error()) for run in steady]
    costs = [
        cost(run, constant)
        for run in steady
        if run.psnr is not None and len(constant := _constant(run.clip, all_runs)) > 1
    ]
    steps = [abs(error) for run in runs if (error := run.error_after_step()) is not None]
    foresight = [run.foresight_error for run in runs if run.foresight_error is not None]
    return RateSummary(
        codec=runs[0].codec,
        runs=len(steady),
        error=fmean(errors),
        first_error=fmean(abs(run.error(0, FIRST_FRAMES)) for run in steady),
        worst_error=max(errors),
        violations=sum(run.violations() for run in steady),
        cost=fmean(costs) if costs else None,
        step_error=fmean(steps) if steps else None,
        foresight_error=fmean(foresight) if foresight else None,
    )


def _constant(clip: str, runs: list[RateRun]) -> list[RateRun]:
    return [run for run in runs if run.clip == clip and not run.targets]
