"""Sound and subtitles beside the video: packets of the input, copied untouched as a byte stream.

Chapters and the clip's tags go with them (`tags.py`). A codec's parameters travel in a tiny file
(`copying.py`), packets in records of their own, bit for bit. The stream is a row of blocks (kind,
length, body), which docs/bitstream.md specifies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from av.packet import Packet, PktSideDataT
from av.stream import Discard, Stream

from neuvid.errors import CorruptStream
from neuvid.video.blocks import BlockFields, blob, signed, varint
from neuvid.video.copying import (
    PARAMETER_FORMATS,
    SKIPPED,
    SoundPacket,
    SoundStream,
    open_parameters,
    padding_of,
    played_duration,
    skipping,
    stream_parameters,
    with_priming,
)
from neuvid.video.tags import Tags, read_tags, title_of, write_tags

STREAMS, PACKETS, TAGS, PACKETS_WITH_SIDE_DATA = 1, 2, 3, 4  # kinds of blocks
# Side data of packets: priming and padding, and what subtitles have beside their text
SIDE_DATA: tuple[PktSideDataT, ...] = (
    SKIPPED,
    "matroska_block_additional",
    "webvtt_identifier",
    "webvtt_settings",
)
BLOCK_BYTES = 1 << 19  # a block of packets ends once it is longer
BLOCK_LIMIT = 1 << 28  # bytes; more is damage
TIME_LIMIT = 1 << 62  # ticks
INT32_MAX = (1 << 31) - 1


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
        self._tags: Tags | None = tags  # until they and the streams are described
        self._carried: list[tuple[Stream, tuple[str, bytes]]] = []  # with their parameters
        for stream in streams:
            self._carry(stream)

    @property
    def streams(self) -> int:
        """How many streams are carried."""
        return len(self._carried)

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
        if padding := padding_of(packet):
            side_data.setdefault(SKIPPED, skipping(0, padding))
        kept = SoundPacket(number, pts, 0, packet.is_keyframe, bytes(packet), side_data)
        kept.duration = played_duration(packet, kept.padding)
        if not self._is_over(kept):
            self._pending.append(kept)
        return pts * packet.time_base

    def forget(self) -> None:
        """Drop the packets gathered so far: they are read again after seeking."""
        self._pending = []

    def take(self, until: Fraction | None) -> list[bytes]:
        """Return all that starts before `until` seconds (None: everything) as blocks."""
        blocks = self._describe()
        chosen: list[SoundPacket] = []
        later: list[SoundPacket] = []
        for packet in self._pending:
            seconds = packet.pts * self._time_bases[packet.stream]
            early = until is None or seconds < until
            (chosen if early else later).append(packet)
        self._pending = later
        return blocks + self._pack([packet for packet in chosen if not self._is_over(packet)])

    def _is_over(self, packet: SoundPacket) -> bool:
        end = (packet.pts + packet.duration) * self._time_bases[packet.stream]
        return self.begin is not None and end <= self.begin

    def _carry(self, stream: Stream) -> None:
        parameters = stream_parameters(stream)
        if parameters is None or stream.time_base is None:
            if stream.discard is not Discard.all:  # as mp4's track of chapters is
                self.notes.append(f"{_name_of(stream)} is left out")
            return
        number = self._numbers[stream.index] = len(self._carried)
        if stream.type == "subtitle":
            self._subtitles.add(number)
        self._time_bases.append(stream.time_base)
        self._carried.append((stream, parameters))

    def _describe(self) -> list[bytes]:
        """Return the blocks that come first, once: tags and streams."""
        tags, self._tags = self._tags, None
        if tags is None:
            return []
        tags = tags.moved(self.origin)
        blocks = [_block(TAGS, write_tags(tags))] if tags else []
        return blocks + ([_block(STREAMS, self._pack_streams())] if self._carried else [])

    def _pack_streams(self) -> bytes:
        body = bytearray()
        firsts = {packet.stream: packet for packet in reversed(self._pending)}
        for number, (stream, parameters) in enumerate(self._carried):
            if number in firsts:
                parameters = with_priming(parameters, stream, firsts[number].priming)
            for value in (*self._time_bases[number].as_integer_ratio(), int(stream.disposition)):
                body += varint(value)
            for text in (stream.metadata.get("language", ""), title_of(stream)):
                body += blob(text.encode())
            body += varint(PARAMETER_FORMATS.index(parameters[0])) + blob(parameters[1])
        return bytes(body)

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
            file = open_parameters(PARAMETER_FORMATS[container], fields.blob())
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


def _name_of(stream: Stream) -> str:
    if "timecode" in stream.metadata and stream.type == "data":
        return f"timecode {stream.metadata['timecode']}"
    codec = stream.codec_context.name if stream.codec_context else "unknown"
    return f"{stream.type} stream {stream.index} ({codec})"


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
