"""What holds for a codec over all clips and rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from neuvid.evaluation.results import Curve, Evaluation, Point

DRIFT_FRAMES = 32  # at either end of a clip


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecFacts:
    """Shares, cost, speeds and memory of a codec; None where an encoding does not tell.

    `container_share` is that of the files' bytes, 0..1, in the mean over the encodings;
    `rate_error` that of their bits from the targets, in the mean of what they are off either way,
    and `worst_rate_error` at worst. Speeds are all frames over all seconds, in frames per second;
    memory is the highest peak in bytes. `kmac_per_pixel` is as the curves have it.
    """

    container_share: float | None
    rate_error: float | None
    worst_rate_error: float | None
    kmac_per_pixel: float | None
    encode_speed: float | None
    decode_speed: float | None
    encode_peak_bytes: int | None
    decode_peak_bytes: int | None


def codec_facts(evaluation: Evaluation, codec: str) -> CodecFacts:
    """Return what holds for a codec, by its name."""
    curves = list(_curves(evaluation, codec))
    points = [point for curve in curves for point in curve.points]
    errors = [abs(point.rate_error) for point in points if point.rate_error is not None]
    return CodecFacts(
        container_share=_container_share(points),
        rate_error=fmean(errors) if errors else None,
        worst_rate_error=max(errors, default=None),
        kmac_per_pixel=curves[0].kmac_per_pixel if curves else None,
        encode_speed=_speed(evaluation, codec, "encode_seconds"),
        decode_speed=_speed(evaluation, codec, "decode_seconds"),
        encode_peak_bytes=_highest(points, "encode_peak_bytes"),
        decode_peak_bytes=_highest(points, "decode_peak_bytes"),
    )


def quality_range(evaluation: Evaluation, codec: str, metric: str) -> tuple[float, float] | None:
    """Return a metric at the lowest and at the highest rate, in the mean over the clips.

    It is None where a clip lacks the metric.
    """
    columns = [curve.values(metric) for curve in _curves(evaluation, codec)]
    known = [values for values in columns if values is not None]
    if not known or len(known) < len(columns):
        return None
    return fmean(values[0] for values in known), fmean(values[-1] for values in known)


def drift(evaluation: Evaluation, codec: str, metric: str) -> float | None:
    """Return by how much a metric rises from the first to the last 32 frames of the longest clip.

    It is the mean over the rates, and None where that clip has fewer than 64 frames or the codec
    no numbers by frame.
    """
    longest = max(evaluation.clips, key=lambda clip: clip.frames, default=None)
    curve = longest and evaluation.curve(longest.name, codec)
    by_frame = [point.by_frame.get(metric, []) for point in curve.points] if curve else []
    if not by_frame or min(map(len, by_frame)) < 2 * DRIFT_FRAMES:
        return None
    return fmean(fmean(each[-DRIFT_FRAMES:]) - fmean(each[:DRIFT_FRAMES]) for each in by_frame)


def _curves(evaluation: Evaluation, codec: str) -> Iterator[Curve]:
    return (curve for curve in evaluation.curves if curve.codec == codec)


def _container_share(points: list[Point]) -> float | None:
    shares = [
        point.container_bytes / point.file_bytes
        for point in points
        if point.container_bytes is not None and point.file_bytes
    ]
    return fmean(shares) if shares and len(shares) == len(points) else None


def _speed(evaluation: Evaluation, codec: str, name: str) -> float | None:
    frames, seconds = 0, 0.0
    for curve in _curves(evaluation, codec):
        for point in curve.points:
            spent = getattr(point, name)
            if spent is None:
                return None
            frames, seconds = frames + curve.conditions.frames, seconds + spent
    return frames / seconds if seconds else None


def _highest(points: list[Point], name: str) -> int | None:
    peaks = [getattr(point, name) for point in points]
    return max(peaks) if peaks and None not in peaks else None
