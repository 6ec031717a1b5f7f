"""Where pictures go: a container that FFmpeg muxes, bare planes, or a folder of pictures."""

from __future__ import annotations

from contextlib import suppress
from errno import ESPIPE
from fractions import Fraction
from typing import Protocol, cast

import av
from av.audio.stream import AudioStream
from av.codec.context import CodecContext, Flags
from av.container import OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from neuvid.errors import CorruptStream
from neuvid.outputs import OutputFile, OutputFolder
from neuvid.video.copying import (
    SoundPacket,
    SoundStream,
    add_copied_stream,
    add_text_stream,
    copied_packet,
    start_on_sample,
    stream_fits,
)
from neuvid.video.frame import ClipInfo, Frame, PixelFormat, Plane
from neuvid.video.orientation import Orientation
from neuvid.video.passthrough import PassthroughUnpacker
from neuvid.video.planes import LIMITED, make_picture, repeat_chroma
from neuvid.video.rgb import RgbConverter, YuvConverter
from neuvid.video.subtitles import WRITTEN, holds_text, packet_of, text_of
from neuvid.video.tags import add_tags, lost_tags

CONTAINERS = {  # FFmpeg's names
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
MOVIES = ("mp4", "mov")  # of ISO/IEC 14496-12: need seeking, and keep times exactly
Y4M_SAMPLINGS = {1: "420mpeg2", 3: "420paldv"}  # by the chroma location of ColourTags
Y4M_RANGES = ("", " XCOLORRANGE=LIMITED", " XCOLORRANGE=FULL")
# look the same as the frames given; none reordered, or mp4 would not tell how long the last is
H264_OPTIONS = {"preset": "veryfast", "crf": "12", "bf": "0"}
VP9_OPTIONS = {"deadline": "realtime", "cpu-used": "8", "crf": "16", "b": "0", "lag-in-frames": "0"}
BUFFER_BYTES = 1 << 18
INT32_MAX = (1 << 31) - 1


class Sink(Protocol):
    """Takes the frames of a clip."""

    @property
    def notes(self) -> list[str]:
        """What the output cannot hold, one sentence each."""

    def write(self, frame: Frame) -> None:
        """Take the next frame."""

    def write_passthrough(self, data: bytes) -> None:
        """Take the next bytes of sound and subtitles."""

    def finish(self, end: int | None) -> None:
        """Write what is left and give the output its name; the last frame ends at `end`."""

    def discard(self) -> None:
        """Leave nothing behind."""


class ContainerSink:
    """A file of H.264, or VP9, with the sound; `container` is mp4, mov, matroska or webm.

    Matroska and WebM round times to milliseconds; mp4 and mov keep them. WebM takes VP9, the
    others H.264: frames of odd size are H.264 4:4:4 with chroma repeated 2x2, since 4:2:0 of H.264
    is even; RGB is RGB H.264 (High 4:4:4 Predictive). Both play in what is built on FFmpeg, in VLC
    and in mpv. Sound is cut at `sound_start` seconds, where that is above 0.
    """

    def __init__(
        self, file: OutputFile, container: str, info: ClipInfo, sound_start: Fraction = Fraction(0)
    ) -> None:
        if container in MOVIES and not file.file.seekable():
            raise OSError(ESPIPE, f"{container} cannot be written to a pipe, mkv can")
        self.notes: list[str] = []
        self._file = file
        self._info = info
        self._output = av.open(
            file.file,
            "w",
            format=container,
            container_options=_container_options(container, info),
            buffer_size=BUFFER_BYTES,
        )
        self._stream, self._format = self._add_video(container)
        self._sound = _SoundMuxer(self._output, container, sound_start, self.notes)
        self._last: Frame | None = None

    def write(self, frame: Frame) -> None:
        """Encode the frame before, whose duration is known now, and keep this one."""
        self._output.start_encoding()
        self._sound.closed = True
        if self._last:
            self._encode(self._last, frame.pts)
        self._last = frame

    def _encode(self, frame: Frame, end: int) -> None:
        picture = make_picture(self._planes(frame), self._format)
        picture.pts, picture.time_base = frame.pts, self._info.time_base
        picture.duration = end - frame.pts
        self._output.mux(self._stream.encode(picture))

    def _planes(self, frame: Frame) -> tuple[Plane, ...]:
        if self._format == "yuv444p":
            return repeat_chroma(frame.planes)
        if self._format == "gbrp":
            return tuple(frame.planes[0][..., channel] for channel in (1, 2, 0))
        return frame.planes

    def write_passthrough(self, data: bytes) -> None:
        """Mux the next sound and subtitles."""
        self._sound.feed(data)

    def finish(self, end: int | None) -> None:
        """Write the last frame, what the encoder holds back, the container's end, and the name."""
        self._output.start_encoding()
        if self._last:
            ticks = self._info.frame_ticks
            self._encode(self._last, self._last.pts + ticks if end is None else end)
        self._output.mux(self._stream.encode(None))
        self._output.close()
        self._sound.close()
        self._file.commit()

    def discard(self) -> None:
        """Remove what is there."""
        self._file.discard()
        self._sound.close()
        with suppress(OSError, ValueError, av.FFmpegError):
            self._output.close()

    def _add_video(self, container: str) -> tuple[VideoStream, str]:
        """The stream and the pixel format of what it encodes."""
        info = self._info
        codec, pixel_format = self._vp9() if container == "webm" else self._h264()
        options = VP9_OPTIONS if container == "webm" else H264_OPTIONS
        location = info.colour.chroma_location if pixel_format == "yuv420p" else 0
        stream = self._output.add_stream(
            codec,
            rate=info.frame_rate,
            options=options | {"chroma_sample_location": str(location)},
            width=info.size.width,
            height=info.size.height,
            time_base=info.time_base,
        )
        stream = cast(VideoStream, stream)
        context = stream.codec_context
        context.flags |= Flags.frame_duration  # packets last as long as their frames
        context.pix_fmt = pixel_format
        context.sample_aspect_ratio = info.sample_aspect
        context.color_primaries = info.colour.primaries
        context.color_trc = info.colour.transfer
        if info.pixel_format is PixelFormat.YUV420:
            context.colorspace = info.colour.matrix
            context.color_range = info.colour.range
        if not info.orientation.is_upright:
            stream.set_display_matrix(info.orientation.matrix)
        return stream, pixel_format

    def _vp9(self) -> tuple[str, str]:
        if self._info.sample_aspect != 1:
            aspect = self._info.sample_aspect
            self.notes.append(f"webm cannot hold the pixel aspect {aspect}: pixels are square")
        rgb = self._info.pixel_format is PixelFormat.RGB
        return "libvpx-vp9", "gbrp" if rgb else "yuv420p"

    def _h264(self) -> tuple[str, str]:
        if self._info.pixel_format is PixelFormat.RGB:
            return "libx264rgb", "rgb24"
        if self._info.size.width % 2 or self._info.size.height % 2:
            self.notes.append("odd size: written as H.264 4:4:4")
            return "libx264", "yuv444p"
        return "libx264", "yuv420p"


class PlanesSink:
    """A file of bare planes, as y4m with a header and a mark before each frame.

    y4m holds no RGB: that becomes 4:4:4.
    """

    def __init__(self, file: OutputFile, info: ClipInfo, *, y4m: bool) -> None:
        to_yuv = y4m and info.pixel_format is PixelFormat.RGB
        self._yuv = YuvConverter(info.shown) if to_yuv else None
        self._file = file
        self._orientation = info.orientation
        self._info = info.shown
        self._mark = b"FRAME\n" if y4m else b""
        self._frames = 0
        self._times_lost = False
        self._left_out = _LeftOut("bare planes")
        if y4m:
            file.file.write(_y4m_header(self._info))

    @property
    def notes(self) -> list[str]:
        """What bare planes cannot hold."""
        converted = [f"RGB converted to {self._yuv.name}"] if self._yuv else []
        rate = f"{float(self._info.frame_rate):g} frames per second"
        times = [f"bare planes have no times: written as {rate}"] if self._times_lost else []
        return converted + times + self._left_out.notes + _askew_notes(self._orientation)

    def write(self, frame: Frame) -> None:
        """Write the planes of the next frame."""
        seconds = (frame.pts - self._info.start) * self._info.time_base
        self._times_lost |= abs(seconds * self._info.frame_rate - self._frames) > 1
        self._file.file.write(self._mark)
        planes = self._orientation.show(frame.planes)
        for plane in self._yuv.planes(planes) if self._yuv else planes:
            self._file.file.write(plane.data)
        self._frames += 1

    def write_passthrough(self, data: bytes) -> None:
        """Leave sound, subtitles and tags out."""
        self._left_out.feed(data)

    def finish(self, end: int | None) -> None:
        """Give the file its name."""
        self._left_out.close()
        self._file.commit()

    def discard(self) -> None:
        """Remove the file."""
        self._left_out.close()
        self._file.discard()


class PictureSink:
    """A folder with a png per frame; YUV becomes RGB by its own matrix and range."""

    def __init__(self, folder: OutputFolder, info: ClipInfo) -> None:
        self._left_out = _LeftOut("a folder of pictures")
        self._orientation = info.orientation
        self._folder = folder
        self._converter = RgbConverter(info)
        info = info.shown
        self._encoder = CodecContext.create("png", "w")
        self._encoder.width, self._encoder.height = info.size.width, info.size.height
        self._encoder.pix_fmt = PixelFormat.RGB.value
        self._encoder.time_base = Fraction(1, 25)  # unused, but it must be set
        self._encoder.thread_count = 1  # a packet for each frame, at once
        self._frames = 0

    @property
    def notes(self) -> list[str]:
        """What pictures cannot hold."""
        return self._left_out.notes + _askew_notes(self._orientation)

    def write(self, frame: Frame) -> None:
        """Write the next picture."""
        rgb = self._converter.picture(frame)
        rgb.pts = self._frames
        data = b"".join(bytes(packet) for packet in self._encoder.encode(rgb))
        (self._folder.path / f"{self._frames:08d}.png").write_bytes(data)
        self._frames += 1

    def write_passthrough(self, data: bytes) -> None:
        """Leave sound, subtitles and tags out."""
        self._left_out.feed(data)

    def finish(self, end: int | None) -> None:
        """Give the folder its name."""
        self._left_out.close()
        self._folder.commit()

    def discard(self) -> None:
        """Remove the folder."""
        self._left_out.close()
        self._folder.discard()


class _LeftOut:
    """Tells what a passthrough stream holds that an output does not; `name` is the output's."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._unpacker = PassthroughUnpacker()
        self._contents: list[str] = []

    @property
    def notes(self) -> list[str]:
        """One sentence, or none."""
        return [f"{self._name} cannot hold {', '.join(self._contents)}"] if self._contents else []

    def feed(self, data: bytes) -> None:
        self._unpacker.feed(data)
        self._contents = self._unpacker.contents

    def close(self) -> None:
        self._unpacker.close()


class _SoundMuxer:
    """Copies the packets of a passthrough stream into the container of the video."""

    def __init__(
        self, output: OutputContainer, container: str, start: Fraction, notes: list[str]
    ) -> None:
        self.closed = False  # once the container's header is written, no stream can be added
        self._output = output
        self._container = container
        self._start = start
        self._notes = notes
        self._unpacker = PassthroughUnpacker()
        self._streams: list[Stream | None] = []
        self._rewritten: set[int] = set()  # numbers of streams whose text takes another form
        self._tags_are_added = False

    def close(self) -> None:
        self._unpacker.close()

    def feed(self, data: bytes) -> None:
        packets = self._unpacker.feed(data)
        self._add_tags()
        self._add_streams()
        for packet in packets:
            if not self._start or self._is_left(packet):
                self._mux(packet)

    def _add_tags(self) -> None:
        tags = self._unpacker.tags
        if tags is None or self._tags_are_added:
            return
        if self.closed:
            raise CorruptStream("tags come after the first frame")
        self._tags_are_added = True
        add_tags(self._output, tags.moved(self._start))
        if lost := lost_tags(tags, self._container):
            self._notes.append(f"{self._container} cannot hold the tags {', '.join(lost)}")

    def _is_left(self, sound: SoundPacket) -> bool:
        """Count the packet's time from the start, and say whether it lasts beyond that."""
        stream = self._unpacker.streams[sound.stream]
        sound.pts -= round(self._start / stream.time_base)
        if sound.pts < 0 and stream.template.type == "subtitle":
            sound.pts, sound.duration = 0, sound.pts + sound.duration
        return sound.pts + sound.duration > 0

    def _add_streams(self) -> None:
        for sound in self._unpacker.streams[len(self._streams) :]:
            if self.closed:
                raise CorruptStream("sound and subtitles are described after the first frame")
            self._streams.append(self._add_stream(sound))

    def _add_stream(self, sound: SoundStream) -> Stream | None:
        codec = sound.template.codec_context.name
        if stream_fits(sound, self._container):
            return add_copied_stream(self._output, sound)
        if holds_text(codec):
            self._rewritten.add(len(self._streams))
            words = f"subtitles ({codec}) are written as {WRITTEN[self._container]}, without styles"
            self._notes.append(words)
            return add_text_stream(self._output, sound)
        self._notes.append(f"{self._container} cannot hold {sound.template.type} ({codec})")
        return None

    def _mux(self, sound: SoundPacket) -> None:
        stream = self._streams[sound.stream]
        if sound.stream in self._rewritten:
            codec = self._unpacker.streams[sound.stream].template.codec_context.name
            text = text_of(codec, sound.data)
            sound.data, sound.side_data = packet_of(WRITTEN[self._container], text), {}
            stream = stream if text else None  # mov_text fills pauses
        if stream is None:
            return
        packet = copied_packet(sound, self._unpacker.streams[sound.stream].time_base)
        packet.stream = stream
        if sound.priming and self._container in MOVIES and isinstance(stream, AudioStream):
            start_on_sample(packet, sound.priming, stream.sample_rate)
        try:
            self._output.mux(packet)
        except (av.error.InvalidDataError, av.error.ArgumentError):
            note = f"some packets of {stream.type} stream {stream.index} cannot be written"
            if note not in self._notes:
                self._notes.append(note)


def _container_options(container: str, info: ClipInfo) -> dict[str, str]:
    if container not in MOVIES:
        return {}
    # or the time of the first frame would be rounded to milliseconds
    return {"movie_timescale": str(min(info.time_base.denominator, INT32_MAX))}


def _askew_notes(orientation: Orientation) -> list[str]:
    return [f"not written as shown: {orientation}"] if orientation.is_askew else []


def _y4m_header(info: ClipInfo) -> bytes:
    rate, aspect = (f"{n.numerator}:{n.denominator}" for n in (info.frame_rate, info.sample_aspect))
    size = f"W{info.size.width} H{info.size.height}"
    rgb = info.pixel_format is PixelFormat.RGB
    span = Y4M_RANGES[LIMITED if rgb else info.colour.range]
    sampling = "444" if rgb else Y4M_SAMPLINGS.get(info.colour.chroma_location, "420jpeg")
    return f"YUV4MPEG2 {size} F{rate} Ip A{aspect} C{sampling}{span}\n".encode()
