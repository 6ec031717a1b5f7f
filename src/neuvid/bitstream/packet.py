"""The stream header and the packets, as values and as bytes. `docs/bitstream.md` specifies them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, NamedTuple, Self
from zlib import crc32

from neuvid.bitstream.fields import (
    CHECKSUM,
    CHECKSUM_SIZE,
    ByteSource,
    Cursor,
    Record,
    blob,
    fixed,
    octets,
    one_of,
    optional_octets,
    ratio,
    read_varint,
    signed,
    text,
    whole,
    write_varint,
)
from neuvid.choice import LEVELS, QUALITIES, QUALITY_FRACTIONS, ROUTES, FrameChoice, FrameKind
from neuvid.errors import CorruptStream, InvalidSetting, UnknownVersion

MAGIC = b"\x89NVID\n"  # the high bit and the newline show transfers that change bytes
VERSIONS = (1, 2, 3)
SINCE_2 = ("chroma_location", "display_matrix")  # fields that a header of version 1 lacks
# Beginnings of packets. A first byte below FF begins an inter packet of the brief or short form.
SYNC_MARKER = b"\xff\xe4NV"  # of every intra packet
LONG_INTER, PASSTHROUGH, INDEX, END = b"\xff\x01", b"\xff\x02", b"\xff\x03", b"\xff\x04"
BRIEF_LIMIT = 1 << 14  # numbers below it fit an inter packet of the brief form
SHORT_BEGIN, SHORT_LIMIT = 0xC0 << 24, 0xFF << 24  # of the numbers of the short form, as stored

PAYLOAD_LIMIT = (1 << 28) - 1  # bytes of a frame's payload
PASSTHROUGH_LIMIT = 1 << 20  # bytes of a passthrough chunk
FRAME_LIMIT = (1 << 48) - 1  # frames of a stream
SMALL_PAYLOAD = 1 << 12  # bytes; below it, half of a checksum notices every bit that changes
PTS_LIMIT = 1 << 60  # so that no sum of times leaves 64 bits

_HEADER = blob(1, 1 << 10)
_DELAY = signed((1 << 63) - 1)
_SHORT = fixed(4)  # an inter packet's number in the short form
_QUALITY_STEPS = (QUALITIES - 1) * QUALITY_FRACTIONS + 1  # qualities that a packet can store


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHeader(Record):
    """What a decoder must know before the first packet.

    `checkpoint` is the first half of the SHA-256 of the model's checkpoint. The levels and routes
    of its frames are below `levels` and `routes`. `frame_rate` is in
    frames per second, `time_base` in seconds per unit of presentation time (pts), `first_pts`
    the pts of frame 0. The colour fields are code points of ITU-T H.273, where 2 is unspecified;
    `colour_range` alone is 0 (unspecified), 1 (limited) or 2 (full), and `chroma_location` is
    that of ColourTags. `total_frames` is what the writer expected at the start, 0 where it did
    not know. `display_matrix` holds the nine numbers of an Orientation, 4 bytes each, or nothing
    where it is the usual one. Streams of version 1 have a `rotation` instead, by which a player
    turns the picture counter-clockwise, in degrees, -180..180.

    Raises InvalidSetting when a field is out of range.
    """

    model: Annotated[str, text(255)]
    checkpoint: Annotated[bytes, octets(16)]
    arithmetic: Annotated[str, one_of("float32", "float16", "bfloat16", "integer")]
    levels: Annotated[int, whole(1, LEVELS)] = 1
    routes: Annotated[int, whole(1, ROUTES)] = 1
    width: Annotated[int, whole(1, 65535)]
    height: Annotated[int, whole(1, 65535)]
    pixel_format: Annotated[str, one_of("yuv420p", "rgb24")]
    bit_depth: Annotated[int, whole(8, 8)] = 8
    frame_rate: Annotated[Fraction, ratio()]
    time_base: Annotated[Fraction, ratio()]
    first_pts: Annotated[int, signed(PTS_LIMIT)] = 0
    sample_aspect_ratio: Annotated[Fraction, ratio()] = Fraction(1)
    rotation: Annotated[int, signed(180)] = 0
    colour_matrix: Annotated[int, fixed(1)] = 2
    colour_range: Annotated[int, fixed(1, maximum=2)] = 0
    colour_primaries: Annotated[int, fixed(1)] = 2
    colour_transfer: Annotated[int, fixed(1)] = 2
    total_frames: Annotated[int, whole(0, FRAME_LIMIT)] = 0
    chroma_location: Annotated[int, fixed(1, maximum=6)] = 0
    display_matrix: Annotated[bytes, optional_octets(36)] = b""

    @property
    def frame_duration(self) -> Fraction:
        """Time from one frame to the next in units of the time base."""
        return 1 / (self.frame_rate * self.time_base)


def write_header(header: StreamHeader) -> bytes:
    """Return the bytes that begin a stream."""
    data = MAGIC + bytes([VERSIONS[-1]]) + _HEADER.write(header.to_bytes())
    return data + CHECKSUM.write(crc32(data))


def read_header(source: ByteSource) -> tuple[StreamHeader, int]:
    """Read what `write_header` wrote, and the version; raise CorruptStream when it is damaged.

    Raises UnknownVersion when the stream has a version that is not in VERSIONS.
    """
    for byte in MAGIC:
        if source.take(1)[0] != byte:
            raise CorruptStream("not a neuvid stream")
    version = source.take(1)
    if version[0] not in VERSIONS:
        known = ", ".join(map(str, VERSIONS))
        raise UnknownVersion(f"bitstream version is {version[0]}; known are {known}")
    body = _HEADER.read(source)
    if CHECKSUM.read(source) != crc32(MAGIC + version + _HEADER.write(body)):
        raise CorruptStream("the checksum of the header does not match")
    cursor = Cursor(body)
    header = StreamHeader.read(cursor, absent=SINCE_2 if version[0] < 2 else ())
    cursor.end()
    return header, version[0]


@dataclass(frozen=True, slots=True)
class Packet:
    """One coded frame.

    `payload` is what the entropy coder wrote, in the several-streams form when `parallel`.
    `pts` is the presentation time in units of the time base, `number` counts frames from 0.

    Raises InvalidSetting when a field cannot be stored.
    """

    choice: FrameChoice
    payload: bytes
    parallel: bool
    pts: int
    number: int

    def __post_init__(self) -> None:
        _quality_steps(self.choice)
        if len(self.payload) > PAYLOAD_LIMIT:
            size = len(self.payload)
            raise InvalidSetting("payload bytes", got=size, expected=f"0..{PAYLOAD_LIMIT}")
        if abs(self.pts) > PTS_LIMIT:
            raise InvalidSetting("pts", got=self.pts, expected=f"{-PTS_LIMIT}..{PTS_LIMIT}")
        if not 0 <= self.number <= FRAME_LIMIT:
            raise InvalidSetting("number", got=self.number, expected=f"0..{FRAME_LIMIT}")


def _quality_steps(choice: FrameChoice) -> int:
    quality = choice.quality
    if isinstance(quality, tuple) or quality * QUALITY_FRACTIONS % 1:
        multiple = f"one multiple of 1/{QUALITY_FRACTIONS}"
        raise InvalidSetting("quality", got=quality, expected=multiple)
    return int(quality * QUALITY_FRACTIONS)


@dataclass(frozen=True, slots=True)
class PassthroughChunk(Record):
    """The next bytes of the container that holds the sound and the subtitles."""

    data: Annotated[bytes, blob(1, PASSTHROUGH_LIMIT)]


class TimingPoint(NamedTuple):
    """A frame from whose time those of the following frames are counted."""

    number: int
    pts: int

    def pts_of(self, number: int, frame_duration: Fraction) -> int:
        """Return the pts of frame `number`, in time base units, rounded half up."""
        step, scale = frame_duration.as_integer_ratio()
        return self.pts + (2 * (number - self.number) * step + scale) // (2 * scale)


@dataclass(frozen=True, slots=True)
class FrameHead:
    """A frame's choice and the size of its payload, which its packet stores as one number.

    From the lowest, the digits of the number are `parallel`, refresh, route, level and quality in
    quarter steps; what is above them is the size.
    """

    choice: FrameChoice
    parallel: bool
    payload_size: int

    def number(self, header: StreamHeader) -> int:
        """Return the number; raise InvalidSetting where a digit is too large for the stream."""
        choice, number = self.choice, self.payload_size
        digits = (_quality_steps(choice), choice.level, choice.route, choice.refresh, self.parallel)
        for digit, (name, base) in zip(digits, _head_digits(header), strict=True):
            if digit >= base:
                raise InvalidSetting(name, got=digit, expected=f"0..{base - 1} in this stream")
            number = number * base + digit
        return number

    @classmethod
    def of(cls, number: int, kind: FrameKind, header: StreamHeader) -> Self:
        """Return the head that a number stands for."""
        digits = {}
        for name, base in reversed(_head_digits(header)):
            number, digits[name] = divmod(number, base)
        quality = digits["quality"] / QUALITY_FRACTIONS
        choice = FrameChoice(
            kind, quality, digits["level"], digits["route"], bool(digits["refresh"])
        )
        return cls(choice, bool(digits["parallel"]), number)

    def brief_number(self, header: StreamHeader, before: FrameChoice | None) -> int | None:
        """Return the number of the brief form, None where something else than the level is new."""
        choice = self.choice
        number = self.payload_size * header.levels + choice.level
        if before is None or self.parallel or number >= BRIEF_LIMIT:
            return None
        return number if choice == _like(before, choice.level) else None

    @classmethod
    def of_brief(cls, number: int, header: StreamHeader, before: FrameChoice) -> Self:
        """Return the head that a number of the brief form stands for."""
        size, level = divmod(number, header.levels)
        return cls(_like(before, level), False, size)


def _like(before: FrameChoice, level: int) -> FrameChoice:
    """Return the choice of an inter frame that differs from the one before in its level alone."""
    return FrameChoice(FrameKind.INTER, before.quality, level, before.route)


def _head_digits(header: StreamHeader) -> tuple[tuple[str, int], ...]:
    """Return the name and the base of each digit, the highest first."""
    return (
        ("quality", _QUALITY_STEPS),
        ("level", header.levels),
        ("route", header.routes),
        ("refresh", 2),
        ("parallel", 2),
    )


@dataclass(frozen=True, slots=True)
class IntraPlace(Record):
    """Where an intra frame stands: all that a reader needs to begin here."""

    number: Annotated[int, whole(0, FRAME_LIMIT)]
    timing_number: Annotated[int, whole(0, FRAME_LIMIT)]
    timing_pts: Annotated[int, signed(PTS_LIMIT)]

    @property
    def timing(self) -> TimingPoint:
        """The frame from whose time this one's and those of the following frames are counted."""
        return TimingPoint(self.timing_number, self.timing_pts)


