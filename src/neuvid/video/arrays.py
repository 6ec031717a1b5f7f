"""Arrays in the place of a clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from neuvid.errors import InvalidSetting
from neuvid.video.planes import make_picture
from neuvid.video.rgb import RgbArray
from neuvid.video.sources import SilentSource, TimedPicture


class ArraySource(SilentSource):
    """Pictures that are RGB arrays, uint8 [H, W, 3]; raises InvalidSetting for others."""

    def __init__(self, frames: Iterable[RgbArray], frame_rate: Fraction, count: int | None) -> None:
        super().__init__("the frames", frame_rate, count)
        self._frames = frames

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
