"""Animated WebP, which FFmpeg does not decode."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from math import ceil
from pathlib import Path
from statistics import median_low

import numpy as np
from PIL import Image

from neuvid.errors import UnreadableInput
from neuvid.video.planes import make_picture
from neuvid.video.sources import ROUNDING, SilentSource, TimedPicture

MILLISECOND = Fraction(1, 1000)
UNTOLD = 100  # milliseconds that browsers show a picture which does not tell
ANIMATED = 2  # flag of the chunk VP8X


class AnimatedPicture(SilentSource):
    """The pictures of an animated WebP; raises UnreadableInput where it holds none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._durations = _durations(path.read_bytes())
        if not self._durations:
            raise UnreadableInput(path, "it has no whole frame")
        frame_rate = 1 / (median_low(self._durations) * MILLISECOND)
        super().__init__(str(path), frame_rate, len(self._durations))
        self.time_base = MILLISECOND
        self.end = sum(self._durations)

    def pictures(self, start: Fraction) -> Iterator[TimedPicture]:
        """Yield the pictures from `start` seconds on."""
        first = ceil(start / MILLISECOND - ROUNDING)
        ends = accumulate(self._durations)
        try:
            with Image.open(self._path) as image:
                for number, (duration, end) in enumerate(zip(self._durations, ends, strict=True)):
                    image.seek(number)
                    if end - duration >= first:
                        picture = make_picture((np.asarray(image.convert("RGBA")),), "rgba")
                        picture.duration = duration
                        yield TimedPicture(end - duration, picture)
        except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UnreadableInput(self._path, f"it is damaged ({error})") from error


def is_animated_webp(data: bytes) -> bool:
    """Say whether a file that begins so is an animated WebP."""
    return (
        data[:4] == b"RIFF"
        and data[8:16] == b"WEBPVP8X"
        and bool(int.from_bytes(data[20:21]) & ANIMATED)
    )


def _durations(data: bytes) -> list[int]:
    """Return how long each picture is shown, in milliseconds."""
    durations = []
    place = 12
    while place + 8 <= len(data):
        kind, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if kind == b"ANMF":
            told = int.from_bytes(data[place + 20 : place + 23], "little")
            durations.append(told or UNTOLD)
        place += 8 + size + size % 2
    return durations
