"""Sound and subtitle streams that are copied from one container to another.

No container of FFmpeg streams every codec without loss: NUT holds neither SubRip nor mov_text
and drops subtitle durations, Matroska rounds times to milliseconds. So a codec's parameters
travel in a tiny file of a container that keeps them.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import cast

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import (
    Packet,
    PacketSideData,
    PktSideDataT,
    packet_sidedata_type_from_literal,
)
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream

from neuvid.errors import CorruptStream
from neuvid.video.subtitles import STYLES, WRITTEN
from neuvid.video.tags import add_stream_tags, stream_tags

PARAMETER_FORMATS = ("matroska", "nut", "mov")  # each holds what the others do not
SKIPPED: PktSideDataT = "skip_samples"
TITLE, CODEC_DELAY = b"\x53\x6e", b"\x56\xaa"  # elements of a stream in Matroska


@dataclass(frozen=True, slots=True)
class SoundStream:
    """A sound or subtitle stream: `template` has the codec's parameters and nothing else."""

    file: InputContainer  # of the template
    time_base: Fraction
    disposition: int  # FFmpeg's flags: default, forced, ...
    language: str  # empty where unknown
    title: str

    @property
    def template(self) -> Stream:
        """The stream whose parameters a muxer can copy."""
        return self.file.streams[0]


@dataclass(slots=True)
class SoundPacket:
    """One packet: `pts` and `duration` count ticks of its stream's time base."""

    stream: int
    pts: int
    duration: int
    key: bool
    data: bytes
    side_data: dict[PktSideDataT, bytes] = field(default_factory=dict)

    @property
    def priming(self) -> int:
        """Samples at its start that are not played."""
        return int.from_bytes(self.side_data.get(SKIPPED, b"")[:4], "little")

    @property
    def padding(self) -> int:
        """Samples at its end that are not played."""
        return int.from_bytes(self.side_data.get(SKIPPED, b"")[4:8], "little")


def stream_parameters(stream: Stream) -> tuple[str, bytes] | None:
    """Return a container's name and a file of it with the stream's parameters, else None."""
    if stream.type not in ("audio", "subtitle") or stream.codec_context is None:
        return None
    whole: list[tuple[str, bytes]] = []
    without_layout: list[tuple[str, bytes]] = []
    for container in PARAMETER_FORMATS:
        try:
            data = _write_parameters(container, stream)
            with open_parameters(container, data) as file:
                copy = file.streams[0]
                if _parameters(copy) == _parameters(stream):
                    same = _layout(copy) == _layout(stream)
                    (whole if same else without_layout).append((container, data))
        except (ValueError, av.FFmpegError, CorruptStream):
            continue
    return next(iter(whole + without_layout), None)


def with_priming(parameters: tuple[str, bytes], stream: Stream, samples: int) -> tuple[str, bytes]:
    """Return a stream's parameters that tell of samples at its start which are not played.

    mp4 tells of them beside a codec's parameters, and PyAV cannot set them: in Matroska, a title
    of eight bytes becomes their duration.
    """
    container, data = parameters
    is_told = not samples or CODEC_DELAY in data
    if is_told or container != "matroska" or not isinstance(stream, AudioStream):
        return parameters
    title = b"untitled"
    delay = round(Fraction(samples * 10**9, stream.sample_rate))
    titled = _write_parameters(container, stream, title.decode())
    size = bytes([0x80 + len(title)])
    told = titled.replace(TITLE + size + title, CODEC_DELAY + size + delay.to_bytes(len(title)))
    return container, told


def copied_packet(sound: SoundPacket, time_base: Fraction) -> Packet[Stream]:
    """Return a packet to mux."""
    packet: Packet[Stream] = Packet(sound.data)
    packet.time_base = time_base
    packet.pts = packet.dts = sound.pts
    packet.duration = sound.duration
    packet.is_keyframe = sound.key
    for name, data in sound.side_data.items():
        kind = packet_sidedata_type_from_literal(name)
        side_data = PacketSideData(kind, len(data))  # type: ignore[call-arg]
        if data:
            side_data.update(data)
        packet.set_sidedata(side_data)
    return packet


def skipping(start: int, end: int) -> bytes:
    """Return side data that tells of samples at both ends of a packet which are not played."""
    return start.to_bytes(4, "little") + end.to_bytes(4, "little") + bytes(2)  # and why


def padding_of(packet: Packet[Stream]) -> int:
    """Return samples at the end of AAC that are not played, where mp4 tells of them.

    The last packet of a stream lasts shorter there than its samples do.
    """
    stream = packet.stream
    if not isinstance(stream, AudioStream) or stream.codec_context.name != "aac":
        return 0
    if packet.pts is None or stream.time_base != Fraction(1, stream.sample_rate):
        return 0
    duration = packet.duration or 0
    left = (stream.start_time or 0) + (stream.duration or 0) - packet.pts - duration
    is_last = abs(left) * 1000 <= stream.sample_rate  # times from Matroska are milliseconds
    return max(stream.codec_context.frame_size - duration, 0) if is_last else 0


def played_duration(packet: Packet[Stream], padding: int) -> int:
    """Return how long a packet is played, in its ticks; Matroska may count its padding as well."""
    stream, duration = packet.stream, packet.duration or 0
    if not padding or not isinstance(stream, AudioStream):
        return duration
    samples = stream.codec_context.frame_size - padding  # of AAC and MP3; others have no such size
    played = round(Fraction(samples, stream.sample_rate) / packet.time_base)
    return min(played, duration) if samples > 0 else duration


