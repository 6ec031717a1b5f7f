"""Where pictures come from: a file or pipe that FFmpeg demuxes."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain, dropwhile
from math import ceil
from typing import NamedTuple, Protocol

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from neuvid.errors import UnreadableInput
from neuvid.video.clocks import clock_runs, first_moment, go_to
from neuvid.video.inputs import DemuxerInput
from neuvid.video.orientation import Orientation
from neuvid.video.passthrough import PassthroughPacker
from neuvid.video.siting import chroma_location
from neuvid.video.tags import tags_of
from neuvid.video.times import PictureTimes, SteadyClock

UNKNOWN_RATE = Fraction(25)  # frames per second, where a clip does not tell
PREROLL = Fraction(1)  # seconds; seeking lands earlier by this, so that no sound is missed
KEY_FRAMES = Fraction(12)  # seconds in which a recording is expected to have one
INTERLEAVING = Fraction(10)  # seconds that sound may lie behind the pictures in a file
ROUNDING = Fraction(1, 1000)  # ticks that a start time in seconds may be off


class TimedPicture(NamedTuple):
    """A picture; `pts` counts the source's time base, and `turn` is what makes it upright."""

    pts: int
    picture: VideoFrame
    turn: Orientation = Orientation()


class PictureSource(Protocol):
    """Pictures in order of showing; `notes` says what was left out."""

    name: str
    all_rgb: bool  # whether pictures that are not RGB become so
    frame_rate: Fraction
    time_base: Fraction
    sample_aspect: Fraction
    chroma_location: int  # of ColourTags
    field_order: int  # FFmpeg's number
    begin: int | None  # time of the first picture or sound, in ticks; None where unknown
    end: int | None  # of the last picture, in ticks; None where only the picture tells
    frame_count: int | None
    passthrough: PassthroughPacker | None

    @property
    def notes(self) -> list[str]:
        """What was left out or is damaged, one sentence each."""

    def pictures(self, start: Fraction) -> Iterator[TimedPicture]:
        """Yield the pictures from `start` seconds into the clip on."""

    def finish_passthrough(self, end: Fraction) -> None:
        """Read on until all sound before `end` seconds is gathered."""

    def close(self) -> None:
        """Close the files."""


class SilentSource:
    """What sources of RGB pictures without sound have in common: times that rise evenly from 0."""

    all_rgb = True
    chroma_location = field_order = 0
    begin: int | None = 0
    end: int | None = None
    sample_aspect = Fraction(1)
    passthrough: PassthroughPacker | None = None

    def __init__(self, name: str, frame_rate: Fraction, frame_count: int | None) -> None:
        self.name = name
        self.frame_rate = frame_rate
        self.time_base = 1 / frame_rate
        self.frame_count = frame_count
        self.notes: list[str] = []

    def finish_passthrough(self, end: Fraction) -> None:
        """Do nothing: there is no sound."""

    def close(self) -> None:
        """Do nothing: nothing stays open."""


