"""What frames cost, or give, at each quality: learned while coding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuvid.choice import LEVELS, ROUTES, FrameChoice, quality_of
from neuvid.rate.controller import FramePlan

Vector = NDArray[np.float64]

PLACES = 16  # places of the quality pattern that are told apart

# Terms whose weighted sum is the value of an inter frame: what all frames share, quality, a rise
# of quality from the frame before, a refresh, being the first frame after an intra frame, ...
SHARED, QUALITY, RISE, REFRESH, REFRESH_QUALITY, AFTER_INTRA = range(6)
LEVEL = AFTER_INTRA  # + 1, 2, ...; the lowest level has no term of its own
ROUTE = LEVEL + LEVELS - 1  # + 1, 2, ...; nor has the first route
PLACE = ROUTE + ROUTES
TERMS = PLACE + PLACES

NOISE_MEMORY = 0.06  # weight of the last error in the mean of squared errors
TREND_MEMORY = 0.1  # the same for products of two errors in a row
TREND_GAIN = 0.5  # of the drift in the mean of these products
MOST_DRIFT = 0.3  # per frame, as a share of the spread of values
OUTLIER = 3.0  # standard deviations
LEVEL_FRAMES = 32  # of the long mean
LEVEL_VARIANCE = 0.4  # of the long mean around that of the first frames
SETTLING_FRAMES = 4  # at the start, which the long mean leaves out


@dataclass(frozen=True, slots=True)
class Weight:
    """What is known of a term's weight before a clip: `drift` is its change per frame."""

    mean: float
    deviation: float
    drift: float = 0.0


class LinearFilter:
    """Weights of a sum of terms, learned from noisy sums: a Kalman filter of drifting weights."""

    def __init__(self, known: list[Weight]) -> None:
        self.weights = np.array([weight.mean for weight in known])
        self.covariance = np.diag([weight.deviation**2 for weight in known])
        self.drift = np.array([weight.drift**2 for weight in known])

    def expect(self, terms: Vector) -> float:
        """Return the sum that is expected."""
        return float(self.weights @ terms)

    def variance(self, terms: Vector) -> float:
        """Return how uncertain that is, without the noise."""
        return float(terms @ self.covariance @ terms)

    def forget(self, term: int, weight: float, deviation: float) -> None:
        """Set a weight, as independent of the others as before a clip."""
        self.weights[term] = weight
        self.covariance[term, :] = self.covariance[:, term] = 0.0
        self.covariance[term, term] = deviation**2

    def tie(self, term: int, weight: Weight, other: int, slope: float) -> None:
        """Set a weight that changes by `slope` times what another one proves to be off by."""
        self.weights[term] = weight.mean
        self.covariance[term, :] = slope * self.covariance[other, :]
        self.covariance[:, term] = slope * self.covariance[:, other]
        variance = slope**2 * self.covariance[other, other]
        self.covariance[term, term] = variance + weight.deviation**2

    def move_origin(self, term: int, shared: int, distance: float) -> None:
        """Count a term from a new origin; the weight `shared` takes up the difference."""
        self.weights[shared] += distance * self.weights[term]
        self.covariance[shared, :] += distance * self.covariance[term, :]
        self.covariance[:, shared] += distance * self.covariance[:, term]

    def learn(self, terms: Vector, error: float, noise: float) -> None:
        """Take in a sum that was off by `error`, whose noise has a variance."""
        gain = self.covariance @ terms / (self.variance(terms) + noise)
        self.weights += gain * error
        self.covariance -= np.outer(gain, terms @ self.covariance)

    def advance(self) -> None:
        """Let the weights drift by a frame."""
        self.covariance[np.diag_indices_from(self.covariance)] += self.drift


class FrameModel:
    """The value of inter frames (logarithm of bits, or dB) at each quality.

    Quality counts from that of the last frame learned, so that only changes of quality tell of
    its weight. `level` is the long mean of what all frames share. How fast that share drifts
    follows from errors in a row with the same sign.
    """

    def __init__(self, known: Mapping[int, Weight], noise: float) -> None:
        silent = Weight(0.0, 0.0)
        self.filter = LinearFilter([known.get(term, silent) for term in range(TERMS)])
        self.origin = 0.0  # quality that counts as 0
        self.level = 0.0
        self.noise = self._least_noise = noise**2
        self._spread = known[SHARED].deviation
        self._least_drift = known[SHARED].drift ** 2
        self._trend = 0.0
        self._last_error = 0.0
        self._learned = 0

    def begin(self, value: float, quality: float, deviation: float) -> None:
        """Expect a value of plain frames at a quality, and forget the values before."""
        self._move_origin(quality)
        self.filter.forget(SHARED, value, deviation)
        self.level, self._learned = value, 0
        self._trend = self._last_error = 0.0

    @property
    def level_variance(self) -> float:
        """How uncertain the long mean is, of which a few frames tell little."""
        return LEVEL_VARIANCE / (1 + self._learned / SETTLING_FRAMES)

    def terms(self, plan: FramePlan, choice: FrameChoice, last_quality: float) -> Vector:
        """Return the terms of a frame."""
        quality = quality_of(choice)
        terms = np.zeros(TERMS)
        terms[[SHARED, PLACE + plan.place % PLACES]] = 1.0
        terms[QUALITY] = quality - self.origin
        terms[RISE] = max(quality - last_quality, 0.0)
        terms[REFRESH] = choice.refresh
        terms[REFRESH_QUALITY] = choice.refresh * terms[QUALITY]
        terms[AFTER_INTRA] = plan.since_intra == 1
        if choice.level and not choice.refresh:
            terms[LEVEL + choice.level] = 1.0
        if choice.route:
            terms[ROUTE + choice.route] = 1.0
        return terms

    def learn(self, terms: Vector, value: float) -> float:
        """Take in the value of a frame and return by how much it was off."""
        self._move_origin(self.origin + terms[QUALITY])
        terms = terms.copy()
        terms[[QUALITY, REFRESH_QUALITY]] = 0.0
        self.filter.advance()
        error = value - self.filter.expect(terms)
        self._adapt(error, self.filter.variance(terms))
        allowed = OUTLIER**2 * (self.filter.variance(terms) + self.noise)
        if error**2 > allowed:  # one frame, or a new scene? The next frames tell.
            self.filter.covariance[SHARED, SHARED] += error**2 / 4
        self.filter.learn(terms, error, max(self.noise, error**2 / OUTLIER**2))
        self._learned = min(self._learned + 1, LEVEL_FRAMES)
        share = self.filter.weights[SHARED]
        self.level += (share - self.level) / max(self._learned - SETTLING_FRAMES, 1)
        return error

    def _adapt(self, error: float, variance: float) -> None:
        """Learn noise and drift from the errors themselves."""
        most = (2 * self._spread) ** 2
        self.noise += NOISE_MEMORY * (min(error**2, most) - variance - self.noise)
        self.noise = max(self.noise, self._least_noise)
        product = min(max(error * self._last_error, -most / 4), most / 4)
        self._trend += TREND_MEMORY * (product - self._trend)
        self._last_error = error
        drift = max(TREND_GAIN * self._trend, self._least_drift)
        self.filter.drift[SHARED] = min(drift, (MOST_DRIFT * 2 * self._spread) ** 2)

    def _move_origin(self, quality: float) -> None:
        distance, self.origin = quality - self.origin, quality
        self.level += distance * self.filter.weights[QUALITY]
        self.filter.move_origin(QUALITY, SHARED, distance)
        self.filter.move_origin(REFRESH_QUALITY, REFRESH, distance)