def start_on_sample(packet: Packet[Stream], priming: int, rate: int) -> None:
    """Give a first packet of sound, of `rate` samples per second, a time in samples.

    What is played of it starts on a tick; its priming before that is as long as it is, where the
    time base of a container rounds it.
    """
    tick, sample = packet.time_base, Fraction(1, rate)
    played = (packet.pts or 0) + floor(priming * sample / tick + Fraction(1, 2))
    packet.pts = packet.dts = round(played * tick / sample) - priming
    packet.duration = round((packet.duration or 0) * tick / sample)
    packet.time_base = sample


def add_copied_stream(output: OutputContainer, sound: SoundStream) -> Stream:
    """Add a stream for copied packets; raise ValueError or FFmpegError where it does not fit."""
    stream = _add_stream(output, sound.template)
    _describe(output, stream, sound)
    if not isinstance(stream, AudioStream) or stream.codec_context is None:
        return stream
    if stream.layout.name == f"{stream.channels} channels":
        stream.codec_context.layout = f"{stream.channels}c"  # the usual one; mp4 must know it
    return stream


def add_text_stream(output: OutputContainer, sound: SoundStream) -> Stream:
    """Add a stream for the text of subtitles in the form that a container holds."""
    stream = cast(SubtitleStream, output.add_stream(WRITTEN[output.format.name]))
    stream.codec_context.subtitle_header = STYLES
    _describe(output, stream, sound)
    return stream


def stream_fits(sound: SoundStream, container: str) -> bool:
    """Say whether a container can hold a copy of the stream."""
    file = io.BytesIO()
    output = av.open(file, "w", format=container)
    try:
        stream = add_copied_stream(output, sound)
        output.start_encoding()
        return stream.codec_context is not None or _comes_back(file, output, stream, sound)
    except (ValueError, av.FFmpegError, CorruptStream):
        return False
    finally:
        with suppress(ValueError, av.FFmpegError):
            output.close()


def _describe(output: OutputContainer, stream: Stream, sound: SoundStream) -> None:
    stream.time_base = sound.time_base
    stream.disposition = Disposition(sound.disposition)
    add_stream_tags(output, stream, stream_tags(sound.title, sound.language))


def _add_stream(output: OutputContainer, template: Stream) -> Stream:
    """Add a stream like another one; raise ValueError where the container cannot hold it.

    PyAV refuses codecs that Matroska holds by their Microsoft tag alone. Their parameters are
    copied by way of a container that it takes them for, which frees them of a foreign tag.
    """
    try:
        return output.add_stream_from_template(template)
    except ValueError:
        if template.type != "audio" or output.format.name != "matroska":
            raise
    for container in PARAMETER_FORMATS:
        with suppress(ValueError), av.open(io.BytesIO(), "w", format=container) as scratch:
            untagged = scratch.add_stream_from_template(template)
            stream = output.add_mux_stream("aac")  # any codec that all containers take
            BitStreamFilterContext("null", untagged, stream)
            return stream
    raise ValueError(f"no container takes {template.codec_context.name}")


def _comes_back(
    file: io.BytesIO, output: OutputContainer, stream: Stream, sound: SoundStream
) -> bool:
    """Write a packet and say whether the stream can be read again."""
    packet = copied_packet(SoundPacket(0, 0, 1, True, bytes(2)), sound.time_base)
    packet.stream = stream
    output.mux(packet)
    output.close()
    with open_parameters(output.format.name, file.getvalue()) as written:
        return _parameters(written.streams[0]) == _parameters(sound.template)


def _parameters(stream: Stream) -> tuple[str, bytes | None]:
    return stream.codec_context.name, stream.codec_context.extradata


def _layout(stream: Stream) -> str:
    """Name the channel layout where only the container knows it."""
    if isinstance(stream, AudioStream) and stream.codec_context.name.startswith("pcm_"):
        return stream.layout.name
    return ""


def _write_parameters(container: str, stream: Stream, title: str = "") -> bytes:
    file = io.BytesIO()
    repeatable = {"fflags": "bitexact"}  # no random identifiers
    with av.open(file, "w", format=container, container_options=repeatable) as output:
        copied = _add_stream(output, stream)
        copied.metadata.update(stream_tags(title, ""))
        packet = Packet(b"\0\0")  # a file without any packet cannot be opened again
        packet.stream, packet.pts, packet.dts, packet.duration = copied, 0, 0, 1
        packet.time_base = stream.time_base or Fraction(1)
        output.mux(packet)
    return file.getvalue()


def open_parameters(container: str, data: bytes) -> InputContainer:
    """Open a file with the parameters of one stream; raise CorruptStream for any other."""
    try:
        file = av.open(io.BytesIO(data), "r", format=container)
    except (ValueError, av.FFmpegError) as error:
        raise CorruptStream(f"the parameters of a sound stream cannot be read: {error}") from error
    streams = file.streams
    if len(streams) != 1 or streams[0].type not in ("audio", "subtitle"):
        raise CorruptStream("the parameters of a sound stream are something else")
    if streams[0].codec_context is None:
        raise CorruptStream("the codec of a sound stream is unknown")
    return file