@dataclass(frozen=True, slots=True)
class FrameFields:
    """A frame packet as it is stored, without its checksum.

    `place` belongs to intra frames. `delay` belongs to inter frames: pts less the expected pts.
    """

    head: FrameHead
    place: IntraPlace | None
    delay: int
    payload: bytes

    def checksum_size(self, version: int = VERSIONS[-1]) -> int:
        """Return the bytes of the checksum that are stored, its last ones."""
        is_small = self.place is None and len(self.payload) < SMALL_PAYLOAD
        return 2 if is_small and version >= 3 else CHECKSUM_SIZE

    def to_bytes(self, header: StreamHeader, before: FrameChoice | None) -> bytes:
        """Return the bytes that the checksum covers; `before` is the choice of the frame before.

        Raises InvalidSetting when the stream has no such level or route.
        """
        number = self.head.number(header)
        brief = self.head.brief_number(header, before)
        if self.place:
            beginning = SYNC_MARKER + self.place.to_bytes() + write_varint(number)
        elif self.delay or SHORT_BEGIN + number >= SHORT_LIMIT:
            beginning = LONG_INTER + _DELAY.write(self.delay) + write_varint(number)
        elif brief is None:
            beginning = _SHORT.write(SHORT_BEGIN + number)
        else:
            beginning = write_varint(brief)
        return beginning + self.payload

    @classmethod
    def read(
        cls, source: ByteSource, header: StreamHeader, before: FrameChoice | None, version: int
    ) -> FrameFields:
        """Read what `to_bytes` wrote; raise CorruptStream when it is no frame packet."""
        place, delay = None, 0
        short_begin = SHORT_BEGIN if version >= 3 else 0
        beginning = source.peek(len(LONG_INTER))
        if SYNC_MARKER.startswith(beginning):
            place, number = _read_intra(source)
            head = FrameHead.of(number, FrameKind.INTRA, header)
        elif beginning.startswith(SYNC_MARKER[:1]) and beginning != LONG_INTER:
            raise CorruptStream(f"no packet begins with {beginning.hex()}")
        elif before is None:
            raise CorruptStream("the first frame is no intra frame")
        elif beginning == LONG_INTER:
            delay, number = _read_long_inter(source)
            if not delay and short_begin + number < SHORT_LIMIT:
                raise CorruptStream("an inter frame is not in its short form")
            head = FrameHead.of(number, FrameKind.INTER, header)
        elif beginning[0] << 24 < short_begin:
            head = FrameHead.of_brief(read_varint(source), header, before)
        else:
            head = FrameHead.of(_SHORT.read(source) - short_begin, FrameKind.INTER, header)
            if version >= 3 and head.brief_number(header, before) is not None:
                raise CorruptStream("an inter frame is not in its brief form")
        if head.payload_size > PAYLOAD_LIMIT:
            raise CorruptStream(f"a payload has {head.payload_size} bytes")
        return cls(head, place, delay, source.take(head.payload_size))


def _read_intra(source: ByteSource) -> tuple[IntraPlace, int]:
    if source.take(len(SYNC_MARKER)) != SYNC_MARKER:
        raise CorruptStream("a sync marker is damaged")
    place = IntraPlace.read(source)
    if place.timing_number > place.number:
        raise CorruptStream("the timing point of a frame comes after it")
    return place, read_varint(source)


def _read_long_inter(source: ByteSource) -> tuple[int, int]:
    source.take(len(LONG_INTER))
    return _DELAY.read(source), read_varint(source)
