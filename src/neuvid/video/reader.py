"""The reading end of a clip."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice
from types import TracebackType
from typing import Self

from av.video.frame import VideoFrame

from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.video.frame import MAX_SIDE, ClipInfo, Frame, FrameSize, PixelFormat
from neuvid.video.losses import Losses
from neuvid.video.orientation import Orientation
from neuvid.video.planes import PictureConverter, colour_tags, is_rgb, orientation
from neuvid.video.sources import PictureSource, TimedPicture

CHUNK_SECONDS = Fraction(1)  # of sound that are gathered before they are handed out


class ClipReader:
    """The frames of a clip in order of showing. A context manager; iterate it once.

    `info` describes the clip, `notes` says in words what was converted or left out; it may grow
    until the last frame. Times are counted from where the first stream of the clip begins;
    those of a clip that is cut at its start, or that begins before 0, from its first frame.

    Opening and iterating raise UnreadableInput. With `keep_going`, iterating ends instead where
    the input turns out to be broken, and `damage` says why; it is None otherwise.
    """

    def __init__(
        self,
        source: PictureSource,
        start: Fraction,
        frames: int | None,
        *,
        keep_going: bool = False,
    ) -> None:
        self.damage: str | None = None
        self._source = source
        self._limit = frames
        self._keep_going = keep_going
        pictures = source.pictures(start)
        first = next(pictures, None)
        if first is None:
            reason = f"it has no frame at {float(start):g} s" if start else "it has no whole frame"
            raise UnreadableInput(source.name, reason)
        self._pictures = islice(chain([first], pictures), frames)
        first_pts = first.pts
        self._origin = first_pts
        if source.begin is not None and not start:
            self._origin = min(first_pts, max(0, source.begin))
        self.info = self._describe(first, first_pts - self._origin, start)
        self._converter = PictureConverter(self.info.pixel_format)
        self._losses = Losses(self.info.pixel_format, source.field_order)
        self._losses.see(first.picture)
        self._clock = first_pts * source.time_base  # end of the last frame, in seconds
        self._next_chunk = self._clock
        self._end: Fraction | None = None
        self._finished = False
        if source.passthrough:
            source.passthrough.origin = self._origin * source.time_base
            source.passthrough.begin = self._clock if start else None

    @property
    def end(self) -> int:
        """When the last frame read ends, in units of the clip's time base."""
        return round(self._clock / self._source.time_base) - self._origin

    @property
    def notes(self) -> list[str]:
        """What was converted, left out or is damaged, one sentence each."""
        return self._losses.notes + self._source.notes

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the input."""
        self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; raise UnreadableInput where the input turns out to be broken."""
        try:
            yield from self._frames()
        except UnreadableInput as error:
            if not self._keep_going:
                raise
            self.damage = str(error)
        self._finished = True

    def _frames(self) -> Iterator[Frame]:
        count = 0
        for pts, picture, turn in self._pictures:
            self._check_size(self._size(picture, turn))
            ticks = picture.duration or self.info.frame_ticks
            self._clock = (pts + ticks) * self._source.time_base
            count += 1
            self._losses.see(picture)
            planes = turn.show(self._converter.planes(picture))
            yield Frame(planes, pts - self._origin)
        if count == self._limit:
            self._end = self._clock
            self._source.finish_passthrough(self._end)
        elif self._source.end and self._source.end > pts:  # frames that reorder tell wrong ones
            self._clock = self._source.end * self._source.time_base

    def passthrough_chunks(self) -> list[bytes]:
        """Return the next bytes of sound and subtitles, up to the end of the last frame read.

        Ask after each frame and once after the last; about every second there is something.
        Before the first frame, there is the description of the streams. Empty where the clip
        has no sound or was opened without `passthrough`.
        """
        packer = self._source.passthrough
        if packer is None:
            return []
        if self._finished:
            return packer.take(self._end)
        if self._clock < self._next_chunk:
            return []
        self._next_chunk = self._clock + CHUNK_SECONDS
        return packer.take(self._clock)

    def _describe(self, first: TimedPicture, first_pts: int, start: Fraction) -> ClipInfo:
        source = self._source
        picture = first.picture
        rgb = source.all_rgb or is_rgb(picture)
        pixel_format = PixelFormat.RGB if rgb else PixelFormat.YUV420
        return ClipInfo(
            size=self._size(picture, first.turn),
            pixel_format=pixel_format,
            frame_rate=source.frame_rate,
            time_base=source.time_base,
            start=first_pts,
            colour=colour_tags(picture, pixel_format, source.chroma_location),
            sample_aspect=source.sample_aspect,
            orientation=Orientation() if source.all_rgb else orientation(picture),
            frame_count=self._estimate(start),
        )

    def _estimate(self, start: Fraction) -> int | None:
        count = self._source.frame_count
        if count is None:
            return self._limit
        left = max(1, count - int(start * self._source.frame_rate))
        return left if self._limit is None else min(left, self._limit)

    def _size(self, picture: VideoFrame, turn: Orientation) -> FrameSize:
        try:
            size = FrameSize(picture.width, picture.height)
            return FrameSize(size.height, size.width) if turn.swaps_sides else size
        except InvalidSetting as error:
            reason = f"frames are {picture.width}x{picture.height}; at most {MAX_SIDE} each way"
            raise UnreadableInput(self._source.name, reason) from error

    def _check_size(self, size: FrameSize) -> None:
        if size != self.info.size:
            reason = f"the frame size changes from {self.info.size} to {size}"
            raise UnreadableInput(self._source.name, reason)
