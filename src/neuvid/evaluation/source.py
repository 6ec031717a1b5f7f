"""Clips as files of bare planes: what every codec is given, and what decoded frames are held to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from pathlib import Path

import numpy as np

from neuvid.evaluation.colour import to_rgb
from neuvid.video.clip import RawFormat, open_clip
from neuvid.video.frame import ClipInfo, FrameSize, PixelFormat, Plane, plane_shapes

SUFFIXES = {PixelFormat.YUV420: "yuv", PixelFormat.RGB: "rgb"}


@dataclass(frozen=True, slots=True)
class RawClip:
    """The first frames of a clip, one after the other in the file `path`.

    `digest` identifies format and samples. `full_range` tells what the samples
    mean; it matters for conversion to RGB alone.
    """

    name: str
    path: Path
    format: RawFormat
    frames: int
    full_range: bool
    digest: str

    @property
    def size(self) -> FrameSize:
        """Size of the frames."""
        return self.format.size

    @property
    def pixels(self) -> int:
        """Pixels of all frames together."""
        return self.size.width * self.size.height * self.frames

    @property
    def seconds(self) -> Fraction:
        """How long the frames are shown."""
        return self.frames / self.format.frame_rate


def extract_clip(
    source: Path, folder: Path, frames: int | None, *, as_rgb: bool = False
) -> RawClip:
    """Decode at most `frames` frames of a clip into a file in `folder`.

    With `as_rgb`, 4:2:0 becomes RGB by BT.709, whatever the clip says of its colours.
    Raises UnreadableInput when the clip does not decode.
    """
    digest, count = hashlib.sha256(), 0
    with open_clip(source, frames=frames) as clip:
        convert = as_rgb and clip.info.pixel_format is PixelFormat.YUV420
        pixel_format = PixelFormat.RGB if convert else clip.info.pixel_format
        raw = RawFormat(clip.info.size, clip.info.frame_rate, pixel_format)
        source_range = _is_full_range(clip.info)
        full_range = convert or source_range
        digest.update(repr((raw, full_range)).encode())
        target = folder / f"{source.name}.{SUFFIXES[pixel_format]}"
        with target.open("wb") as file:
            for frame in clip:
                planes = frame.planes
                if convert:
                    planes = (to_rgb(planes, full_range=source_range),)
                for plane in planes:
                    file.write(plane.data)
                    digest.update(plane.data)
                count += 1
    return RawClip(source.stem, target, raw, count, full_range, digest.hexdigest())


def read_frame(path: Path, raw: RawFormat, number: int) -> tuple[Plane, ...]:
    """Return the planes of frame `number` of a file of bare planes; it must be there."""
    data = np.fromfile(path, np.uint8, raw.frame_bytes, offset=number * raw.frame_bytes)
    planes, start = [], 0
    for shape in plane_shapes(raw.size, raw.pixel_format):
        planes.append(data[start : start + prod(shape)].reshape(shape))
        start += prod(shape)
    return tuple(planes)


def _is_full_range(info: ClipInfo) -> bool:
    return info.pixel_format is PixelFormat.RGB or info.colour.range == 2
