"""Bjontegaard differences between rate-distortion curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import log10
from statistics import fmean
from typing import Any

from bjontegaard.functions import bd_psnr, bd_rate  # type: ignore[import-untyped]

from neuvid.evaluation.results import Curve, Evaluation, difference_in_conditions

METHOD = "pchip"  # piecewise cubic, monotone between the points; as the standards bodies do
MIN_POINTS = 4
MIN_SHARE = 0.5  # of the narrower of two ranges that the other must cover


@dataclass(frozen=True, slots=True)
class Overlap:
    """Where two curves can be compared; `share` is that of the narrower range, 0..1."""

    low: float
    high: float
    share: float


@dataclass(frozen=True, slots=True)
class Delta:
    """How a curve differs from its anchor's.

    `rate` is the mean difference of bits at equal quality in percent (negative: fewer bits),
    None where there is a `refusal`, which says why. `gain` is the mean difference of the metric
    at equal bits in its own unit, None where the ranges of bits overlap too little.
    """

    rate: float | None = None
    gain: float | None = None
    overlap: Overlap | None = None  # in units of the metric
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a codec differs from an anchor by a metric: clip by clip, and in the mean.

    Means are over those clips, as many as `rate_clips` and `gain_clips` say, that have the
    difference; they are None where no clip has it.
    """

    clips: dict[str, Delta]
    rate: float | None
    rate_clips: int
    gain: float | None
    gain_clips: int


def compare_codecs(evaluation: Evaluation, anchor: str, codec: str, metric: str) -> Comparison:
    """Compare the curves of a codec with those of an anchor, all by their names."""
    deltas = {}
    for clip in evaluation.clips:
        first, second = evaluation.curve(clip.name, anchor), evaluation.curve(clip.name, codec)
        if first and second:
            deltas[clip.name] = difference(first, second, metric)
    rate, rate_clips = mean_of_known(delta.rate for delta in deltas.values())
    gain, gain_clips = mean_of_known(delta.gain for delta in deltas.values())
    return Comparison(
        clips=deltas, rate=rate, rate_clips=rate_clips, gain=gain, gain_clips=gain_clips
    )


def all_comparisons(evaluation: Evaluation) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Return the fields of each Comparison, by metric, anchor and codec."""
    return {
        metric: {
            anchor: {
                codec: asdict(compare_codecs(evaluation, anchor, codec, metric))
                for codec in evaluation.codecs
                if codec != anchor
            }
            for anchor in evaluation.codecs
        }
        for metric in evaluation.metrics
    }


def difference(anchor: Curve, test: Curve, metric: str) -> Delta:
    """Compare two curves of a clip by a metric."""
    reason = difference_in_conditions(anchor.conditions, test.conditions)
    values = [curve.values(metric) for curve in (anchor, test)]
    if reason:
        return Delta(refusal=f"not comparable: {reason}")
    if values[0] is None or values[1] is None:
        return Delta(refusal="not measured")
    return bjontegaard_difference(anchor.rates(), values[0], test.rates(), values[1])


def bjontegaard_difference(
    anchor_rates: Sequence[float],
    anchor_values: Sequence[float],
    test_rates: Sequence[float],
    test_values: Sequence[float],
) -> Delta:
    """Compare two curves, given as bits and metric of each point from the fewest bits on."""
    curves = ((anchor_rates, anchor_values), (test_rates, test_values))
    if min(len(rates) for rates, _ in curves) < MIN_POINTS:
        return Delta(refusal=f"fewer than {MIN_POINTS} points")
    if not all(_rises(rates) and _rises(values) for rates, values in curves):
        return Delta(refusal="more bits do not always give more quality")
    points = (anchor_rates, anchor_values, test_rates, test_values)
    options = {"method": METHOD, "require_matching_points": False, "min_overlap": 0}
    overlap = _overlap(anchor_values, test_values)
    if overlap.share < MIN_SHARE:
        return Delta(overlap=overlap, refusal=f"only {overlap.share:.0%} overlap")
    rate = float(bd_rate(*points, **options))
    log_rates = [[log10(rate) for rate in rates] for rates, _ in curves]
    comparable_rates = _overlap(*log_rates).share >= MIN_SHARE
    gain = float(bd_psnr(*points, **options)) if comparable_rates else None
    return Delta(rate, gain, overlap)


def mean_of_known(values: Iterable[float | None]) -> tuple[float | None, int]:
    """Return the mean of the values that are not None, and how many they are."""
    known = [value for value in values if value is not None]
    return (fmean(known) if known else None), len(known)


def _rises(values: Sequence[float]) -> bool:
    return all(low < high for low, high in pairwise(values))


def _overlap(one: Sequence[float], other: Sequence[float]) -> Overlap:
    low, high = max(one[0], other[0]), min(one[-1], other[-1])
    narrower = min(one[-1] - one[0], other[-1] - other[0])
    return Overlap(low, high, max(high - low, 0.0) / narrower)
