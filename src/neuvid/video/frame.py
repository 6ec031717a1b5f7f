"""Frames, their sizes and what a clip says about itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuvid.errors import InvalidSetting
from neuvid.video.orientation import Orientation

MAX_SIDE = 65535  # pixels
MAX_RATE = 10_000  # frames per second
RATE_DENOMINATOR = 1001  # of 24000/1001 and its like
CENTRE = 2  # chroma location of ColourTags
RED, GREEN, BLUE = 0.2126, 0.7152, 0.0722  # luma weights of ITU-R BT.709

Plane: TypeAlias = NDArray[np.uint8]


class PixelFormat(Enum):
    """The two layouts that neuvid codes; values are FFmpeg's names."""

    YUV420 = "yuv420p"  # 8 bit; chroma has half the width and height, rounded up
    RGB = "rgb24"  # 8 bit


@dataclass(frozen=True, slots=True)
class FrameSize:
    """Width and height in pixels, 1..65535 each. Raises InvalidSetting outside of it."""

    width: int
    height: int

    def __post_init__(self) -> None:
        for side in ("width", "height"):
            if not 1 <= getattr(self, side) <= MAX_SIDE:
                raise InvalidSetting(side, got=getattr(self, side), expected=f"1..{MAX_SIDE}")

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def chroma(self) -> FrameSize:
        """Size of a 4:2:0 chroma plane."""
        return FrameSize((self.width + 1) // 2, (self.height + 1) // 2)

    def padded(self, multiple: int) -> FrameSize:
        """Return the size with both sides rounded up to a multiple of `multiple`."""
        return FrameSize(
            -(-self.width // multiple) * multiple, -(-self.height // multiple) * multiple
        )


@dataclass(frozen=True, slots=True)
class ColourTags:
    """What the samples mean, as code points of ITU-T H.273, 0..255; neuvid only carries them.

    `range` is 0 (unspecified), 1 (limited) or 2 (full); in the next three 2 is "unspecified".
    `chroma_location` says where chroma samples of 4:2:0 lie between those of luma: 0
    (unspecified), 1 (left), 2 (centre), 3 (top left), 4 (top), 5 (bottom left) or 6 (bottom).
    """

    matrix: int = 2
    range: int = 0
    primaries: int = 2
    transfer: int = 2
    chroma_location: int = 0

    def __post_init__(self) -> None:
        for tag in ("matrix", "primaries", "transfer"):
            if not 0 <= getattr(self, tag) <= 255:
                raise InvalidSetting(f"colour {tag}", got=getattr(self, tag), expected="0..255")
        if not 0 <= self.range <= 2:
            raise InvalidSetting("colour range", got=self.range, expected="0..2")
        if not 0 <= self.chroma_location <= 6:
            raise InvalidSetting("chroma location", got=self.chroma_location, expected="0..6")


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """What holds for all frames of a clip.

    A frame's `pts` counts units of `time_base` seconds; `start` is that of the first frame.
    `sample_aspect` is the width of a pixel over its height. `orientation` is how a player turns
    and mirrors the frames.
    `frame_count` is an estimate, None where the clip cannot tell.

    Raises InvalidSetting for rates, time bases and aspects that are not positive.
    """

    size: FrameSize
    pixel_format: PixelFormat
    frame_rate: Fraction
    time_base: Fraction
    start: int = 0
    colour: ColourTags = field(default_factory=ColourTags)
    sample_aspect: Fraction = Fraction(1)
    orientation: Orientation = field(default_factory=Orientation)
    frame_count: int | None = None

    def __post_init__(self) -> None:
        for name in ("frame_rate", "time_base", "sample_aspect"):
            if getattr(self, name) <= 0:
                raise InvalidSetting(name, got=str(getattr(self, name)), expected="above 0")

    @property
    def shown(self) -> ClipInfo:
        """What holds for the frames once they are turned as they are shown."""
        if self.orientation.is_upright:
            return self
        size, aspect = self.size, self.sample_aspect
        if self.orientation.swaps_sides:
            size, aspect = FrameSize(size.height, size.width), 1 / aspect
        centred = self.colour.chroma_location == CENTRE
        colour = self.colour if centred else replace(self.colour, chroma_location=0)
        upright = Orientation()
        return replace(self, size=size, sample_aspect=aspect, colour=colour, orientation=upright)

    @property
    def frame_ticks(self) -> int:
        """Nominal duration of a frame in units of `time_base`, at least 1."""
        return max(1, round(1 / (self.frame_rate * self.time_base)))


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a clip.

    `planes` are C-contiguous: Y [H, W], U and V [ceil(H/2), ceil(W/2)] for YUV420, one
    [H, W, 3] for RGB. They may share memory with the decoder: do not write to them.
    """

    planes: tuple[Plane, ...]
    pts: int


def frame_rate(fps: str | float | Fraction) -> Fraction:
    """Return frames per second: 25, 29.97, 30000/1001, as a number or a text.

    Raises InvalidSetting where it is not above 0, up to 10 000.
    """
    try:
        rate = Fraction(fps).limit_denominator(RATE_DENOMINATOR)
    except (ValueError, ZeroDivisionError, OverflowError):
        rate = Fraction(0)
    if not 0 < rate <= MAX_RATE:
        raise InvalidSetting("fps", got=fps, expected=f"above 0, up to {MAX_RATE}")
    return rate


def plane_shapes(size: FrameSize, pixel_format: PixelFormat) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of a frame's planes."""
    if pixel_format is PixelFormat.RGB:
        return ((size.height, size.width, 3),)
    chroma = (size.chroma.height, size.chroma.width)
    return ((size.height, size.width), chroma, chroma)
