"""Frames as red, green and blue."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from neuvid.video.frame import ClipInfo, Frame, PixelFormat
from neuvid.video.planes import PictureConverter, make_picture

RgbArray: TypeAlias = NDArray[np.uint8]  # [H, W, 3]


class RgbConverter:
    """Turns frames of a clip into RGB by the clip's own matrix and range, as they are shown."""

    def __init__(self, info: ClipInfo) -> None:
        self._info = info
        self._converter = PictureConverter(PixelFormat.RGB)

    def picture(self, frame: Frame) -> VideoFrame:
        """Return a picture of rgb24."""
        planes = self._info.orientation.show(frame.planes)
        picture = make_picture(planes, self._info.pixel_format.value)
        picture.colorspace = self._info.colour.matrix
        picture.color_range = self._info.colour.range
        return self._converter.convert(picture)

    def array(self, frame: Frame) -> RgbArray:
        """Return uint8 [H, W, 3], a copy."""
        return self._converter.planes(self.picture(frame))[0].copy()
