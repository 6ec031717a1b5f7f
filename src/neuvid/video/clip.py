"""Clips as files, folders and pipes: `open_clip` to read, `create_clip` to write."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite, prod
from pathlib import Path
from typing import BinaryIO, TypeAlias

import av

from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.outputs import GivenFile, OutputFolder, is_written_through, open_output
from neuvid.video.animations import AnimatedPicture, is_animated_webp
from neuvid.video.frame import ClipInfo, FrameSize, PixelFormat, plane_shapes
from neuvid.video.inputs import STANDARD, DemuxerInput, PipeInput, standard_input
from neuvid.video.photographs import PictureFiles, is_animated_png
from neuvid.video.reader import ClipReader
from neuvid.video.sinks import CONTAINERS, ContainerSink, PictureSink, PlanesSink, Sink
from neuvid.video.sources import PictureSource, StreamSource, open_failure
from neuvid.video.writer import ClipWriter, muxing

__all__ = ["ClipReader", "ClipWriter", "RawFormat", "create_clip", "open_clip"]

PLANES = (".y4m", ".yuv")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
BEGINNING = 32  # bytes that tell what a file is
PICTURE_RATE = Fraction(25)  # frames per second of a folder of pictures

ClipPath: TypeAlias = str | Path | BinaryIO


@dataclass(frozen=True, slots=True)
class RawFormat:
    """What a file of bare planes does not tell."""

    size: FrameSize
    frame_rate: Fraction
    pixel_format: PixelFormat = PixelFormat.YUV420

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame."""
        return sum(prod(shape) for shape in plane_shapes(self.size, self.pixel_format))


def open_clip(
    source: ClipPath,
    *,
    raw: RawFormat | None = None,
    start: float | Fraction = 0,
    frames: int | None = None,
    picture_rate: Fraction = PICTURE_RATE,
    passthrough: bool = False,
    keep_going: bool = False,
) -> ClipReader:
    """Open a clip to read its frames, 8-bit 4:2:0 or RGB; all else is converted to one of them.

    `source` is the path of a video, of a picture or of a folder of pictures (png, jpg, webp, bmp
    and tif, in the order of the numbers in their names, `picture_rate` frames per second), a binary
    file, or "-" for standard input; pipes may hold y4m and what else needs no seeking. `raw` says
    that it holds bare planes. The first frame is the one at `start` seconds into the clip or the
    next one; at most `frames` frames are read. `passthrough` also gathers sound and subtitles, cut
    to the frames: take them with `ClipReader.passthrough_chunks`, or they stay in memory. With
    `keep_going`, a clip that turns out to be broken, or whose frame size changes, ends there, and
    `ClipReader.damage` says why.

    Raises InvalidSetting for a start or a count out of range, and UnreadableInput.
    """
    if not (isfinite(start) and start >= 0):
        raise InvalidSetting("start", got=start, expected="0 or more seconds")
    if frames is not None and frames < 1:
        raise InvalidSetting("frames", got=frames, expected="1 or more")
    if picture_rate <= 0:
        raise InvalidSetting("picture rate", got=str(picture_rate), expected="above 0")
    pictures = _picture_files(source, picture_rate)
    opened = pictures or _open_stream(source, raw, passthrough)
    try:
        return ClipReader(opened, Fraction(start), frames, keep_going=keep_going)
    except BaseException:
        opened.close()
        raise


def create_clip(
    target: ClipPath, info: ClipInfo, *, sound_start: Fraction = Fraction(0)
) -> ClipWriter:
    """Create a clip to write frames as `info` describes them.

    `target` is a path that ends in .mp4, .m4v, .mov or .mkv (H.264 that looks the same, with sound
    and subtitles) or in .webm (VP9; see ContainerSink), in .y4m or in .yuv (bare planes, one frame
    after the other), a folder (a png per frame), or "-" or a buffered binary file for y4m, as is a
    pipe or a device with another name. A file that exists is replaced once the new one is whole, a
    pipe or a device is written to. With a `sound_start` in seconds, what sounds before it is left
    out, and times of sound and subtitles are counted from it.

    Raises InvalidSetting for a target that cannot hold such frames, and UnwritableOutput.
    """
    name = _name(target)
    with muxing(name):
        sink = _make_sink(target, info, sound_start)
    return ClipWriter(name, sink, info)


def _name(place: ClipPath) -> str:
    if isinstance(place, str | Path):
        return "the pipe" if place == STANDARD else str(place)
    return str(getattr(place, "name", "the file"))


