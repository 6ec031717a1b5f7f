"""What frames to come will cost, and the quality at which they cost what they may."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log

import numpy as np

from neuvid.choice import (
    QUALITIES,
    QUALITY_FRACTIONS,
    FrameChoice,
    FrameKind,
    quality_of,
    round_quality,
)
from neuvid.rate.controller import FramePlan, FrameStats, FrameView
from neuvid.rate.filter import (
    AFTER_INTRA,
    LEVEL,
    PLACE,
    PLACES,
    QUALITY,
    REFRESH,
    REFRESH_QUALITY,
    RISE,
    ROUTE,
    SHARED,
    FrameModel,
    LinearFilter,
    Vector,
    Weight,
)

FINEST = QUALITIES - 1
STEP = 1 / QUALITY_FRACTIONS

# What is known before a clip, of any family and any natural video: means and wide spreads.
# Values are logarithms of bits.
INTER_BITS = {
    SHARED: Weight(0.0, 0.45, 0.03),
    QUALITY: Weight(0.04, 0.02, 0.0005),
    RISE: Weight(0.04, 0.03, 0.002),
    REFRESH: Weight(2.1, 1.2, 0.02),
    REFRESH_QUALITY: Weight(0.025, 0.015),
    AFTER_INTRA: Weight(-0.6, 0.5),
    LEVEL + 1: Weight(1.0, 0.4, 0.01),
    LEVEL + 2: Weight(0.5, 0.25, 0.01),
    LEVEL + 3: Weight(0.3, 0.5, 0.01),
    **{ROUTE + route: Weight(0.0, 0.5, 0.005) for route in (1, 2, 3)},
    **{PLACE + place: Weight(0.0, 0.15, 0.005) for place in range(PLACES)},
}
INTER_NOISE = 0.06
INTRA_BITS = [Weight(-1.6, 0.5, 0.05), Weight(0.045, 0.01)]  # per pixel at quality 28; quality
INTRA_NOISE = 0.02
INTRA_ORIGIN = 28.0  # quality
INTRA_OVER_PLAIN = Weight(4.0, 1.3)  # of a plain frame; 3.5 in the mean, but too little is worse
REFRESH_OVER_PLAIN = Weight(-0.36, 0.27)  # at quality 28, beside the next two
REFRESH_BY_INTRA = 0.73  # of what an intra frame costs more than a plain one
REFRESH_BY_QUALITY = 0.018
MEAN_OVER_PLAIN = 1.6  # bits, not logarithms: some levels of the pattern cost more
FIRST_QUALITY = Weight(32.0, 14.0)  # that people ask for
NEXT_QUALITY = 10.0  # deviation of a scene's quality from that of the scene before
RATIOS = np.linspace(-2, 2, 9)  # deviations from the usual ratio that are weighed

SCENE_TRIALS = 4
SCENE_PRECISION = 1.0  # quality
MEAN_RETURN = 0.95  # of the distance to the long mean that is left after a frame
BIAS_MEMORY = 1 / 32  # weight of the last frame
MOST_BIAS = 1.5
SURPRISE = 0.7  # logarithm of the bits over what was expected
LEAST_SLOPE = 0.02
PRECISION = 0.01  # of a quality that is sought


@dataclass(frozen=True, slots=True)
class _Expected:
    """A frame whose cost is not known yet; `surprise` is what a trial told beforehand."""

    plan: FramePlan
    last_quality: float
    bits: float
    surprise: float


@dataclass(frozen=True, slots=True)
class SceneBudget:
    """What a new scene may cost: `bits` for so many frames, up to `first` for the first of them.

    `refreshes` of the frames restart features.
    """

    bits: float
    frames: int
    refreshes: int
    first: float


class BitPlanner:
    """Learns what frames cost and plans with it; costs may become known late.

    `pixels` are those of a frame. `last_quality` is that of the last inter frame, or the one that
    a new scene's inter frames should begin with.
    """

    def __init__(self, pixels: int) -> None:
        first, slope = INTRA_BITS
        scaled = Weight(first.mean + log(pixels), first.deviation, first.drift)
        self.last_quality = INTRA_ORIGIN
        self._intra = LinearFilter([scaled, slope])
        self._inter = FrameModel(INTER_BITS, INTER_NOISE)
        self._pending: deque[_Expected] = deque()
        self._actual = self._expected = 0.0  # recent bits, as they came and as expected
        self._surprise = 0.0  # of the frame that is being chosen for

    @property
    def pending_bits(self) -> float:
        """Bits that are expected of frames whose cost is not known yet."""
        return sum(expected.bits for expected in self._pending)

    def intra_bits(self, quality: float) -> float:
        """Return what an intra frame is expected to cost."""
        return exp(self._intra.expect(_intra_terms(quality)))

    def scene_quality(self, view: FrameView, budget: SceneBudget) -> float:
        """Return the quality of the first intra frame of a new scene, found by trials."""
        self._forget_intra()
        known = Weight(self.last_quality, NEXT_QUALITY) if view.number else FIRST_QUALITY
        quality = round_quality(known.mean)
        for _ in range(SCENE_TRIALS):
            self._learn_intra(quality, view.trial(view.plan.choice(quality)).bits)
            better = round_quality(self._first_quality(budget, known))
            if abs(better - quality) <= SCENE_PRECISION:
                break
            quality = better
        self._begin_inter(quality)
        return quality

    def begin_scene(self, quality: float, bits: float) -> None:
        """Learn what the first intra frame of a new scene costs."""
        self._forget_intra()
        self._learn_intra(quality, bits)
        self._begin_inter(quality)

    def steady_quality(self, view: FrameView, bits: float, frames: int) -> float:
        """Return the quality at which this frame and the next ones cost `bits`, 0..63."""
        model = self._inter
        plans = [view.later(ahead) for ahead in range(frames)]
        inter = [plan for plan in plans if plan.kind is FrameKind.INTER]
        terms = [model.terms(plan, plan.choice(model.origin), FINEST) for plan in inter]
        logs = np.array([model.filter.expect(term) for term in terms])
        # Half a variance: the mean of bits whose logarithm is uncertain
        change = model.level - model.filter.weights[SHARED] + model.level_variance / 2
        logs += change * (1 - MEAN_RETURN ** np.arange(len(logs)))
        costs = self._bias() * np.exp(logs)
        refresh = np.array([plan.refresh for plan in inter], dtype=float)
        steeper = max(model.filter.weights[REFRESH_QUALITY], 0.0)
        slope = max(model.filter.weights[QUALITY], LEAST_SLOPE)
        rise = max(model.filter.weights[RISE], 0.0)
        first = np.arange(len(inter)) == 0 if plans[0].kind is FrameKind.INTER else 0.0

        def cost(quality: float) -> float:
            jump = self._surprise + rise * max(quality - self.last_quality, 0.0)
            change = (slope + steeper * refresh) * (quality - model.origin) + first * jump
            inter_cost = costs @ np.exp(change + self._route_change(inter, quality))
            return float(inter_cost + (frames - len(inter)) * self.intra_bits(quality))

        return highest_quality(lambda quality: cost(quality) <= bits)

    def look(self, view: FrameView, quality: float) -> bool:
        """Try an inter frame; return whether it costs far more than frames like it do."""
        choice = view.plan.choice(quality)
        expected = self._inter_log(view.plan, choice)
        surprise = log(view.trial(choice).bits) - expected
        self._surprise = surprise if surprise > SURPRISE else 0.0
        return self._surprise > 0

    def calibrate(self, view: FrameView, quality: float) -> None:
        """Try an inter frame, and learn from it as from a coded one; the rest is a surprise."""
        choice = view.plan.choice(quality)
        terms = self._inter.terms(view.plan, choice, self.last_quality)
        tried = log(view.trial(choice).bits)
        self._inter.learn(terms, tried)
        if choice.refresh:
            self._surprise = tried - self._inter_log(view.plan, choice)

    def frame_bits(self, view: FrameView, choice: FrameChoice) -> float:
        """Return what a frame with this choice is expected to cost."""
        if choice.kind is FrameKind.INTRA:
            return self.intra_bits(quality_of(choice))
        return self._bias() * exp(self._inter_log(view.plan, choice) + self._surprise)

    def expect(self, view: FrameView, choice: FrameChoice) -> float:
        """Return the same; the frame's true cost is observed later."""
        bits, surprise, last_quality = (
            self.frame_bits(view, choice),
            self._surprise,
            self.last_quality,
        )
        if choice.kind is FrameKind.INTER:
            self.last_quality = quality_of(choice)
        self._pending.append(_Expected(view.plan, last_quality, bits, surprise))
        self._surprise = 0.0
        return bits

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn what the first of the frames cost whose cost is not known yet."""
        expected = self._pending.popleft()
        if choice.kind is FrameKind.INTRA:
            self._learn_intra(quality_of(choice), stats.bits)
            return
        model = self._inter
        terms = model.terms(expected.plan, choice, expected.last_quality)
        before = exp(model.filter.expect(terms))
        error = model.learn(terms, log(stats.bits) - expected.surprise)
        if abs(error) < SURPRISE and abs(expected.surprise) < SURPRISE:
            self._actual += BIAS_MEMORY * (stats.bits - self._actual)
            self._expected += BIAS_MEMORY * (before - self._expected)

    def _bias(self) -> float:
        """Return actual over expected bits: means of bits are not means of logarithms."""
        if not self._expected:
            return 1.0
        return min(max(self._actual / self._expected, 1 / MOST_BIAS), MOST_BIAS)

    def _inter_log(self, plan: FramePlan, choice: FrameChoice) -> float:
        terms = self._inter.terms(plan, choice, self.last_quality)
        return self._inter.filter.expect(terms)

    def _learn_intra(self, quality: float, bits: float) -> None:
        terms = _intra_terms(quality)
        self._intra.advance()
        self._intra.learn(terms, log(bits) - self._intra.expect(terms), INTRA_NOISE**2)

    def _route_change(self, plans: list[FramePlan], quality: float) -> float:
        """Return what taking the route of another quality adds to the logarithm of the bits."""
        if not plans or len(plans[0].ladder) == 1:
            return 0.0
        routes = (plans[0].choice(at).route for at in (self._inter.origin, quality))
        weights = [self._inter.filter.weights[ROUTE + route] if route else 0.0 for route in routes]
        return float(weights[1] - weights[0])

    def _forget_intra(self) -> None:
        self._intra.forget(0, self._intra.weights[0], INTRA_BITS[0].deviation)

    def _first_quality(self, budget: SceneBudget, known: Weight) -> float:
        """Return the quality of a scene's first frame.

        Neither what inter frames will cost nor the quality of the scene is known: each ratio of
        intra to inter frames would have a quality of its own, and tells by it how likely it is.
        """
        qualities = np.array([self._scene_quality_at(budget, ratio) for ratio in RATIOS])
        surprise = RATIOS**2 + ((qualities - known.mean) / known.deviation) ** 2
        likely = float(np.average(qualities, weights=np.exp(-surprise / 2)))
        return min(
            likely, highest_quality(lambda quality: self.intra_bits(quality) <= budget.first)
        )

    def _scene_quality_at(self, budget: SceneBudget, ratio: float) -> float:
        """Return the quality of a scene whose ratio is so many deviations from the usual."""

        def fits(quality: float) -> bool:
            intra = self.intra_bits(quality)
            over_plain = INTRA_OVER_PLAIN.mean + ratio * INTRA_OVER_PLAIN.deviation
            refreshes = budget.refreshes * exp(_refresh_over_plain(quality, over_plain))
            others = (budget.frames - 1 - budget.refreshes) * MEAN_OVER_PLAIN
            return intra + (refreshes + others) * intra * exp(-over_plain) <= budget.bits

        return highest_quality(fits)

    def _plain(self, quality: float) -> float:
        """Return the logarithm of the bits that a scene's plain inter frames may cost."""
        return self._intra.expect(_intra_terms(quality)) - INTRA_OVER_PLAIN.mean

    def _begin_inter(self, quality: float) -> None:
        self.last_quality = quality
        self._inter.begin(self._plain(quality), quality, INTRA_OVER_PLAIN.deviation)
        refresh = _refresh_over_plain(quality, INTRA_OVER_PLAIN.mean)
        weight = Weight(refresh, REFRESH_OVER_PLAIN.deviation)
        self._inter.filter.tie(REFRESH, weight, SHARED, -REFRESH_BY_INTRA)
        self._actual = self._expected = exp(self._plain(self.last_quality))


def _intra_terms(quality: float) -> Vector:
    return np.array([1.0, quality - INTRA_ORIGIN])


def _refresh_over_plain(quality: float, intra_over_plain: float) -> float:
    change = REFRESH_BY_QUALITY * (quality - INTRA_ORIGIN)
    return REFRESH_OVER_PLAIN.mean + REFRESH_BY_INTRA * intra_over_plain + change


def highest_quality(fits: Callable[[float], bool]) -> float:
    """Return the highest quality that fits, 0 where none does, by bisection."""
    low, high = 0.0, float(FINEST)
    if fits(high):
        return high
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
