"""Other codecs: encoders of ffmpeg with their exact command lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neuvid.errors import InvalidSetting
from neuvid.evaluation.ffmpeg import (
    Cost,
    ffmpeg_has,
    ffmpeg_path,
    ffmpeg_version,
    raw_input,
    run_ffmpeg,
)
from neuvid.evaluation.source import RawClip
from neuvid.video.frame import PixelFormat

ENDLESS = 1_000_000  # frames; an intra period that no clip reaches
EXACT = ["-sws_flags", "bitexact+accurate_rnd", "-sws_dither", "none"]  # rounds 10 bits to 8

# RGB is coded as 4:4:4 of 10 bits, as in the papers: most bits are saved so.
FULL_CHROMA = "flags=bitexact+accurate_rnd+full_chroma_int+full_chroma_inp"
FROM_RGB = f"scale=out_color_matrix=bt709:out_range=pc:{FULL_CHROMA},format=yuv444p10le"
TO_RGB = f"scale=in_color_matrix=bt709:in_range=pc:out_range=pc:{FULL_CHROMA},format=rgb24"

X26_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)
ZERO_LATENCY = "-zerolatency"
X264_OFFSET = 12  # x264 alone counts quantisers of 10 bits from here on


@dataclass(frozen=True, slots=True)
class Structure:
    """How frames refer to each other: curves of different structures are never compared.

    An intra frame every `intra_period` frames, -1 for the first frame only. Without
    `random_access` frames are coded in the order of showing and nothing looks ahead, so that a
    codec adds no delay of frames.

    Raises InvalidSetting for other periods.
    """

    intra_period: int = -1
    random_access: bool = False

    def __post_init__(self) -> None:
        if self.intra_period != -1 and self.intra_period < 1:
            raise InvalidSetting("intra period", got=self.intra_period, expected="-1 or 1 and more")

    @property
    def delay(self) -> str:
        """The delay in words."""
        return "random access" if self.random_access else "low delay"

    def __str__(self) -> str:
        return f"{self.delay}, intra period {self.intra_period}"


@dataclass(frozen=True, slots=True)
class Setting:
    """One encoding: everything that the arguments of an encoder depend on."""

    preset: str
    quantiser: int
    structure: Structure
    threads: int
    is_rgb: bool

    @property
    def period(self) -> int:
        """Frames from one intra frame to the next."""
        return ENDLESS if self.structure.intra_period == -1 else self.structure.intra_period


def _x264(setting: Setting) -> list[str]:
    preset = setting.preset.removesuffix(ZERO_LATENCY)
    tune = "psnr" if preset == setting.preset else "zerolatency"
    quantiser = setting.quantiser + (X264_OFFSET if setting.is_rgb else 0)
    options = [f"keyint={setting.period}", "min-keyint=1", "scenecut=0"]
    options += [f"threads={setting.threads}"]
    if not setting.structure.random_access:
        options += ["bframes=0", "rc-lookahead=0", "sync-lookahead=0", "sliced-threads=1"]
    return [
        *["-c:v", "libx264", "-preset", preset, "-tune", tune, "-qp", str(quantiser)],
        *["-x264-params", ":".join(options)],
        *["-bsf:v", "filter_units=remove_types=6"],  # a message that lists all options
    ]


def _x265(setting: Setting) -> list[str]:
    period = setting.structure.intra_period
    options = [f"qp={setting.quantiser}", f"keyint={period}", "min-keyint=1", "scenecut=0"]
    options += ["open-gop=0", "info=0", "log-level=1"]
    options += [f"pools={setting.threads if setting.threads > 1 else 'none'}", "frame-threads=1"]
    if not setting.structure.random_access:
        options += ["bframes=0", "rc-lookahead=0"]
    return [
        *["-c:v", "libx265", "-preset", setting.preset, "-tune", "psnr"],
        *["-x265-params", ":".join(options)],
    ]


def _svtav1(setting: Setting) -> list[str]:
    options = ["rc=0", "aq-mode=0", "tune=1", "scd=0", f"lp={setting.threads}"]
    options += [f"keyint={setting.structure.intra_period}", "irefresh-type=2"]
    if not setting.structure.random_access:
        options += ["pred-struct=1", "lookahead=0", "enable-tf=0"]
    return [
        *["-c:v", "libsvtav1", "-preset", setting.preset, "-qp", str(setting.quantiser)],
        *["-svtav1-params", ":".join(options), "-f", "obu"],
    ]


def _libaom(setting: Setting) -> list[str]:
    period = str(setting.period)
    lag = [] if setting.structure.random_access else ["-lag-in-frames", "0"]
    return [
        *["-c:v", "libaom-av1", "-usage", "good", "-cpu-used", setting.preset],
        *["-crf", str(setting.quantiser), "-b:v", "0", "-tune", "psnr", "-aq-mode", "0"],
        *["-g", period, "-keyint_min", period, *lag, "-threads", str(setting.threads)],
        *["-aom-params", "deltaq-mode=0", "-f", "obu"],
    ]


def _vvenc(setting: Setting) -> list[str]:
    period = setting.structure.intra_period
    options = [f"intraperiod={max(period, 0)}", f"threads={setting.threads}"]
    if not setting.structure.random_access:
        options += ["picreordering=0", "gopsize=8", "decodingrefreshtype=none", "lookahead=0"]
        options += ["mctf=0", "bim=0"]  # a filter over frames to come, and what rests on it
    return [
        *["-pix_fmt", "yuv420p10le", "-c:v", "libvvenc", "-preset", setting.preset],
        *["-qp", str(setting.quantiser), "-qpa", "0", "-vvenc-params", ":".join(options)],
    ]


def _kvazaar(setting: Setting) -> list[str]:
    options = [f"preset={setting.preset}", f"qp={setting.quantiser}", "info=0", "owf=0"]
    options += [f"period={max(setting.structure.intra_period, 0)}"]
    options += [f"threads={setting.threads if setting.threads > 1 else 0}"]
    options += ["gop=8"] if setting.structure.random_access else ["gop=lp-g4d3t1"]
    return ["-c:v", "libkvazaar", "-kvazaar-params", ",".join(options)]


@dataclass(frozen=True, slots=True)
class Family:
    """An encoder of ffmpeg. `quantisers` go from the most bits to the fewest."""

    encoder: str
    suffix: str  # of its bare stream, which has no container
    presets: tuple[str, ...]
    quantisers: tuple[int, int]
    arguments: Callable[[Setting], list[str]]
    codes_rgb: bool = False


FAMILIES = {
    "x264": Family(
        "libx264",
        ".264",
        (*X26_PRESETS, *(preset + ZERO_LATENCY for preset in X26_PRESETS)),
        (22, 51),
        _x264,
        codes_rgb=True,
    ),
    "x265": Family("libx265", ".265", X26_PRESETS, (22, 51), _x265, codes_rgb=True),
    "svtav1": Family("libsvtav1", ".obu", tuple(map(str, range(14))), (20, 63), _svtav1),
    "libaom": Family(
        "libaom-av1", ".obu", tuple(map(str, range(9))), (20, 63), _libaom, codes_rgb=True
    ),
    "vvenc": Family(
        "libvvenc", ".266", ("faster", "fast", "medium", "slow", "slower"), (22, 51), _vvenc
    ),
    "kvazaar": Family("libkvazaar", ".265", X26_PRESETS, (22, 51), _kvazaar),
}


@dataclass(frozen=True, slots=True)
class FfmpegCodec:
    """An encoder of ffmpeg with a preset, at constant quantisers.

    `settings` are those that its name tells, such as ":intra=32".
    Raises InvalidSetting for an unknown family or preset.
    """

    family: str
    preset: str
    structure: Structure
    threads: int
    settings: str = ""

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise InvalidSetting("codec", got=self.family, expected=", ".join(FAMILIES))
        if self.preset not in self._family.presets:
            expected = ", ".join(self._family.presets)
            raise InvalidSetting(f"preset of {self.family}", got=self.preset, expected=expected)
        if self.structure.random_access and self.preset.endswith(ZERO_LATENCY):
            raise InvalidSetting("preset", got=self.preset, expected="another for random access")

    @property
    def _family(self) -> Family:
        return FAMILIES[self.family]

    @property
    def name(self) -> str:
        """How the codec is asked for."""
        return f"{self.family}:{self.preset}{self.settings}"

    @property
    def suffix(self) -> str:
        """Of the names of its streams."""
        return self._family.suffix

    @property
    def version(self) -> str:
        """The program that encodes."""
        return f"{self._family.encoder} of {ffmpeg_version(ffmpeg_path())}"

    @property
    def kmac_per_pixel(self) -> None:
        """Not known."""
        return None

    def describe(self, quantiser: float) -> str:
        """Return an encoding in words."""
        return f"QP {quantiser:g}"

    def target_rate(self, quantiser: float) -> float | None:
        """Return the bits per second that are aimed for: none."""
        return None

    def identity(self, quantiser: float) -> str:
        """Return text that differs where streams may differ."""
        arguments = self._arguments(quantiser, is_rgb=False)  # the clip tells the rest
        return f"{self.version} {arguments} {EXACT} {FROM_RGB} {TO_RGB} {X264_OFFSET}"

    def qualities(self, points: int) -> list[float]:
        """Return `points` quantisers, from the fewest bits to the most."""
        finest, coarsest = self._family.quantisers
        step = (coarsest - finest) / max(points - 1, 1)
        return [float(round(coarsest - step * number)) for number in range(points)]

    def encode(self, clip: RawClip, quantiser: float, stream: Path) -> Cost:
        """Encode a clip into a bare stream.

        Raises InvalidSetting for an RGB clip where the encoder cannot code it and for an ffmpeg
        without the encoder, and UnwritableOutput.
        """
        if not ffmpeg_has(ffmpeg_path(), "encoder", self._family.encoder):
            expected = f"one with the encoder {self._family.encoder}"
            raise InvalidSetting("ffmpeg", got=ffmpeg_path(), expected=expected)
        is_rgb = clip.format.pixel_format is PixelFormat.RGB
        if is_rgb and not self._family.codes_rgb:
            got = clip.format.pixel_format.value
            raise InvalidSetting(f"pixel format for {self.name}", got=got, expected="yuv420p")
        source = raw_input(clip.path, clip.format)
        convert = ["-vf", FROM_RGB] if is_rgb else []
        arguments = self._arguments(quantiser, is_rgb=is_rgb)
        return run_ffmpeg([*source, *convert, *arguments, str(stream)])

    def decode(self, clip: RawClip, stream: Path, decoded: Path) -> Cost:
        """Decode a stream of `encode` into bare planes; raise UnwritableOutput."""
        threads = ["-threads", str(self.threads)]
        is_rgb = clip.format.pixel_format is PixelFormat.RGB
        convert = ["-vf", TO_RGB] if is_rgb else ["-pix_fmt", "yuv420p"]
        planes = [*EXACT, *convert, "-fps_mode", "passthrough", "-f", "rawvideo"]
        return run_ffmpeg([*threads, "-i", str(stream), *planes, str(decoded)])

    def container_bytes(self, stream: Path) -> int:
        """Return the bytes of a stream that a bare stream would not have: none."""
        return 0

    def _arguments(self, quantiser: float, *, is_rgb: bool) -> list[str]:
        setting = Setting(
            preset=self.preset,
            quantiser=round(quantiser),
            structure=self.structure,
            threads=self.threads,
            is_rgb=is_rgb,
        )
        return self._family.arguments(setting)
