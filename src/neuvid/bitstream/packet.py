"""The stream header and the packets, as values and as bytes. `docs/bitstream.md` specifies them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, NamedTuple
from zlib import crc32

from neuvid.bitstream.fields import (
    CHECKSUM,
    Bits,
    ByteSource,
    Cursor,
    Record,
    blob,
    fixed,
    octets,
    one_of,
    ratio,
    signed,
    text,
    whole,
)
from neuvid.choice import LEVELS, QUALITIES, QUALITY_FRACTIONS, ROUTES, FrameChoice, FrameKind
from neuvid.errors import CorruptStream, InvalidSetting, UnknownVersion

MAGIC = b"\x89NVID\n"  # the high bit and the newline show transfers that change bytes
VERSIONS = (1,)
SYNC_MARKER = b"\xe4\xfeNV"  # begins every intra packet; its first byte begins no other packet
PASSTHROUGH, TIMING, INDEX, END = b"\x02", b"\x03", b"\x07", b"\x0b"  # begin the other packets

PAYLOAD_LIMIT = (1 << 28) - 1  # bytes of a frame's payload
PASSTHROUGH_LIMIT = 1 << 20  # bytes of a passthrough chunk
FRAME_LIMIT = (1 << 48) - 1  # frames of a stream
PTS_LIMIT = 1 << 60  # so that no sum of times leaves 64 bits

_HEADER = blob(1, 1 << 10)
_DELAY = signed((1 << 63) - 1)
_PAYLOAD = blob(0, PAYLOAD_LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHeader(Record):
    """What a decoder must know before the first packet.

    `checkpoint` is the first half of the SHA-256 of the model's checkpoint. `frame_rate` is in
    frames per second, `time_base` in seconds per unit of presentation time (pts), `first_pts`
    the pts of frame 0. `rotation` is how far a player turns the picture counter-clockwise, in
    degrees, -180..180. The colour fields are code points of ITU-T H.273, where 2 is unspecified;
    `colour_range` alone is 0 (unspecified), 1 (limited) or 2 (full). `total_frames` is what the
    writer expected at the start, 0 where it did not know.

    Raises InvalidSetting when a field is out of range.
    """

    model: Annotated[str, text(255)]
    checkpoint: Annotated[bytes, octets(16)]
    arithmetic: Annotated[str, one_of("float32", "float16", "bfloat16", "integer")]
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

    @property
    def frame_duration(self) -> Fraction:
        """Time from one frame to the next in units of the time base."""
        return 1 / (self.frame_rate * self.time_base)


def write_header(header: StreamHeader) -> bytes:
    """Return the bytes that begin a stream."""
    data = MAGIC + bytes([VERSIONS[-1]]) + _HEADER.write(header.to_bytes())
    return data + CHECKSUM.write(crc32(data))


def read_header(source: ByteSource) -> StreamHeader:
    """Read what `write_header` wrote; raise CorruptStream when it is damaged.

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
    header = StreamHeader.read(cursor)
    cursor.end()
    return header


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
class FrameHead(Record):
    """A frame's choice, as its packet stores it."""

    kind: Annotated[int, Bits(2, maximum=FrameKind.INTER)]
    level: Annotated[int, Bits(2, maximum=LEVELS - 1)]
    route: Annotated[int, Bits(2, maximum=ROUTES - 1)]
    refresh: Annotated[int, Bits(1, maximum=1)]
    parallel: Annotated[int, Bits(1, maximum=1)]
    quality_steps: Annotated[int, fixed(1, maximum=(QUALITIES - 1) * QUALITY_FRACTIONS)]

    @classmethod
    def of(cls, packet: Packet) -> FrameHead:
        """Return the head of a packet."""
        choice = packet.choice
        return cls(
            kind=choice.kind,
            level=choice.level,
            route=choice.route,
            refresh=choice.refresh,
            parallel=packet.parallel,
            quality_steps=_quality_steps(choice),
        )

    @property
    def choice(self) -> FrameChoice:
        """The choice that is stored."""
        quality = self.quality_steps / QUALITY_FRACTIONS
        kind = FrameKind(self.kind)
        return FrameChoice(kind, quality, self.level, self.route, bool(self.refresh))


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

    def to_bytes(self) -> bytes:
        """Return the bytes that the checksum covers."""
        head, payload = self.head.to_bytes(), _PAYLOAD.write(self.payload)
        if self.place:
            return SYNC_MARKER + head + self.place.to_bytes() + payload
        timing = TIMING + _DELAY.write(self.delay) if self.delay else b""
        return timing + head + payload

    @classmethod
    def read(cls, source: ByteSource) -> FrameFields:
        """Read what `to_bytes` wrote; raise CorruptStream when it is no frame packet."""
        intra, delay = source.peek() == SYNC_MARKER[:1], 0
        if intra and source.take(len(SYNC_MARKER)) != SYNC_MARKER:
            raise CorruptStream("a sync marker is damaged")
        if source.peek() == TIMING:
            source.take(1)
            delay = _DELAY.read(source)
        head = FrameHead.read(source)
        if intra != (head.kind == FrameKind.INTRA):
            raise CorruptStream("a sync marker is missing or begins no intra packet")
        place = IntraPlace.read(source) if intra else None
        if place and place.timing_number > place.number:
            raise CorruptStream("the timing point of a frame comes after it")
        return cls(head, place, delay, _PAYLOAD.read(source))
