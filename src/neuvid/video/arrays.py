"""Arrays in the place of a clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from neuvid.errors import InvalidSetting
from neuvid.video.passthrough import PassthroughPacker
from neuvid.video.planes import make_picture
from neuvid.video.rgb import RgbArray
from neuvid.video.sources import TimedPicture


class ArraySource:
    """Pictures that are RGB arrays, uint8 [H, W, 3]; raises InvalidSetting for others."""

    name = "the frames"
    all_rgb = True
    chroma_location = field_order = 0
    begin: int | None = 0
    end: int | None = None
    sample_aspect = Fraction(1)
    passthrough: PassthroughPacker | None = None

    def __init__(self, frames: Iterable[RgbArray], frame_rate: Fraction, count: int | None) -> None:
        self.frame_rate = frame_rate
        self.time_base = 1 / frame_rate
        self.frame_count = count
        self._frames = frames

    @property
    def notes(self) -> list[str]:
        """Nothing: arrays are taken as they are."""
        return []

    def pictures(self, start: Fraction) -> Iterator[TimedPicture]:
        """Yield all pictures."""
        expected = "[H, W, 3]"
        for number, frame in enumerate(self._frames):
            array = np.asarray(frame)
            shape = str(list(array.shape))
            fits = array.ndim == 3 and array.shape[2] == 3 and array.size > 0
            if number == 0 and fits:
                expected = shape
            if array.dtype != np.uint8 or not fits or shape != expected:
                got = f"{array.dtype} {shape}"
                raise InvalidSetting(f"frame {number}", got=got, expected=f"uint8 {expected}")
            yield TimedPicture(number, make_picture((array,), "rgb24"))

    def finish_passthrough(self, end: Fraction) -> None:
        """Do nothing: arrays have no sound."""

    def close(self) -> None:
        """Do nothing."""