class StreamSource:
    """The best video stream of a container.

    A damaged packet costs its pictures and leaves a note. A file that is cut off raises
    UnreadableInput after its last whole picture where the container lets that be seen: mp4,
    mov, avi and raw video do; Matroska and y4m do not; a transport stream may be cut anywhere.
    `pipe` is what the container reads, where that is a pipe.
    """

    all_rgb = False

    def __init__(
        self,
        name: str,
        container: InputContainer,
        *,
        seekable: bool,
        pipe: DemuxerInput | None,
        with_passthrough: bool,
    ) -> None:
        self.name = name
        self._container = container
        self._pipe = pipe
        self._seekable = seekable
        self._stream = _video_stream(name, container)
        self._stream.thread_type = "AUTO"
        self.frame_rate = self._stream.guessed_rate or self._stream.average_rate or UNKNOWN_RATE
        self.time_base = self._stream.time_base or 1 / self.frame_rate
        self.sample_aspect = self._stream.sample_aspect_ratio or Fraction(1)
        self.chroma_location = chroma_location(self._stream)
        self.field_order = self._stream.codec_context.field_order
        flags = Flags(container.format.flags)
        self._may_restart = Flags.ts_discont in flags
        self._has_places = seekable and Flags.no_byte_seek not in flags
        self.begin = self._first_time()
        self.end = self._last_time()
        self.frame_count = self._count()
        self.passthrough: PassthroughPacker | None = None
        if with_passthrough:
            others = (stream for stream in container.streams if stream is not self._stream)
            self.passthrough = PassthroughPacker(others, tags_of(container, self._stream))
        self._damaged = 0
        self._packets = self._demux()

    @property
    def notes(self) -> list[str]:
        """What was left out or is damaged, one sentence each."""
        left_out = self.passthrough.notes if self.passthrough else []
        alpha = self._stream.metadata.get("alpha_mode") == "1"  # of VP8 and VP9
        hidden = ["transparency is dropped"] if alpha else []
        damage = [f"damaged packets or pictures: {self._damaged}"] if self._damaged else []
        return hidden + left_out + damage

    def pictures(self, start: Fraction) -> Iterator[TimedPicture]:
        """Yield the pictures whose time is `start` seconds into the clip or later."""
        pictures = self._timed()
        first = next(pictures, None)
        if first is None:
            return
        whole = chain([first], pictures)
        if not start:
            yield from whole
            return
        target = first[0] + ceil(start / self.time_base - ROUNDING)
        if self.passthrough:
            self.passthrough.begin = target * self.time_base
        late_enough = dropwhile(lambda timed: timed[0] < target, self._near(target, whole))
        for number, timed in enumerate(late_enough):
            if number == 0:
                self._damaged = 0  # before the start, it does not matter
            yield timed

    def finish_passthrough(self, end: Fraction) -> None:
        """Read on until all sound before `end` seconds is gathered."""
        if self.passthrough is None:
            return
        waiting = {s.index for s in self._container.streams if s.type == "audio"}
        with suppress(UnreadableInput):  # the pictures asked for are whole
            for packet in self._packets:
                self.passthrough.add(packet)
                ticks = packet.dts if packet.pts is None else packet.pts
                seconds = end if ticks is None else ticks * packet.time_base
                if seconds >= end:
                    waiting.discard(packet.stream_index)
                if not waiting or seconds > end + INTERLEAVING:
                    break

    def close(self) -> None:
        """Close the file."""
        self._packets.close()  # FFmpeg must not read on
        self._container.close()
        if self._pipe:
            self._pipe.close()

    def _first_time(self) -> int | None:
        start = self._container.start_time
        return None if start is None else round(Fraction(start, av.time_base) / self.time_base)

    def _last_time(self) -> int | None:
        start, duration = self._stream.start_time, self._stream.duration
        if self._may_restart or start is None or duration is None:
            return None
        return start + duration

    def _count(self) -> int | None:
        if self._stream.frames and self._container.format.name != "avi":  # it counts empty ones
            return self._stream.frames
        if self._stream.duration:
            return round(self._stream.duration * self.time_base * self.frame_rate)
        if self._container.duration:
            return round(Fraction(self._container.duration, av.time_base) * self.frame_rate)
        return None

    def _near(self, target: int, whole: Iterator[TimedPicture]) -> Iterator[TimedPicture]:
        """Pictures from a key frame at or before `target` ticks on, or all where that fails."""
        early = target - round(PREROLL / self.time_base)
        if self._may_restart:
            return self._near_by_clock(early, whole)
        if self._seek(early):
            pictures = self._timed()
            first = next(pictures, None)
            if first is not None and first[0] <= target:
                return chain([first], pictures)
            if self._seek(0):  # some containers seek too far
                return self._timed()
        return whole

    def _seek(self, ticks: int) -> bool:
        """Go to a key frame at or before `ticks`; return False where that is not possible."""
        first = self._stream.start_time
        if first is None or not self._seekable:
            return False
        try:
            self._container.seek(max(first, ticks), stream=self._stream)
        except (av.FFmpegError, OSError, OverflowError):
            return False
        self._read_anew()
        return True

    def _near_by_clock(self, early: int, whole: Iterator[TimedPicture]) -> Iterator[TimedPicture]:
        """Pictures from the last key frame at or before `early` ticks on.

        Where the clock does not tell its place, all packets before are read, none decoded.
        """
        first, before = self._stream.start_time, early - round(KEY_FRAMES / self.time_base)
        if self._has_places and first is not None and first < before:
            if self._clock_runs_to(before) and self._seek(before) and self._skip(early):
                return self._timed()
            go_to(self._container, 0)
            self._read_anew()
            whole = self._timed()
        self._skip(early)
        return whole

    def _clock_runs_to(self, ticks: int) -> bool:
        """Say whether the clock tells where `ticks` are; the container is left at any place."""
        try:
            self._container.seek(ticks, stream=self._stream)
            end = first_moment(self._container.demux(self._stream))
            return end is not None and clock_runs(self._container, self._stream, end)
        except (av.FFmpegError, OSError, OverflowError):
            return False

    def _read_anew(self) -> None:
        """Read from where the container is."""
        self._packets = self._demux()
        if self.passthrough:
            self.passthrough.forget()

    def _skip(self, target: int) -> bool:
        """Read on to the last key frame at or before `target` ticks without decoding.

        Return False where there is none.
        """
        rest = self._packets
        kept: list[Packet[Stream]] = []
        found = False
        for packet in rest:
            if packet.stream is not self._stream:
                self._pass_on(packet)
                continue
            ticks = packet.dts if packet.pts is None else packet.pts
            early = ticks is None or ticks <= target
            if early and packet.is_keyframe and packet.size:
                kept.clear()
                found = True
                self._stream.codec_context.flush_buffers()
            kept.append(packet)
            if not early:
                break
        self._packets = _chained(kept, rest)
        return found

    def _timed(self) -> Iterator[TimedPicture]:
        """Yield the pictures with rising pts."""
        times = PictureTimes(max(1, round(1 / (self.frame_rate * self.time_base))))
        for picture in self._decode():
            yield TimedPicture(times.time_of(picture), picture)

    def _decode(self) -> Iterator[VideoFrame]:
        while (packet := next(self._packets, None)) is not None:
            if packet.stream is self._stream:  # a flushing packet has no other mark
                try:
                    pictures = self._stream.decode(packet if packet.size else None)
                except av.FFmpegError:
                    self._damaged += 1
                    continue
                self._damaged += sum(picture.is_corrupt for picture in pictures)
                yield from pictures
            else:
                self._pass_on(packet)

    def _pass_on(self, packet: Packet[Stream]) -> None:
        if self.passthrough:
            self.passthrough.add(packet)

    def _demux(self) -> Generator[Packet[Stream], None, None]:
        """Yield all packets; raise UnreadableInput where the file is seen to be cut off."""
        cut_anywhere = self._container.format.name == "mpegts"
        suspect: Packet[Stream] | None = None  # damaged, or the last one of a file that is cut
        cut = False
        packets: Iterable[Packet[Stream]] = self._checked(self._container.demux())
        if self._may_restart:
            packets = SteadyClock(self._stream.index).steady(packets)
        for packet in packets:
            if suspect is not None:
                cut = not packet.size
                if not cut:
                    self._damaged += 1
                    yield suspect
                suspect = None
            if packet.is_corrupt and packet.size and not cut_anywhere:
                suspect = packet
            else:
                yield packet
        if cut:
            raise UnreadableInput(self.name, "it is cut off")

    def _checked(self, packets: Iterator[Packet[Stream]]) -> Iterator[Packet[Stream]]:
        try:
            for packet in packets:
                self._heed()
                yield packet
        except (av.FFmpegError, OSError) as error:
            self._heed()
            raise UnreadableInput(self.name, f"it is damaged ({error.strerror})") from error

    def _heed(self) -> None:
        """Raise what a signal raised while the container read."""
        if self._pipe:
            self._pipe.heed()


def _chained(
    first: Iterable[Packet[Stream]], rest: Iterable[Packet[Stream]]
) -> Generator[Packet[Stream], None, None]:
    yield from first
    yield from rest


def open_failure(name: str, error: Exception, head: bytes) -> UnreadableInput:
    """Say why FFmpeg could not open the input whose first bytes are `head` (if known)."""
    if isinstance(error, av.error.InvalidDataError | av.error.EOFError):
        if head[4:8] == b"ftyp":
            return UnreadableInput(name, "its index is missing (moov atom): it is cut off")
        if head[1:5] == b"NVID":
            return UnreadableInput(name, "it is a neuvid stream already")
        return UnreadableInput(name, "it is not a video that FFmpeg knows")
    return UnreadableInput(name, getattr(error, "strerror", None) or str(error))


def _video_stream(name: str, container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise UnreadableInput(name, "it has no video stream")
    tiles = sum(bool(each.disposition & Disposition.dependent) for each in container.streams.video)
    if tiles and stream.frames <= 1:
        reason = f"it is a picture in {tiles} tiles, as HEIC is: convert it to png or jpg"
        raise UnreadableInput(name, reason)
    return stream
