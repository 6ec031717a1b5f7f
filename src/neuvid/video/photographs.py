"""Picture files, each one frame, upright."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path

import av
from av.video.frame import VideoFrame

from neuvid.errors import UnreadableInput
from neuvid.video.animations import AnimatedPicture, is_animated_webp
from neuvid.video.orientation import Orientation
from neuvid.video.sources import ROUNDING, SilentSource, TimedPicture

_EXIF = re.compile(  # in a jpg, a png or a webp; a tif is the same from the start
    rb"(?:Exif\0\0|eXIf|EXIF....|\A)(II\*\0|MM\0\*)", re.DOTALL
)
_ORIENTATION = 0x0112  # tag of TIFF 6.0
_ORIENTATIONS = {
    2: Orientation.turned(0, mirrored=True),
    3: Orientation.turned(180),
    4: Orientation.turned(180, mirrored=True),
    5: Orientation.turned(-90, mirrored=True),
    6: Orientation.turned(-90),
    7: Orientation.turned(90, mirrored=True),
    8: Orientation.turned(90),
}


class PictureFiles(SilentSource):
    """Picture files; those that are animated give their first picture, and a note."""

    def __init__(self, name: str, paths: Sequence[Path], frame_rate: Fraction) -> None:
        super().__init__(name, frame_rate, len(paths))
        self._paths = paths

    def pictures(self, start: Fraction) -> Iterator[TimedPicture]:
        """Yield one picture per file, from `start` seconds on."""
        first = ceil(start * self.frame_rate - ROUNDING)
        for number, path in enumerate(self._paths[first:], first):
            data = path.read_bytes()
            moves = is_animated_webp(data)
            picture = _first(AnimatedPicture(path)) if moves else _read(path)
            if (moves or is_animated_png(data)) and not self.notes:
                self.notes.append(f"only the first picture is read of {path.name}, which moves")
            yield TimedPicture(number, picture, _orientation(data))


def is_animated_png(data: bytes) -> bool:
    """Say whether a file is an animated png."""
    return data.startswith(b"\x89PNG") and b"acTL" in data[: max(data.find(b"IDAT"), 0)]


def _orientation(data: bytes) -> Orientation:
    """Return how a picture file is shown, by its Exif."""
    found = _EXIF.search(data)
    if not found:
        return Orientation()
    tiff, order = data[found.start(1) :], "<" if found[1].startswith(b"I") else ">"
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return _ORIENTATIONS.get(value, Orientation())
    except struct.error:  # damaged: what matters is the picture
        pass
    return Orientation()


def _first(animation: AnimatedPicture) -> VideoFrame:
    return next(animation.pictures(Fraction(0))).picture


def _read(path: Path) -> VideoFrame:
    try:
        with av.open(f"file:{path}", "r", metadata_errors="replace") as container:
            return next(container.decode(video=0))
    except (av.FFmpegError, OSError, IndexError, StopIteration) as error:
        raise UnreadableInput(path, "it is not a whole picture") from error