def _picture_files(source: ClipPath, rate: Fraction) -> PictureSource | None:
    if not isinstance(source, str | Path) or source == STANDARD:
        return None
    path = Path(source)
    if path.is_dir():
        paths = sorted(filter(_is_picture, path.iterdir()), key=_counted)
        if not paths:
            raise UnreadableInput(source, "the folder holds no png, jpg, webp, bmp or tif pictures")
        return PictureFiles(str(source), paths, rate)
    if path.is_file() and is_animated_webp(_beginning(path)):
        return AnimatedPicture(path)
    if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file() and not _moves(path):
        return PictureFiles(str(source), [path], rate)
    return None


def _moves(path: Path) -> bool:
    try:
        return is_animated_png(path.read_bytes())
    except OSError as error:
        raise UnreadableInput(path, error.strerror or "it cannot be opened") from error


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(BEGINNING)
    except OSError as error:
        raise UnreadableInput(path, error.strerror or "it cannot be opened") from error


def _is_picture(path: Path) -> bool:
    """Say whether a file of a folder is one of its pictures, and none that the system hides."""
    hidden = path.name.startswith(".")  # such as ._1.jpg of macOS, which is no picture
    return path.suffix.lower() in PICTURE_SUFFIXES and not hidden and path.is_file()


def _counted(path: Path) -> tuple[list[str | int], str]:
    """Return what sorts 2.png before 10.png, and their names where they are the same number."""
    parts = re.split("([0-9]+)", path.name)  # every second one is a number
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], path.name


def _open_stream(source: ClipPath, raw: RawFormat | None, passthrough: bool) -> PictureSource:
    name, container_format = _name(source), None
    options = {"fflags": "-genpts"}  # times that FFmpeg makes up are wrong where frames reorder
    if raw:
        container_format = "rawvideo"
        options |= {
            "video_size": str(raw.size),
            "pixel_format": raw.pixel_format.value,
            "framerate": str(raw.frame_rate),
        }
    file, seekable, head = _input_file(source, raw)
    pipe = file if isinstance(file, DemuxerInput) else None
    with ExitStack() as opened:
        if pipe:
            opened.callback(pipe.close)
        try:
            container = av.open(
                file, "r", format=container_format, options=options, metadata_errors="replace"
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            if pipe:
                pipe.heed()
            raise open_failure(name, error, head) from error
        opened.callback(container.close)
        stream = StreamSource(
            name, container, seekable=seekable, pipe=pipe, with_passthrough=passthrough
        )
        opened.pop_all()
    return stream


def _input_file(
    source: ClipPath, raw: RawFormat | None
) -> tuple[str | BinaryIO | DemuxerInput, bool, bytes]:
    """What to give to FFmpeg, whether it can seek, and its first bytes if known."""
    if source == STANDARD:
        return DemuxerInput(standard_input()), False, b""
    if not isinstance(source, str | Path):
        return source, source.seekable(), b""
    path = Path(source)
    if not path.is_file():  # a named pipe, or nothing
        if not path.exists():
            raise UnreadableInput(source, "there is no such file")
        return DemuxerInput(PipeInput(path)), False, b""
    head = _beginning(path)
    if not head:
        raise UnreadableInput(source, "the file is empty")
    if raw and path.stat().st_size % raw.frame_bytes:
        frame = f"{raw.size} {raw.pixel_format.value} frames of {raw.frame_bytes} bytes"
        raise UnreadableInput(source, f"{path.stat().st_size} bytes are no whole number of {frame}")
    return f"file:{path}", True, head


def _make_sink(target: ClipPath, info: ClipInfo, sound_start: Fraction) -> Sink:
    if target == STANDARD:
        return PlanesSink(GivenFile(sys.stdout.buffer), info, y4m=True)
    if not isinstance(target, str | Path):
        return PlanesSink(GivenFile(target), info, y4m=True)
    path, suffix = Path(target), Path(target).suffix.lower()
    known = (*CONTAINERS, *PLANES)
    if is_written_through(path):
        suffix = suffix if suffix in known else ".y4m"
    elif path.is_dir() or str(target).endswith("/") or not suffix:
        return PictureSink(OutputFolder(path), info)
    if suffix not in known:
        expected = f"{', '.join(known)}, a folder or -"
        raise InvalidSetting("target", got=str(target), expected=expected)
    file = open_output(path)
    try:
        if suffix in PLANES:
            return PlanesSink(file, info, y4m=suffix == ".y4m")
        return ContainerSink(file, CONTAINERS[suffix], info, sound_start)
    except BaseException:
        file.discard()
        raise
