"""Bits per second: targets that change, the leaky bucket, and what a stream really took."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from neuvid.choice import QUALITIES
from neuvid.errors import InvalidSetting

MAX_BITRATE = 1e12  # bits per second
MAX_BUFFER = 1e4  # seconds
ROUNDING = 1e-6  # seconds
EXTREMES = {0.0: "lowest", QUALITIES - 1.0: "highest"}


class Bitrate:
    """Bits per second over the time of a clip: `rate` from the start, then `changes`.

    A change is the second from which on a rate holds, and the rate.

    Raises InvalidSetting for a rate or a time out of range, and for changes that go back in time.
    """

    def __init__(self, rate: float, changes: Iterable[tuple[float, float]] = ()) -> None:
        self._seconds: list[float] = []
        self._rates: list[float] = []
        self._bits: list[float] = []  # until each of the seconds
        for seconds, value in ((0.0, rate), *changes):
            self.change(seconds, value)

    def change(self, seconds: float, rate: float) -> None:
        """Let another rate hold from `seconds` on; no later change may be known yet."""
        if not 0 < rate <= MAX_BITRATE:
            raise InvalidSetting("bitrate", got=rate, expected="above 0, up to 10^12 bits a second")
        last = self._seconds[-1] if self._seconds else 0.0
        if not (isfinite(seconds) and seconds >= last):
            expected = f"{last:g} seconds or later"
            raise InvalidSetting("time of a bitrate", got=seconds, expected=expected)
        self._bits.append(self.bits_until(seconds) if self._seconds else 0.0)
        self._seconds.append(seconds)
        self._rates.append(rate)

    @property
    def highest(self) -> float:
        """The highest of the rates."""
        return max(self._rates)

    def at(self, seconds: float) -> float:
        """Return the bits per second at a time."""
        return self._rates[self._place(seconds)]

    def bits_until(self, seconds: float) -> float:
        """Return the bits from the start to a time."""
        place = self._place(seconds)
        return self._bits[place] + (seconds - self._seconds[place]) * self._rates[place]

    def _place(self, seconds: float) -> int:
        return max(bisect_right(self._seconds, seconds) - 1, 0)


class LeakyBucket:
    """A buffer that frames fill when they are shown, and that drains at a rate.

    It holds `seconds` of the rate at the start. It never holds less than nothing: what is not
    used is lost. Raises InvalidSetting when `seconds` is out of range.
    """

    def __init__(self, drain: Bitrate, seconds: float) -> None:
        if not 0 < seconds <= MAX_BUFFER:
            raise InvalidSetting("buffer", got=seconds, expected="above 0, up to 10^4 seconds")
        self.drain = drain
        self.capacity = seconds * drain.at(0)
        self.violations = 0  # frames that did not fit
        self._fullness = 0.0  # bits
        self._seconds = 0.0

    def fullness(self, seconds: float) -> float:
        """Return the bits in the bucket at a time, no earlier than the last frame's."""
        drained = self.drain.bits_until(seconds) - self.drain.bits_until(self._seconds)
        return max(self._fullness - drained, 0.0)

    def room(self, seconds: float) -> float:
        """Return the bits that a frame at a time may have."""
        return self.capacity - self.fullness(seconds)

    def add(self, seconds: float, bits: float) -> None:
        """Pour in the frame at a time."""
        self.violations += int(bits > self.room(seconds))
        self._fullness = self.fullness(seconds) + bits
        self._seconds = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RateReport:
    """What a stream took. Rates are in bits per second, `buffer_violations` counts frames.

    `actual` is the mean over the time of the clip, `worst_second` the most bits of the frames in
    any second. Target, its relative `error` (actual / target - 1) and violations are None where
    there was no target or no buffer. `extreme` is "lowest" or "highest" where frames of that
    quality are shown most of the time: a target may be out of reach.
    """

    target: float | None
    actual: float
    error: float | None
    worst_second: float
    buffer_violations: int | None
    extreme: str | None


class RateMeter:
    """Measures a stream frame by frame, whoever controls it."""

    def __init__(self, target: Bitrate | None = None, bucket: LeakyBucket | None = None) -> None:
        self._target = target
        self._bucket = bucket
        self._second: deque[tuple[float, float]] = deque()  # time and bits of the last frames
        self._in_second = 0.0
        self._worst = 0.0
        self._last = (0.0, -1.0)  # time and quality of the last frame
        self._shown = dict.fromkeys(EXTREMES, 0.0)  # seconds that a quality was shown

    def add(self, seconds: float, bits: float, quality: float) -> None:
        """Count the frame at a time."""
        self._show_last(seconds)
        self._last = (seconds, quality)
        self._second.append((seconds, bits))
        self._in_second += bits
        while self._second[0][0] <= seconds - 1 + ROUNDING:
            self._in_second -= self._second.popleft()[1]
        self._worst = max(self._worst, self._in_second)
        if self._bucket:
            self._bucket.add(seconds, bits)

    def report(self, seconds: float, bits: float) -> RateReport:
        """Return what a stream of so many seconds and bits took, all overhead included."""
        self._show_last(seconds)
        most = max(self._shown, key=self._shown.__getitem__)
        actual = bits / seconds if seconds else 0.0
        target = self._target.bits_until(seconds) / seconds if self._target and seconds else None
        return RateReport(
            target=target,
            actual=actual,
            error=actual / target - 1 if target else None,
            worst_second=self._worst,
            buffer_violations=self._bucket.violations if self._bucket else None,
            extreme=EXTREMES[most] if 2 * self._shown[most] > seconds else None,
        )

    def _show_last(self, until: float) -> None:
        since, quality = self._last
        if quality in EXTREMES:
            self._shown[quality] += until - since
        self._last = (until, quality)
