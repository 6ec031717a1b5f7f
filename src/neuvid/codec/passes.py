"""Several passes over a clip: each tells the next what the frames cost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import RawIOBase
from tempfile import TemporaryFile
from typing import Any, BinaryIO, TypeAlias, cast

from neuvid.choice import QUALITIES, FrameChoice, quality_of
from neuvid.codec.clips import ProgressCallback, encode_clip
from neuvid.codec.files import StreamPath, create_stream
from neuvid.codec.goals import bitrate_control, guarded
from neuvid.codec.schedule import FIRST_FRAME_ONLY, Schedule
from neuvid.codec.statistics import StreamStatistics
from neuvid.errors import InvalidSetting
from neuvid.models.checkpoint import LoadedModel
from neuvid.outputs import writing
from neuvid.rate.budget import Bitrate, LeakyBucket, RateMeter, RateReport
from neuvid.rate.controller import FixedQuality, FrameStats, FrameView, RateController
from neuvid.rate.total import CodedFrame, TotalControl
from neuvid.video.clip import ClipReader
from neuvid.video.frame import ClipInfo

FINEST = QUALITIES - 1
MOST_PASSES = 5
SHORTFALL = 0.005  # of the total that may be left
CAUTION = 0.001  # of the total by which a pass aims lower when the last one exceeded it
MIDDLE_QUALITY = 32.0
MAX_SIZE = 1 << 50  # bytes

OpenClip: TypeAlias = Callable[[], ClipReader]


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalGoal:
    """What several passes aim for: a mean `bitrate` (bits per second) or a file's `size` (bytes).

    They come as near to it as 0.5 % from below. The size includes sound, the bit rate does not.
    The buffer holds `buffer_seconds` of `max_rate` (bits per second) and drains at it; without
    `max_rate` there is none.

    Raises InvalidSetting when a value is out of range, or the goals contradict each other.
    """

    bitrate: float | None = None
    size: int | None = None
    max_rate: float | None = None
    buffer_seconds: float = 1.0

    def __post_init__(self) -> None:
        if (self.bitrate is None) == (self.size is None):
            raise InvalidSetting("goal", got="none or both", expected="a bitrate or a size")
        if self.size is not None and not 0 < self.size <= MAX_SIZE:
            raise InvalidSetting("size", got=self.size, expected=f"1..{MAX_SIZE} bytes")
        if self.bitrate and self.max_rate is not None and self.bitrate > self.max_rate:
            expected = f"at least the bitrate, {self.bitrate:g}"
            raise InvalidSetting("max rate", got=self.max_rate, expected=expected)
        self.meter()  # checks rates and seconds

    def bucket(self) -> LeakyBucket | None:
        """Return the empty buffer, None where there is none."""
        if self.max_rate is None:
            return None
        return LeakyBucket(Bitrate(self.max_rate), self.buffer_seconds)

    def meter(self) -> RateMeter:
        """Return what measures a stream against the goal."""
        target = None if self.bitrate is None else Bitrate(self.bitrate)
        return RateMeter(target, self.bucket())

    def video_bits(self, statistics: StreamStatistics) -> float:
        """Return the bits that frames and overhead of a stream may have."""
        if self.size is not None:
            return 8.0 * (self.size - statistics.passthrough_bytes)
        return (self.bitrate or 0.0) * statistics.seconds

    def guess(self, clip: ClipInfo) -> float | None:
        """Return a bit rate for the first pass, None where the clip does not tell its length."""
        if self.size is None or clip.frame_count is None:
            return self.bitrate
        return 8.0 * self.size * float(clip.frame_rate) / clip.frame_count


@dataclass(frozen=True, slots=True, kw_only=True)
class PassesReport:
    """What several passes gave: sizes, rates, and how many passes it took.

    `notes` and `damage` are those of the clip.
    """

    statistics: StreamStatistics
    rates: RateReport
    notes: list[str]
    damage: str | None
    passes: int


def encode_in_passes(
    open_source: OpenClip,
    target: StreamPath,
    *,
    model: LoadedModel,
    goal: TotalGoal,
    schedule: Schedule = FIRST_FRAME_ONLY,
    progress: ProgressCallback | None = None,
) -> PassesReport:
    """Encode a clip so that the whole stream has a size or a mean bit rate, as `encode_clip` does.

    `open_source` opens the same clip at each call. Two passes are enough for most clips.

    Raises InvalidSetting for a size that the lowest quality exceeds, and as `encode_clip` does.
    """
    passes = _Passes(open_source, model, goal, schedule, progress)
    with create_stream(target) as file, ExitStack() as files:
        best = passes.approach(lambda: cast(BinaryIO, files.enter_context(TemporaryFile())))
        with writing(str(target)):
            best.file.seek(0)
            shutil.copyfileobj(best.file, file)
    rates = best.meter.report(best.statistics.seconds, best.bits)
    return PassesReport(
        statistics=best.statistics,
        rates=rates,
        notes=best.notes,
        damage=best.damage,
        passes=passes.count,
    )


@dataclass(frozen=True, slots=True)
class _Pass:
    """What a pass gave; `overhead` are the bits beside the frames' packets."""

    file: BinaryIO
    statistics: StreamStatistics
    meter: RateMeter
    frames: list[CodedFrame]
    notes: list[str]
    damage: str | None

    @property
    def bits(self) -> int:
        return self.statistics.video_bits

    @property
    def overhead(self) -> float:
        return self.bits - sum(frame.bits for frame in self.frames)


