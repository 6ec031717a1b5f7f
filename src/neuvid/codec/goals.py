"""What an encoding aims for, and the controller that gets it there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from neuvid.bitstream.packet import write_header
from neuvid.codec.headers import header_of
from neuvid.errors import InvalidSetting
from neuvid.models.checkpoint import LoadedModel
from neuvid.rate.agent import RateControlAgent
from neuvid.rate.budget import Bitrate, LeakyBucket, RateMeter
from neuvid.rate.controller import FixedQuality, RateController
from neuvid.rate.distortion import PsnrControl
from neuvid.rate.feedback import BitrateControl
from neuvid.rate.guard import BufferGuard
from neuvid.rate.papers import BufferFeedback, SlidingWindow
from neuvid.video.frame import ClipInfo

ENDING_BYTES = 40  # of the index of a stream with few intra frames, and of its end


class BitrateController(StrEnum):
    """Who holds a bit rate: neuvid's own controller, or one of the papers'.

    AGENT is the learned one of DynamicDVC, for models that have it; SLIDING_WINDOW allocates bits
    as that does, without it; BUFFER_FEEDBACK is Algorithm 1 of DCVC-FM.
    """

    NEUVID = "neuvid"
    AGENT = "agent"
    SLIDING_WINDOW = "sliding-window"
    BUFFER_FEEDBACK = "buffer-feedback"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateGoal:
    """What an encoding aims for: one of `quality`, `bitrate` and `psnr`, within a buffer.

    The buffer holds `buffer_seconds` of `max_rate` (bits per second) and drains at it; it is then
    never violated where the lowest quality can help it. Without `max_rate` no buffer is kept; how
    often one that drains at the bit rate would overflow is told. A quality takes `route` for inter
    frames, None for the one that is meant for it.

    Raises InvalidSetting when a value is out of range or the goals contradict each other.
    """

    quality: float | None = None
    route: int | None = None
    bitrate: Bitrate | None = None
    controller: BitrateController = BitrateController.NEUVID
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
        if self.controller is not BitrateController.NEUVID and self.bitrate is None:
            expected = "given with a bitrate alone"
            raise InvalidSetting("controller", got=self.controller.value, expected=expected)
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
        """Return the controller for a clip; raise InvalidSetting where the model lacks it."""
        if self.psnr is not None:
            return PsnrControl(self.psnr)
        if self.bitrate is None:
            control: RateController = FixedQuality(self.quality or 0.0, self.route)
        elif self.controller is BitrateController.NEUVID:
            control = bitrate_control(self.bitrate, model, clip)
        else:
            control = _paper_control(self.controller, self.bitrate, model, clip)
        return guarded(control, None if self.max_rate is None else self.bucket(), clip)


def guarded(control: RateController, bucket: LeakyBucket | None, clip: ClipInfo) -> RateController:
    """Return a controller that keeps another one within a buffer, if there is one."""
    if bucket is None:
        return control
    rate = float(clip.frame_rate)
    return BufferGuard(control, bucket, frame_rate=rate, pixels=pixels_of(clip))


def bitrate_control(bitrate: Bitrate, model: LoadedModel, clip: ClipInfo) -> BitrateControl:
    """Return the controller that holds a bit rate, all overhead of the stream included."""
    overhead = len(write_header(header_of(model, clip))) + ENDING_BYTES
    return BitrateControl(
        bitrate,
        frame_rate=float(clip.frame_rate),
        pixels=pixels_of(clip),
        overhead_bits=8.0 * overhead,
        frames=clip.frame_count,
    )


def controllers_of(model: LoadedModel) -> tuple[BitrateController, ...]:
    """Return the controllers that can hold a bit rate with a model."""
    lacking = set() if model.network.has_agent else {BitrateController.AGENT}
    return tuple(each for each in BitrateController if each not in lacking)


def check_controller(controller: BitrateController, model: LoadedModel) -> None:
    """Raise InvalidSetting where a model lacks what a controller needs."""
    able = controllers_of(model)
    if controller not in able:
        expected = f"one of {', '.join(able)}: {model.name} has no rate control agent"
        raise InvalidSetting("controller", got=controller.value, expected=expected)


def _paper_control(
    controller: BitrateController, bitrate: Bitrate, model: LoadedModel, clip: ClipInfo
) -> RateController:
    check_controller(controller, model)
    rate = float(clip.frame_rate)
    if controller is BitrateController.AGENT:
        return RateControlAgent(bitrate, frame_rate=rate)
    if controller is BitrateController.SLIDING_WINDOW:
        return SlidingWindow(bitrate, frame_rate=rate, pixels=pixels_of(clip))
    return BufferFeedback(bitrate, frame_rate=rate)


def pixels_of(clip: ClipInfo) -> int:
    """Return the pixels of a frame."""
    return clip.size.width * clip.size.height
