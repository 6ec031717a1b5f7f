"""Other encoders at constant bit rate: without look-ahead, in a buffer of a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av

from neuvid.errors import InvalidSetting
from neuvid.evaluation.anchors import ENDLESS
from neuvid.evaluation.ffmpeg import (
    ffmpeg_has,
    ffmpeg_path,
    ffmpeg_version,
    raw_input,
    run_ffmpeg,
)
from neuvid.evaluation.source import RawClip


def _x264(rate: int) -> list[str]:
    options = f"keyint={ENDLESS}:min-keyint=1:threads=1"
    return [
        *["-c:v", "libx264", "-preset", "medium", "-tune", "zerolatency"],
        *_buffer(rate),
        *["-x264-params", options, "-bsf:v", "filter_units=remove_types=6"],
    ]


def _x265(rate: int) -> list[str]:
    options = "keyint=-1:min-keyint=1:strict-cbr=1:info=0:log-level=1:pools=none:frame-threads=1"
    return [
        *["-c:v", "libx265", "-preset", "medium", "-tune", "zerolatency"],
        *_buffer(rate),
        *["-x265-params", options],
    ]


def _svtav1(rate: int) -> list[str]:
    options = "rc=2:pred-struct=1:lookahead=0:enable-tf=0:keyint=-1:buf-sz=1000:lp=1"
    return [
        *["-c:v", "libsvtav1", "-preset", "8", "-b:v", str(rate)],
        *["-svtav1-params", options, "-f", "obu"],
    ]


def _buffer(rate: int) -> list[str]:
    return ["-b:v", str(rate), "-maxrate", str(rate), "-bufsize", str(rate)]


@dataclass(frozen=True, slots=True)
class ConstantRateEncoder:
    """An encoder of ffmpeg; `arguments` are those for so many bits per second."""

    name: str
    encoder: str
    suffix: str
    arguments: Callable[[int], list[str]]

    def identity(self, rate: float) -> str:
        """Return text that differs where streams may differ."""
        return f"{ffmpeg_version(ffmpeg_path())} {self.arguments(round(rate))}"

    def encode(self, clip: RawClip, rate: float, folder: Path) -> list[float]:
        """Encode a clip into a file in `folder`, and return the bits of each frame.

        Raises InvalidSetting for an ffmpeg without the encoder, and UnwritableOutput.
        """
        if not ffmpeg_has(ffmpeg_path(), "encoder", self.encoder):
            expected = f"one with the encoder {self.encoder}"
            raise InvalidSetting("ffmpeg", got=ffmpeg_path(), expected=expected)
        stream = folder / f"stream{self.suffix}"
        source = raw_input(clip.path, clip.format)
        run_ffmpeg([*source, *self.arguments(round(rate)), str(stream)])
        with av.open(str(stream)) as container:
            bits = [8.0 * packet.size for packet in container.demux(video=0) if packet.size]
        bits[0] += 8.0 * stream.stat().st_size - sum(bits)
        return bits


ENCODERS = (
    ConstantRateEncoder("x265 zerolatency, strict CBR", "libx265", ".265", _x265),
    ConstantRateEncoder("x264 zerolatency, CBR", "libx264", ".264", _x264),
    ConstantRateEncoder("SVT-AV1 low delay, CBR", "libsvtav1", ".obu", _svtav1),
)
