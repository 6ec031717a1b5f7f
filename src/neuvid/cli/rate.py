"""Options of `neuvid encode` that say what rate or quality is wanted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from neuvid.choice import DEFAULT_QUALITY, QUALITIES
from neuvid.cli.output import tell
from neuvid.codec.goals import BitrateController, RateGoal
from neuvid.codec.passes import TotalGoal
from neuvid.codec.statistics import StreamStatistics
from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.rate.budget import Bitrate, RateReport

BUFFER_SECONDS = 1.0
NEAR, NEAR_DECIBEL = 0.02, 0.1  # errors from which a target is said to be out of reach
DECIBEL = "dB"
DIGITS = {DECIBEL: 2, "bytes": 0, "kbit/s": 1}

NUMBER = re.compile(r"(\d+(?:\.\d*)?|\.\d+) *([A-Za-z]*)")
RATE_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
SIZE_UNITS = {"": 1.0, "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
SIZE_UNITS |= {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}

Quality: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help=f"Quality, 0 (fewest bits) to {QUALITIES - 1} (best), in steps of a quarter.",
        show_default=f"{DEFAULT_QUALITY:g}",
    ),
]
OldQuality: TypeAlias = Annotated[float | None, typer.Option("--qp", hidden=True)]
BitrateOption: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="RATE", help="Bits per second instead, such as 800k.", show_default=False),
]
BitrateFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Bit rates that change: a line '2.5 800k' for each, which holds from that second.",
        show_default=False,
    ),
]
Controller: TypeAlias = Annotated[
    BitrateController | None,
    typer.Option(
        help="Who holds the bit rate: neuvid's own controller, or one of the papers'; the agent "
        "is for models with routes.",
        show_default=BitrateController.NEUVID.value,
    ),
]
Size: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Size of the output, such as 8MB, sound included; takes several passes.",
        show_default=False,
    ),
]
Psnr: TypeAlias = Annotated[
    float | None,
    typer.Option(metavar="DB", help="Mean PSNR (6Y+U+V)/8 instead, in dB.", show_default=False),
]
TwoPass: TypeAlias = Annotated[
    bool, typer.Option("--two-pass", help="Meet --bitrate as a mean, at an even quality.")
]
MaxRate: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="RATE",
        help="Bits per second at which a buffer drains that never overflows.",
        show_default=False,
    ),
]
Buffer: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Size of that buffer, or of the one that drains at --bitrate.",
        show_default=f"{BUFFER_SECONDS:g}",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateOptions:
    """The options as they were given."""

    quality: float | None
    route: int | None
    bitrate: str | None
    bitrate_file: Path | None
    controller: BitrateController | None
    size: str | None
    psnr: float | None
    two_pass: bool
    max_rate: str | None
    buffer: float | None

    def goal(self) -> RateGoal | TotalGoal:
        """Return the goal; raise InvalidSetting where the options do not go together."""
        wanted = [name for name in GOALS if getattr(self, name) is not None]
        if len(wanted) > 1:
            got = " ".join(map(_option, wanted))
            raise InvalidSetting("options", got=got, expected="one of them")
        if self.two_pass and self.bitrate is None:
            raise InvalidSetting("two-pass", got=True, expected="given with --bitrate")
        if self.controller and (self.two_pass or not (self.bitrate or self.bitrate_file)):
            expected = "given with --bitrate or --bitrate-file, without --two-pass"
            raise InvalidSetting("controller", got=self.controller.value, expected=expected)
        if self.route is not None and wanted not in ([], ["quality"]):
            raise InvalidSetting("route", got=self.route, expected="given with --quality alone")
        in_passes = self.two_pass or self.size is not None
        has_buffer = self.max_rate or (not in_passes and (self.bitrate or self.bitrate_file))
        if self.buffer is not None and not has_buffer:
            raise InvalidSetting("buffer", got=self.buffer, expected="given with --max-rate")
        return self._total_goal() if in_passes else self._rate_goal()

    def _rate_goal(self) -> RateGoal:
        quality = self.quality
        others = (self.bitrate, self.bitrate_file, self.psnr)
        if quality is None and others == (None, None, None):
            quality = DEFAULT_QUALITY
        return RateGoal(
            quality=quality,
            route=self.route,
            bitrate=self._bitrate(),
            controller=self.controller or BitrateController.NEUVID,
            psnr=self.psnr,
            max_rate=self._max_rate(),
            buffer_seconds=self._buffer_seconds(),
        )

    def _total_goal(self) -> TotalGoal:
        return TotalGoal(
            bitrate=None if self.bitrate is None else read_rate("bitrate", self.bitrate),
            size=None if self.size is None else read_size(self.size),
            max_rate=self._max_rate(),
            buffer_seconds=self._buffer_seconds(),
        )

    def _bitrate(self) -> Bitrate | None:
        if self.bitrate is not None:
            return Bitrate(read_rate("bitrate", self.bitrate))
        return None if self.bitrate_file is None else read_bitrate_file(self.bitrate_file)

    def _max_rate(self) -> float | None:
        return None if self.max_rate is None else read_rate("max rate", self.max_rate)

    def _buffer_seconds(self) -> float:
        return BUFFER_SECONDS if self.buffer is None else self.buffer


GOALS = ("quality", "bitrate", "bitrate_file", "size", "psnr")


def quality_by_name(quality: float | None, qp: float | None) -> float | None:
    """Return the quality by either name; `--qp`, the older one, goes after release 0.1.0."""
    if qp is None:
        return quality
    if quality is not None:
        raise InvalidSetting("options", got="--quality --qp", expected="--quality alone")
    tell(["--qp is called --quality now"])
    return qp


def read_rate(field: str, text: str) -> float:
    """Return bits per second of a text such as 800k; raise InvalidSetting."""
    expected = "a number above 0 of bits per second, with k, M or G behind it, such as 800k"
    return _read_number(field, text, RATE_UNITS, expected)


def read_size(text: str) -> int:
    """Return the bytes of a text such as 8MB; raise InvalidSetting."""
    units = ", ".join(filter(None, SIZE_UNITS))
    expected = f"a number above 0 of bytes, with a unit behind it ({units}), such as 8MB"
    return int(_read_number("size", text, SIZE_UNITS, expected))


def read_bitrate_file(path: Path) -> Bitrate:
    """Return the rates of a file; raise UnreadableInput, and InvalidSetting for its content."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableInput(path, getattr(error, "strerror", None) or "it is no text") from error
    changes = []
    for number, line in enumerate(lines, 1):
        if words := line.split("#")[0].replace(",", " ").split():
            changes.append(_read_change(f"line {number} of {path}", words))
    if not changes or changes[0][0] != 0:
        got = changes[0][0] if changes else "nothing"
        expected = "0 seconds: a rate for the start"
        raise InvalidSetting(f"first time of {path}", got=got, expected=expected)
    return Bitrate(changes[0][1], changes[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was wanted and what came out, in a unit; `rates` tells the rest.

    `kept` tells that a buffer was to be kept, not only watched.
    """

    unit: str
    target: float | None
    actual: float
    rates: RateReport
    kept: bool

    @property
    def error(self) -> float | None:
        """Difference of PSNR in dB, else relative."""
        if self.target is None:
            return None
        return self.actual - self.target if self.unit == DECIBEL else self.actual / self.target - 1

    def numbers(self) -> dict[str, object]:
        """Return the numbers for machines; rates are in kbit/s."""
        return {
            "unit": self.unit,
            "target": self.target,
            "actual": self.actual,
            "error": self.error,
            "worst_second": self.rates.worst_second / 1000,
            "buffer_violations": self.rates.buffer_violations,
        }

    def summary(self) -> str:
        """Return one line for people."""
        parts = []
        if self.target is not None and self.error is not None:
            error = f"{self.error:+.2f} dB" if self.unit == DECIBEL else f"{self.error:+.2%}"
            actual = f"actual {self.actual:.{DIGITS[self.unit]}f} {self.unit}"
            target = f"target {self.target:.{DIGITS[self.unit]}f} {self.unit}"
            parts = [target, actual, f"error {error}"]
        parts.append(f"worst second {self.rates.worst_second / 1000:.1f} kbit/s")
        if self.rates.buffer_violations is not None:
            parts.append(f"buffer violations {self.rates.buffer_violations}")
        return ", ".join(parts)

    def warnings(self) -> list[str]:
        """Return what could not be reached, in words."""
        warnings = []
        error, near = self.error or 0.0, NEAR_DECIBEL if self.unit == DECIBEL else NEAR
        missed = {None: False, "lowest": error > near, "highest": error < -near}
        if missed[self.rates.extreme]:
            digits = DIGITS[self.unit]
            warnings.append(
                f"{self.target:.{digits}f} {self.unit} is out of reach; the nearest is "
                f"{self.actual:.{digits}f} {self.unit}, at the {self.rates.extreme} quality"
            )
        if self.kept and self.rates.buffer_violations:
            count = self.rates.buffer_violations
            warnings.append(f"the buffer is too small for {count} frames at the lowest quality")
        return warnings


def outcome_of(
    goal: RateGoal | TotalGoal, statistics: StreamStatistics, rates: RateReport, psnr: float | None
) -> Outcome:
    """Return what an encoding that had a goal gave; `psnr` is its mean if it was measured."""
    kept = goal.max_rate is not None
    if psnr is not None and isinstance(goal, RateGoal):
        return Outcome(unit=DECIBEL, target=goal.psnr, actual=psnr, rates=rates, kept=kept)
    if isinstance(goal, TotalGoal) and goal.size is not None:
        size = statistics.video_bits // 8 + statistics.passthrough_bytes
        return Outcome(unit="bytes", target=goal.size, actual=size, rates=rates, kept=kept)
    target = None if rates.target is None else rates.target / 1000
    return Outcome(unit="kbit/s", target=target, actual=rates.actual / 1000, rates=rates, kept=kept)


def _read_change(field: str, words: list[str]) -> tuple[float, float]:
    try:
        seconds, rate = float(words[0]), words[1]
    except (ValueError, IndexError):
        got = " ".join(words)
        raise InvalidSetting(field, got=got, expected="seconds and a rate: 2.5 800k") from None
    if len(words) > 2:
        raise InvalidSetting(field, got=" ".join(words), expected="seconds and a rate: 2.5 800k")
    return seconds, read_rate(field, rate)


def _read_number(field: str, text: str, units: dict[str, float], expected: str) -> float:
    match = NUMBER.fullmatch(text.strip())
    value = float(match[1]) * units.get(match[2], 0.0) if match else 0.0
    if not value > 0:
        raise InvalidSetting(field, got=text, expected=expected)
    return value


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