@dataclass(slots=True)
class _Passes:
    open_source: OpenClip
    model: LoadedModel
    goal: TotalGoal
    schedule: Schedule
    progress: ProgressCallback | None
    count: int = 0

    def approach(self, new_file: Callable[[], BinaryIO]) -> _Pass:
        """Return the pass that comes nearest to the goal from below, else the smallest one."""
        last = self._run(self._first_control, cast(BinaryIO, _Nowhere()))
        allowed, best, share = self.goal.video_bits(last.statistics), None, 1.0
        while self.count < MOST_PASSES:
            aim = share * allowed - last.overhead
            last = self._run(partial(self._total_control, aim, last.frames), new_file())
            share -= CAUTION * (last.bits > allowed)
            if best is None or _nearness(last, allowed) > _nearness(best, allowed):
                best = last
            if _is_near(best, allowed) or _is_stuck(last, allowed):
                break
        if best is None or (self.goal.size is not None and best.bits > allowed):
            raise self._unreachable(best or last)
        return best

    def _first_control(self, clip: ClipInfo) -> RateController:
        rate = self.goal.guess(clip)
        if rate is None:
            return FixedQuality(MIDDLE_QUALITY)
        return bitrate_control(Bitrate(rate), self.model, clip)

    def _total_control(
        self, bits: float, frames: list[CodedFrame], clip: ClipInfo
    ) -> RateController:
        return guarded(TotalControl(bits, frames), self.goal.bucket(), clip)

    def _run(self, control_of: Callable[[ClipInfo], RateController], file: BinaryIO) -> _Pass:
        meter = self.goal.meter()
        with self.open_source() as clip:
            recorder = _Recorder(control_of(clip.info))
            statistics = encode_clip(
                clip,
                file,
                model=self.model,
                control=recorder,
                schedule=self.schedule,
                progress=self.progress,
                meter=meter,
            )
            self.count += 1
            return _Pass(file, statistics, meter, recorder.frames, clip.notes, clip.damage)

    def _unreachable(self, smallest: _Pass) -> InvalidSetting:
        total = smallest.bits / 8 + smallest.statistics.passthrough_bytes
        expected = f"at least {total:.0f} bytes for this clip"
        return InvalidSetting("size", got=self.goal.size, expected=expected)


class _Recorder:
    """Remembers what frames cost under another controller."""

    def __init__(self, control: RateController) -> None:
        self.control = control
        self.frames: list[CodedFrame] = []

    def choose(self, view: FrameView) -> FrameChoice:
        return self.control.choose(view)

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        self.frames.append(CodedFrame(choice.kind, quality_of(choice), stats.bits))
        self.control.observe(choice, stats)


class _Nowhere(RawIOBase):
    """A file whose bytes are not kept."""

    def write(self, data: Any) -> int:
        return len(data)


def _nearness(done: _Pass, allowed: float) -> float:
    """Return a number that is larger for a better pass: below and near, else above and near."""
    return done.bits if done.bits <= allowed else -done.bits


def _is_near(done: _Pass, allowed: float) -> bool:
    return (1 - SHORTFALL) * allowed <= done.bits <= allowed


def _is_stuck(done: _Pass, allowed: float) -> bool:
    """Return whether no quality is left that would bring a pass nearer."""
    qualities = {frame.quality for frame in done.frames}
    return qualities == ({0.0} if done.bits > allowed else {float(FINEST)})
