"""What an evaluation found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from neuvid.evaluation.metrics import METRICS


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A clip, coded at one rate.

    `metrics` are means over the frames, `by_frame` the same frame by frame. `container_bytes`
    are those of `file_bytes` that are no coded frame. Seconds are known from a timing run alone,
    `peak_bytes` of memory where the system tells. `rate_error` is what the file's bits per second
    are beside a target, 0.01 for one percent more, None where there was no target. `key` names
    the cached stream and picture, empty for published points.
    """

    setting: str
    bits_per_pixel: float
    metrics: Mapping[str, float]
    by_frame: Mapping[str, list[float]] = field(default_factory=dict)
    file_bytes: int | None = None
    container_bytes: int | None = None
    rate_error: float | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    encode_peak_bytes: int | None = None
    decode_peak_bytes: int | None = None
    encode_command: str = ""
    decode_command: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What must be the same for two curves to be compared."""

    delay: str
    intra_period: int
    frames: int
    size: str
    pixel_format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A clip, coded by a codec at several rates; points go from the fewest bits on.

    `kmac_per_pixel` are thousands of multiply-accumulates of an inter frame, None where they are
    not known or change with the rate.
    """

    clip: str
    codec: str
    version: str
    conditions: Conditions
    threads: int | None
    points: tuple[Point, ...]
    kmac_per_pixel: float | None = None

    def rates(self) -> list[float]:
        """Return the bits per pixel of the points."""
        return [point.bits_per_pixel for point in self.points]

    def values(self, metric: str) -> list[float] | None:
        """Return a metric of the points, None where one of them lacks it."""
        if not all(metric in point.metrics for point in self.points):
            return None
        return [point.metrics[metric] for point in self.points]


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be measured: of a clip, of a codec, or both."""

    clip: str
    codec: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFacts:
    """A clip as it was coded."""

    name: str
    digest: str
    width: int
    height: int
    frames: int
    frame_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that an evaluation found."""

    date: str
    ffmpeg: str
    machine: str
    clips: tuple[ClipFacts, ...]
    curves: tuple[Curve, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def codecs(self) -> list[str]:
        """The names of the codecs that have a curve, in order."""
        return list(dict.fromkeys(curve.codec for curve in self.curves))

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics that all points of some curve have, in order."""
        return [name for name in METRICS if any(curve.values(name) for curve in self.curves)]

    def curve(self, clip: str, codec: str) -> Curve | None:
        """Return the curve of a codec for a clip, None where there is none."""
        wanted = (curve for curve in self.curves if (curve.clip, curve.codec) == (clip, codec))
        return next(wanted, None)


def difference_in_conditions(one: Conditions, other: Conditions) -> str | None:
    """Say why two curves cannot be compared, None where they can."""
    for name in (entry.name for entry in fields(Conditions)):
        first, second = getattr(one, name), getattr(other, name)
        if first != second:
            return f"{name.replace('_', ' ')} {first} against {second}"
    return None
