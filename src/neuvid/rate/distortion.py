"""Holding a PSNR by measuring every frame."""

from __future__ import annotations

from math import isfinite

import numpy as np

from neuvid.choice import FrameChoice, FrameKind, round_quality
from neuvid.errors import InvalidSetting
from neuvid.rate.controller import FrameStats, FrameView
from neuvid.rate.filter import (
    AFTER_INTRA,
    LEVEL,
    PLACE,
    PLACES,
    QUALITY,
    REFRESH,
    RISE,
    ROUTE,
    SHARED,
    FrameModel,
    LinearFilter,
    Weight,
)
from neuvid.rate.planner import FINEST

MOST_PSNR = 100.0  # dB

# Means and spreads over clips of natural video, in dB
INTER_PSNR = {
    SHARED: Weight(0.0, 2.0, 0.05),
    QUALITY: Weight(0.2, 0.05, 0.002),
    RISE: Weight(-0.05, 0.05, 0.005),
    REFRESH: Weight(0.0, 0.5),
    AFTER_INTRA: Weight(0.0, 0.5),
    LEVEL + 1: Weight(0.5, 0.5, 0.02),
    LEVEL + 2: Weight(0.2, 0.3, 0.02),
    LEVEL + 3: Weight(0.2, 0.3, 0.02),
    **{ROUTE + route: Weight(0.0, 0.5, 0.02) for route in (1, 2, 3)},
    **{PLACE + place: Weight(0.0, 0.2, 0.01) for place in range(PLACES)},
}
INTER_NOISE = 0.05
INTRA_PSNR = [Weight(35.0, 4.0, 0.1), Weight(0.22, 0.05, 0.002)]  # at FIRST_QUALITY; quality
INTRA_NOISE = 0.02
FIRST_QUALITY = 32.0
SCENE_TRIALS = 4
SCENE_PRECISION = 0.5  # quality
HORIZON = 16  # frames in which the mean is brought back
MOST_DEBT = 64.0  # dB, of all frames so far, that are made up for
TOLERANCE, GAIN = 0.5, 0.5  # change of quality that is not worth making, and of other changes


class PsnrControl:
    """Holds the mean PSNR, (6Y + U + V) / 8 in dB, by measuring what every frame shows.

    Quality changes no faster than the clip does. `mean` is the mean of the frames so far. Raises
    InvalidSetting for a target that is not above 0, or above 100.
    """

    def __init__(self, target: float) -> None:
        if not (isfinite(target) and 0 < target <= MOST_PSNR):
            raise InvalidSetting("psnr", got=target, expected=f"above 0, up to {MOST_PSNR:g} dB")
        self.target = target
        self.mean = 0.0
        self._frames = 0
        self._debt = 0.0  # dB that are missing so far
        self._last_quality = FIRST_QUALITY
        self._intra = LinearFilter(INTRA_PSNR)
        self._inter = FrameModel(INTER_PSNR, INTER_NOISE)

    def choose(self, view: FrameView) -> FrameChoice:
        """Return the choice that brings the mean to the target, and measure it."""
        if view.plan.kind is FrameKind.INTRA:
            choice, psnr = self._choose_intra(view)
        else:
            choice, psnr = self._choose_inter(view)
        self._frames += 1
        self.mean += (psnr - self.mean) / self._frames
        debt = self._debt + self.target - psnr
        self._debt = min(max(debt, -MOST_DEBT), MOST_DEBT)
        return choice

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn nothing: bits do not matter."""

    def _choose_intra(self, view: FrameView) -> tuple[FrameChoice, float]:
        for _ in range(SCENE_TRIALS):
            expected, slope = self._intra.weights
            wanted = FIRST_QUALITY + (self.target - expected) / slope
            quality = round_quality(min(max(wanted, 0.0), FINEST))
            choice = view.plan.choice(quality)
            psnr = view.trial(choice).psnr()
            terms = np.array([1.0, quality - FIRST_QUALITY])
            error = psnr - self._intra.expect(terms)
            self._intra.advance()
            self._intra.learn(terms, error, INTRA_NOISE**2)
            if abs(error) <= SCENE_PRECISION * slope:
                break
        if view.number == 0 or view.may_be_cut:
            self._inter.begin(psnr, quality, INTER_PSNR[SHARED].deviation)
            self._last_quality = quality
        return choice, psnr

    def _choose_inter(self, view: FrameView) -> tuple[FrameChoice, float]:
        change = self._wanted_quality(view) - self._last_quality
        quality = self._last_quality + (GAIN * change if abs(change) > TOLERANCE else 0.0)
        choice = view.plan.choice(quality)
        psnr = view.trial(choice).psnr()
        self._inter.learn(self._inter.terms(view.plan, choice, self._last_quality), psnr)
        self._last_quality = round_quality(quality)
        return choice, psnr

    def _wanted_quality(self, view: FrameView) -> float:
        """Return the quality at which the next frames bring the mean to the target."""
        model = self._inter
        plans = [view.later(ahead) for ahead in range(HORIZON)]
        terms = [model.terms(plan, plan.choice(model.origin), FINEST) for plan in plans]
        missing = self.target * HORIZON + self._debt - sum(map(model.filter.expect, terms))
        slope = max(float(model.filter.weights[QUALITY]), INTER_PSNR[QUALITY].mean / 2)
        return min(max(model.origin + missing / (HORIZON * slope), 0.0), float(FINEST))
