"""Frames as red, green and blue, and from there to YUV."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

from neuvid.video.frame import ClipInfo, Frame, PixelFormat, Plane
from neuvid.video.planes import (
    BT709,
    EXACT,
    LIMITED,
    PictureConverter,
    make_picture,
    planes_of,
    usual_matrix,
)

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


class YuvConverter:
    """Turns RGB into 4:4:4 of limited range, by the matrix that is usual at the clip's height."""

    def __init__(self, info: ClipInfo) -> None:
        hd = usual_matrix(info.size.height) == BT709
        self.name = f"4:4:4 of BT.{709 if hd else 601}"
        self._matrix = Colorspace.ITU709 if hd else Colorspace.ITU601
        self._swscale = VideoReformatter()

    def planes(self, rgb: tuple[Plane, ...]) -> tuple[Plane, ...]:
        """Return Y, U and V, [H, W] each, of the plane [H, W, 3] of a frame."""
        picture = self._swscale.reformat(
            make_picture(rgb, "rgb24"),
            format="yuv444p",
            dst_colorspace=self._matrix,
            dst_color_range=LIMITED,
            interpolation=EXACT,
        )
        return planes_of(picture)
