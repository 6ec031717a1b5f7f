"""What an encoding aims for, and the controller that gets it there."""

from __future__ import annotations

from dataclasses import dataclass

from neuvid.bitstream.packet import write_header
from neuvid.codec.decoder import header_of
from neuvid.errors import InvalidSetting
from neuvid.models.checkpoint import LoadedModel
from neuvid.rate.budget import Bitrate, LeakyBucket, RateMeter
from neuvid.rate.controller import FixedQuality, RateController
from neuvid.rate.distortion import PsnrControl
from neuvid.rate.feedback import BitrateControl
from neuvid.rate.guard import BufferGuard
from neuvid.video.frame import ClipInfo

ENDING_BYTES = 40  # of the index of a stream with few intra frames, and of its end


@dataclass(frozen=True, slots=True, kw_only=True)
class RateGoal:
    """What an encoding aims for: one of `quality`, `bitrate` and `psnr`, within a buffer.

    The buffer holds `buffer_seconds` of `max_rate` (bits per second) and drains at it; it is then
    never violated where the lowest quality can help it. Without `max_rate`, the buffer of a
    bit rate drains at the bit rate itself. A quality takes `route` for inter frames, None for
    the one that is meant for it.

    Raises InvalidSetting when a value is out of range or the goals contradict each other.
    """

    quality: float | None = None
    route: int | None = None
    bitrate: Bitrate | None = None
    psnr: float | None = None
    max_rate: float | None = None
    buffer_seconds: float = 1.0

    def __post_init__(self) -> None:
        goals = {"quality": self.quality, "bitrate": self.bitrate, "psnr": self.psnr}
        given = [name for name, value in goals.items() if value is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise InvalidSetting("goal", got=got, expected="one of quality, bitrate and psnr")
        if self.route is not None and self.quality is None:
            raise InvalidSetting("route", got=self.route, expected="given with a quality alone")
        if self.psnr is not None and self.max_rate is not None:
            raise InvalidSetting("max rate", got=self.max_rate, expected="none with a psnr")
        if self.bitrate and self.max_rate is not None and self.bitrate.highest > self.max_rate:
            expected = f"at least the bitrate, {self.bitrate.highest:g}"
            raise InvalidSetting("max rate", got=self.max_rate, expected=expected)
        self.bucket()  # checks rate and seconds

    def bucket(self) -> LeakyBucket | None:
        """Return the empty buffer, None where there is none."""
        if self.max_rate is not None:
            return LeakyBucket(Bitrate(self.max_rate), self.buffer_seconds)
        return LeakyBucket(self.bitrate, self.buffer_seconds) if self.bitrate else None

    def meter(self) -> RateMeter:
        """Return what measures a stream against the goal."""
        return RateMeter(self.bitrate, self.bucket())

    def control(self, model: LoadedModel, clip: ClipInfo) -> RateController:
        """Return the controller for a clip."""
        if self.psnr is not None:
            return PsnrControl(self.psnr)
        control: RateController
        if self.bitrate:
            control = bitrate_control(self.bitrate, model, clip)
        else:
            control = FixedQuality(self.quality or 0.0, self.route)
        return guarded(control, self.bucket(), clip, strict=self.max_rate is not None)


def guarded(
    control: RateController, bucket: LeakyBucket | None, clip: ClipInfo, *, strict: bool
) -> RateController:
    """Return a controller that keeps another one within a buffer, if there is one."""
    if bucket is None:
        return control
    rate = float(clip.frame_rate)
    return BufferGuard(control, bucket, frame_rate=rate, pixels=pixels_of(clip), strict=strict)


def bitrate_control(bitrate: Bitrate, model: LoadedModel, clip: ClipInfo) -> BitrateControl:
    """Return the controller that holds a bit rate, all overhead of the stream included."""
    overhead = len(write_header(header_of(model, clip))) + ENDING_BYTES
    return BitrateControl(
        bitrate,
        frame_rate=float(clip.frame_rate),
        pixels=pixels_of(clip),
        overhead_bits=8.0 * overhead,
    )


def pixels_of(clip: ClipInfo) -> int:
    """Return the pixels of a frame."""
    return clip.size.width * clip.size.height
