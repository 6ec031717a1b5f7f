"""Sound and subtitles beside the video: packets of the input, copied untouched as a byte stream.

Chapters and the clip's tags go with them (`tags.py`).

No container of FFmpeg streams every codec without loss: NUT holds neither SubRip nor mov_text
and drops subtitle durations, Matroska rounds times to milliseconds. So a codec's parameters
travel in a tiny file of a container that keeps them, and packets in records of their own, bit
for bit. The stream is a row of blocks (kind, length, body), which docs/bitstream.md specifies.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction

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
from av.stream import Discard, Disposition, Stream

from neuvid.errors import CorruptStream
from neuvid.video.blocks import BlockFields, blob, signed, varint
from neuvid.video.tags import Tags, read_tags, stream_tags, title_of, write_tags

STREAMS, PACKETS, TAGS, PACKETS_WITH_SIDE_DATA = 1, 2, 3, 4  # kinds of blocks
# Side data of packets: priming and padding, and what subtitles have beside their text
SIDE_DATA: tuple[PktSideDataT, ...] = (
    "skip_samples",
    "matroska_block_additional",
    "webvtt_identifier",
    "webvtt_settings",
)
PARAMETER_FORMATS = ("matroska", "nut", "mov")  # each holds what the others do not
BLOCK_BYTES = 1 << 19  # a block of packets ends once it is longer
BLOCK_LIMIT = 1 << 28  # bytes; more is damage
TIME_LIMIT = 1 << 62  # ticks
INT32_MAX = (1 << 31) - 1


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


class PassthroughPacker:
    """Gathers packets of a clip's sound and subtitle streams and turns them into bytes.

    `notes` tells which streams are left out. What ends before `begin` seconds is dropped; times
    are counted from `origin` seconds.
    """

    def __init__(self, streams: Iterable[Stream], tags: Tags) -> None:
        self.notes: list[str] = []
        self.begin: Fraction | None = None
        self.origin = Fraction(0)
        self._numbers: dict[int, int] = {}  # index of the stream in the file -> number here
        self._subtitles: set[int] = set()
        self._time_bases: list[Fraction] = []
        self._pending: list[SoundPacket] = []
        self._tags: Tags | None = tags  # until they are packed
        self._ready = self._pack_streams(streams)

    @property
    def streams(self) -> int:
        """How many streams are carried."""
        return len(self._time_bases)

    def add(self, packet: Packet[Stream]) -> Fraction | None:
        """Keep the packet if its stream is carried, and return its time in seconds."""
        number = self._numbers.get(packet.stream_index)
        pts = packet.dts if packet.pts is None else packet.pts
        if number is None or pts is None or not packet.size:
            return None
        side_data = {
            name: bytes(packet.get_sidedata(name))
            for name in SIDE_DATA
            if packet.has_sidedata(name)
        }
        duration, key = packet.duration or 0, packet.is_keyframe
        kept = SoundPacket(number, pts, duration, key, bytes(packet), side_data)
        if not self._is_over(kept):
            self._pending.append(kept)
        return pts * packet.time_base

    def forget(self) -> None:
        """Drop the packets gathered so far: they are read again after seeking."""
        self._pending = []

    def take(self, until: Fraction | None) -> list[bytes]:
        """Return all that starts before `until` seconds (None: everything) as blocks."""
        chosen: list[SoundPacket] = []
        later: list[SoundPacket] = []
        for packet in self._pending:
            seconds = packet.pts * self._time_bases[packet.stream]
            early = until is None or seconds < until
            (chosen if early else later).append(packet)
        self._pending = later
        blocks, self._ready = self._pack_tags() + self._ready, []
        return blocks + self._pack([packet for packet in chosen if not self._is_over(packet)])

    def _is_over(self, packet: SoundPacket) -> bool:
        end = (packet.pts + packet.duration) * self._time_bases[packet.stream]
        return self.begin is not None and end <= self.begin

    def _pack_tags(self) -> list[bytes]:
        tags, self._tags = self._tags, None
        if tags is None:
            return []
        tags = tags.moved(self.origin)
        return [_block(TAGS, write_tags(tags))] if tags else []

    def _pack_streams(self, streams: Iterable[Stream]) -> list[bytes]:
        body = bytearray()
        for stream in streams:
            parameters = stream_parameters(stream)
            if parameters is None or stream.time_base is None:
                if stream.discard is not Discard.all:  # as mp4's track of chapters is
                    self.notes.append(f"{_name_of(stream)} is left out")
                continue
            self._numbers[stream.index] = self.streams
            if stream.type == "subtitle":
                self._subtitles.add(self.streams)
            self._time_bases.append(stream.time_base)
            for number in (*stream.time_base.as_integer_ratio(), int(stream.disposition)):
                body += varint(number)
            for text in (stream.metadata.get("language", ""), title_of(stream)):
                body += blob(text.encode())
            body += varint(PARAMETER_FORMATS.index(parameters[0])) + blob(parameters[1])
        return [_block(STREAMS, bytes(body))] if self.streams else []

    def _pack(self, packets: Sequence[SoundPacket]) -> list[bytes]:
        with_side_data = any(packet.side_data for packet in packets)
        kind = PACKETS_WITH_SIDE_DATA if with_side_data else PACKETS
        blocks, body, clock = [], bytearray(), _Clock()
        for packet in packets:
            cut = self._cut(packet)
            body += varint(2 * cut.stream + cut.key)
            for difference in clock.advance(cut):
                body += signed(difference)
            body += blob(cut.data)
            if with_side_data:
                body += varint(len(cut.side_data))
                for name, data in cut.side_data.items():
                    body += varint(SIDE_DATA.index(name)) + blob(data)
            if len(body) >= BLOCK_BYTES or packet is packets[-1]:
                blocks.append(_block(kind, bytes(body)))
                body, clock = bytearray(), _Clock()
        return blocks

    def _cut(self, packet: SoundPacket) -> SoundPacket:
        """Count time from the origin; a subtitle on show already starts there, at 0."""
        pts = packet.pts - round(self.origin / self._time_bases[packet.stream])
        duration = packet.duration
        if packet.stream in self._subtitles and self.begin is not None and pts < 0:
            pts, duration = 0, duration + pts
        return replace(packet, pts=pts, duration=duration)


class PassthroughUnpacker:
    """Turns the bytes of a PassthroughPacker, given in pieces of any length, into packets.

    Raises CorruptStream where no PassthroughPacker wrote the bytes.
    """

    def __init__(self) -> None:
        self.streams: list[SoundStream] = []
        self.tags: Tags | None = None
        self._bytes = b""

    def feed(self, data: bytes) -> list[SoundPacket]:
        """Take the next bytes; return the packets that are complete now."""
        self._bytes += data
        packets: list[SoundPacket] = []
        while body := self._next_block():
            kind, fields = body
            if kind == STREAMS and not self.streams:
                self._unpack_streams(fields)
            elif kind == TAGS and self.tags is None:
                self.tags = read_tags(fields)
            elif kind in (PACKETS, PACKETS_WITH_SIDE_DATA):
                packets += self._unpack(fields, with_side_data=kind == PACKETS_WITH_SIDE_DATA)
            else:
                raise CorruptStream(f"unexpected block {kind} in the sound and subtitles")
        return packets

    @property
    def contents(self) -> list[str]:
        """What the bytes so far hold, in words."""
        kinds = {stream.template.type for stream in self.streams}
        words = {"audio": "sound", "subtitle": "subtitles"}
        sound = [word for kind, word in words.items() if kind in kinds]
        return sound + (self.tags.contents if self.tags else [])

    def close(self) -> None:
        """Let the templates go."""
        for stream in self.streams:
            stream.file.close()

    def _next_block(self) -> tuple[int, BlockFields] | None:
        fields = BlockFields(self._bytes)
        try:
            kind, length = fields.byte(), fields.varint()
        except CorruptStream:
            if fields.left:
                raise
            return None  # too short as yet
        if length > BLOCK_LIMIT:
            raise CorruptStream(f"a block of sound and subtitles is {length} bytes long")
        if fields.left < length:
            return None
        body = fields.take(length)
        self._bytes = fields.rest()
        return kind, BlockFields(body)

    def _unpack_streams(self, fields: BlockFields) -> None:
        while fields.left:
            numerator, denominator, disposition = (fields.varint() for _ in range(3))
            language, title = fields.text(), fields.text()
            container = fields.varint()
            if not (0 < numerator <= INT32_MAX and 0 < denominator <= INT32_MAX):
                raise CorruptStream("a sound or subtitle stream has no sound time base")
            if container >= len(PARAMETER_FORMATS) or disposition > INT32_MAX:
                raise CorruptStream("a sound or subtitle stream is of an unknown kind")
            file = _open_parameters(PARAMETER_FORMATS[container], fields.blob())
            time_base = Fraction(numerator, denominator)
            self.streams.append(SoundStream(file, time_base, disposition, language, title))

    def _unpack(self, fields: BlockFields, *, with_side_data: bool) -> Iterator[SoundPacket]:
        clock = _Clock()
        while fields.left:
            stream, key = divmod(fields.varint(), 2)
            if stream >= len(self.streams):
                raise CorruptStream(f"there is no sound or subtitle stream {stream}")
            packet = SoundPacket(stream, 0, 0, bool(key), b"")
            clock.recover(packet, fields.signed(), fields.signed())
            packet.data = fields.blob()
            if with_side_data:
                for _ in range(fields.varint()):
                    place, data = fields.varint(), fields.blob()
                    if place >= len(SIDE_DATA):
                        raise CorruptStream(f"there is no side data of kind {place}")
                    packet.side_data[SIDE_DATA[place]] = data
            if abs(packet.pts) > TIME_LIMIT or not 0 <= packet.duration <= TIME_LIMIT:
                raise CorruptStream("a sound or subtitle packet has no sound time")
            yield packet


def stream_parameters(stream: Stream) -> tuple[str, bytes] | None:
    """Return a container's name and a file of it with the stream's parameters, else None."""
    if stream.type not in ("audio", "subtitle") or stream.codec_context is None:
        return None
    whole: list[tuple[str, bytes]] = []
    without_layout: list[tuple[str, bytes]] = []
    for container in PARAMETER_FORMATS:
        try:
            data = _write_parameters(container, stream)
            with _open_parameters(container, data) as file:
                copy = file.streams[0]
                if _parameters(copy) == _parameters(stream):
                    same = _layout(copy) == _layout(stream)
                    (whole if same else without_layout).append((container, data))
        except (ValueError, av.FFmpegError, CorruptStream):
            continue
    return next(iter(whole + without_layout), None)


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


def add_copied_stream(output: OutputContainer, sound: SoundStream) -> Stream:
    """Add a stream for copied packets; raise ValueError or FFmpegError where it does not fit."""
    stream = _add_stream(output, sound.template)
    stream.time_base = sound.time_base
    stream.disposition = Disposition(sound.disposition)
    stream.metadata.update(stream_tags(sound.title, sound.language))
    if not isinstance(stream, AudioStream) or stream.codec_context is None:
        return stream
    if stream.layout.name == f"{stream.channels} channels":
        stream.codec_context.layout = f"{stream.channels}c"  # the usual one; mp4 must know it
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
    with _open_parameters(output.format.name, file.getvalue()) as written:
        return _parameters(written.streams[0]) == _parameters(sound.template)


def _name_of(stream: Stream) -> str:
    if "timecode" in stream.metadata and stream.type == "data":
        return f"timecode {stream.metadata['timecode']}"
    codec = stream.codec_context.name if stream.codec_context else "unknown"
    return f"{stream.type} stream {stream.index} ({codec})"


def _parameters(stream: Stream) -> tuple[str, bytes | None]:
    return stream.codec_context.name, stream.codec_context.extradata


def _layout(stream: Stream) -> str:
    """Name the channel layout where only the container knows it."""
    if isinstance(stream, AudioStream) and stream.codec_context.name.startswith("pcm_"):
        return stream.layout.name
    return ""


def _write_parameters(container: str, stream: Stream) -> bytes:
    file = io.BytesIO()
    repeatable = {"fflags": "bitexact"}  # no random identifiers
    with av.open(file, "w", format=container, container_options=repeatable) as output:
        copied = _add_stream(output, stream)
        packet = Packet(b"\0\0")  # a file without any packet cannot be opened again
        packet.stream, packet.pts, packet.dts, packet.duration = copied, 0, 0, 1
        packet.time_base = stream.time_base or Fraction(1)
        output.mux(packet)
    return file.getvalue()


def _open_parameters(container: str, data: bytes) -> InputContainer:
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


@dataclass(slots=True)
class _Clock:
    """Foretells a packet's pts and duration from the packet before it in its stream."""

    ends: dict[int, int] = field(default_factory=dict)
    durations: dict[int, int] = field(default_factory=dict)

    def advance(self, packet: SoundPacket) -> tuple[int, int]:
        """Return how far pts and duration are from what was foretold."""
        pts, duration = self.ends.get(packet.stream, 0), self.durations.get(packet.stream, 0)
        self.ends[packet.stream] = packet.pts + packet.duration
        self.durations[packet.stream] = packet.duration
        return packet.pts - pts, packet.duration - duration

    def recover(self, packet: SoundPacket, pts: int, duration: int) -> None:
        """Set pts and duration from their differences, `advance` undone."""
        packet.pts = self.ends.get(packet.stream, 0) + pts
        packet.duration = self.durations.get(packet.stream, 0) + duration
        self.advance(packet)


def _block(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + blob(body)
