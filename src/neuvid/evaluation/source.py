"""Clips as files of bare planes: what every codec is given, and what decoded frames are held to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from pathlib import Path

import numpy as np

from neuvid.video.clip import RawFormat, open_clip
from neuvid.video.frame import ClipInfo, FrameSize, PixelFormat, Plane, plane_shapes


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


def extract_clip(source: Path, folder: Path, frames: int | None) -> RawClip:
    """Decode at most `frames` frames of a clip into a file in `folder`.

    Raises UnreadableInput when the clip does not decode.
    """
    digest, count = hashlib.sha256(), 0
    target = folder / f"{source.name}.yuv"
    with open_clip(source, frames=frames) as clip, target.open("wb") as file:
        raw = RawFormat(clip.info.size, clip.info.frame_rate, clip.info.pixel_format)
        full_range = _is_full_range(clip.info)
        digest.update(repr((raw, full_range)).encode())
        for frame in clip:
            for plane in frame.planes:
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
