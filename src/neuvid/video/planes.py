"""FFmpeg's pictures to planes and back; swscale converts what neuvid does not code as it is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import cast

import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import Type
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter

from neuvid.errors import InvalidSetting
from neuvid.video.frame import ColourTags, PixelFormat, Plane
from neuvid.video.orientation import Orientation

UNSPECIFIED = 2  # matrix, primaries and transfer of ColourTags
RGB_MATRIX = 0
LIMITED, FULL = 1, 2  # colour ranges
BT709, SMPTE170M = 1, 6  # matrices
HD_HEIGHT = 720  # pixels; a clip that does not name its matrix is taken as BT.709 from here on

EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
_SAME_PLANES = ("yuv420p", "yuvj420p", "rgb24")
_SAMPLINGS = {  # by width and height of the chroma of 16x16 pixels
    (16, 16): "4:4:4",
    (8, 16): "4:2:2",
    (8, 8): "4:2:0",
    (4, 16): "4:1:1",
    (4, 4): "4:1:0",
}


class PictureConverter:
    """Turns pictures of any format into planes of one; reuses swscale's tables.

    The samples of YUV keep their matrix and their range.
    """

    def __init__(self, pixel_format: PixelFormat) -> None:
        self._pixel_format = pixel_format
        self._swscale = VideoReformatter()

    def planes(self, picture: VideoFrame) -> tuple[Plane, ...]:
        """Return the planes; they share the picture's memory where it has no gaps."""
        samples = 3 if self._pixel_format is PixelFormat.RGB else 1
        return planes_of(self.convert(picture), samples)

    def convert(self, picture: VideoFrame) -> VideoFrame:
        """Return the picture in the format; the same one where it has it already."""
        rgb = self._pixel_format is PixelFormat.RGB
        if picture.format.name in _SAME_PLANES and is_rgb(picture) == rgb:
            return picture
        if rgb:
            return self._to_rgb(picture)
        span = _conversion_range(picture)
        return self._swscale.reformat(
            picture,
            format=self._pixel_format.value,
            interpolation=EXACT,
            src_color_range=span,
            dst_color_range=span,
        )

    def _to_rgb(self, picture: VideoFrame) -> VideoFrame:
        if not is_rgb(picture) and picture.colorspace == UNSPECIFIED:
            picture.colorspace = usual_matrix(picture.height)
        return self._swscale.reformat(picture, format="rgb24", interpolation=EXACT)


def planes_of(picture: VideoFrame, samples: int = 1) -> tuple[Plane, ...]:
    """Return planes [H, W], or [H, W, samples]; they share memory where it has no gaps."""
    views = (_view(plane, samples) for plane in picture.planes)
    return tuple(np.ascontiguousarray(view) for view in views)


def usual_matrix(height: int) -> int:
    """Return the matrix of YUV that does not name its own."""
    return BT709 if height >= HD_HEIGHT else SMPTE170M


def make_picture(planes: tuple[Plane, ...], format_name: str) -> VideoFrame:
    """Copy planes of yuv420p, yuv444p, gbrp, rgb24 or rgba into a picture."""
    height, width = planes[0].shape[:2]
    picture = VideoFrame(width, height, format_name)
    for plane, samples in zip(picture.planes, planes, strict=True):
        _view(plane, samples.shape[2] if samples.ndim == 3 else 1)[:] = samples
    return picture


def repeat_chroma(planes: tuple[Plane, ...]) -> tuple[Plane, ...]:
    """Return 4:2:0 planes as 4:4:4, each chroma sample repeated 2x2."""
    height, width = planes[0].shape
    chroma = (plane.repeat(2, axis=0).repeat(2, axis=1)[:height, :width] for plane in planes[1:])
    return (planes[0], *chroma)


def is_rgb(picture: VideoFrame) -> bool:
    """Say whether the samples are red, green and blue, or colours of a palette."""
    return picture.format.is_rgb or picture.format.has_palette


def colour_tags(
    picture: VideoFrame, pixel_format: PixelFormat, chroma_location: int = 0
) -> ColourTags:
    """Return the tags of a picture once it has been converted to `pixel_format`.

    `chroma_location` is that of its stream.
    """
    primaries, transfer = int(picture.color_primaries), int(picture.color_trc)
    if pixel_format is PixelFormat.RGB:
        return ColourTags(RGB_MATRIX, FULL, primaries, transfer)
    span = int(picture.color_range)
    if picture.format.name.startswith("yuvj") or (span == 0 and _is_grey(picture.format)):
        span = FULL  # what FFmpeg takes grey for where nothing is said
    location = chroma_location if _layout(picture.format) == "4:2:0" else 0
    return ColourTags(int(picture.colorspace), span, primaries, transfer, location)


def orientation(picture: VideoFrame) -> Orientation:
    """Return how a player shows the picture."""
    matrix = side_data(picture).get(Type.DISPLAYMATRIX)
    try:
        if matrix is None:
            return Orientation.turned(picture.rotation)
        return Orientation.from_bytes(bytes(matrix), sys.byteorder)
    except InvalidSetting:
        return Orientation()


def side_data(picture: VideoFrame) -> Mapping[Type, Buffer]:
    """Return what comes with the picture; nothing where PyAV does not know a kind of it."""
    try:
        return cast(Mapping[Type, Buffer], picture.side_data)
    except ValueError:
        return {}


def conversion_note(picture: VideoFrame, pixel_format: PixelFormat) -> str | None:
    """Say in words what converting the picture to `pixel_format` changes, None if nothing."""
    source = picture.format
    bits = max(component.bits for component in source.components)
    words = f"{bits}-bit {_layout(source)}"
    target = f"8-bit {'RGB' if pixel_format is PixelFormat.RGB else '4:2:0'}"
    return None if words == target else f"{words} ({source.name}) converted to {target}"


def uses_alpha(picture: VideoFrame) -> bool:
    """Say whether anything in the picture is transparent."""
    source = picture.format
    if not source.has_palette and not any(part.is_alpha for part in source.components):
        return False
    rgba = picture.reformat(format="rgba")
    return bool(_view(rgba.planes[0], 4)[..., 3].min() < 255)


def _layout(source: VideoFormat) -> str:
    if source.is_rgb or source.has_palette:
        return "RGB"
    if _is_grey(source):
        return "grey"
    return _SAMPLINGS.get((source.chroma_width(16), source.chroma_height(16)), "YUV")


def _is_grey(source: VideoFormat) -> bool:
    return sum(not component.is_alpha for component in source.components) == 1


def _conversion_range(picture: VideoFrame) -> int:
    """The range to tell swscale for both sides, so that it leaves the samples' range alone."""
    name = picture.format.name
    if name.startswith("yuvj") or _is_grey(picture.format):
        return FULL  # swscale takes these as full whatever it is told
    return int(picture.color_range) or LIMITED


def _view(plane: VideoPlane, samples: int) -> Plane:
    """A view [H, W] of the plane, or [H, W, samples] where a pixel has several."""
    line = abs(plane.line_size)
    rows: Plane = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, line)
    if plane.line_size < 0:  # stored bottom row first
        rows = rows[::-1]
    pixels = rows[: plane.height, : plane.width * samples]
    return pixels if samples == 1 else pixels.reshape(plane.height, plane.width, samples)
