"""The ending of a stream: the index of its intra frames, its totals, and the way to them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated
from zlib import crc32

from neuvid.bitstream.fields import CHECKSUM, Cursor, Record, blob, fixed, signed, whole
from neuvid.bitstream.packet import END, FRAME_LIMIT, INDEX, PTS_LIMIT
from neuvid.bitstream.source import Source
from neuvid.errors import CorruptStream

INTRA_SIZE = 12  # bytes of the smallest intra packet
END_SIZE = 10  # bytes of an end packet
_OFFSET_LIMIT = (1 << 63) - 1
_INDEX = blob(1, (1 << 32) - 16)  # so that the size of the packet fits in 32 bits
_INDEX_SIZE = fixed(4)


@dataclass(frozen=True, slots=True)
class IndexEntry(Record):
    """An intra frame: its number, its pts, and the place of its packet's first byte.

    `offset` counts from the stream's first byte. In the stream, an entry holds what is added to
    the entry before it, and the first entry what is added to zeros.
    """

    number: Annotated[int, whole(0, FRAME_LIMIT)]
    pts: Annotated[int, signed(2 * PTS_LIMIT)]
    offset: Annotated[int, whole(0, _OFFSET_LIMIT)]


@dataclass(frozen=True, slots=True)
class IndexTotals(Record):
    """What begins the index: totals of the stream, and the number of entries that follow."""

    frames: Annotated[int, whole(0, FRAME_LIMIT)]
    duration: Annotated[int, whole()]
    passthrough_bytes: Annotated[int, whole()]
    passthrough_checksum: Annotated[int, CHECKSUM]
    entries: Annotated[int, whole(0, FRAME_LIMIT)]


@dataclass(slots=True)
class Index:
    """All intra frames of a stream, in order, and the stream's totals.

    `frames` counts all frames. `duration` is the time from the first frame's pts to the end of
    the last frame, in units of the time base. `passthrough_checksum` is the CRC-32 of all
    passthrough bytes.
    """

    frames: int = 0
    duration: int = 0
    passthrough_bytes: int = 0
    passthrough_checksum: int = 0
    _numbers: array[int] = field(default_factory=lambda: array("q"))
    _pts: array[int] = field(default_factory=lambda: array("q"))
    _offsets: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> IndexEntry:
        return IndexEntry(self._numbers[place], self._pts[place], self._offsets[place])

    def __iter__(self) -> Iterator[IndexEntry]:
        return map(IndexEntry, self._numbers, self._pts, self._offsets)

    def append(self, entry: IndexEntry) -> None:
        """Add an intra frame after all others."""
        self._numbers.append(entry.number)
        self._pts.append(entry.pts)
        self._offsets.append(entry.offset)

    def add_passthrough(self, data: bytes) -> None:
        """Add passthrough bytes to the totals."""
        self.passthrough_bytes += len(data)
        self.passthrough_checksum = crc32(data, self.passthrough_checksum)

    def at_or_before(self, pts: int) -> IndexEntry | None:
        """Return the last intra frame at or before `pts`, else the first; None where none is."""
        return self[max(bisect_right(self._pts, pts) - 1, 0)] if len(self) else None

    def before(self, number: int) -> IndexEntry | None:
        """Return the last intra frame up to frame `number`; None where none is."""
        place = bisect_right(self._numbers, number) - 1
        return self[place] if place >= 0 else None

    def to_bytes(self) -> bytes:
        """Return the totals and the entries as bytes."""
        totals = IndexTotals(
            frames=self.frames,
            duration=self.duration,
            passthrough_bytes=self.passthrough_bytes,
            passthrough_checksum=self.passthrough_checksum,
            entries=len(self),
        )
        out = bytearray(totals.to_bytes())
        before = IndexEntry(0, 0, 0)
        for entry in self:
            step = IndexEntry(
                entry.number - before.number, entry.pts - before.pts, entry.offset - before.offset
            )
            out += step.to_bytes()
            before = entry
        return bytes(out)

    @classmethod
    def from_bytes(cls, data: bytes) -> Index:
        """Read what `to_bytes` wrote; raise CorruptStream when the entries are not in order."""
        cursor = Cursor(data)
        totals = IndexTotals.read(cursor)
        index = cls(
            totals.frames,
            totals.duration,
            totals.passthrough_bytes,
            totals.passthrough_checksum,
        )
        number, pts, offset = 0, 0, 0
        for place in range(totals.entries):
            step = IndexEntry.read(cursor)
            if place and not (step.number >= 1 and step.pts >= 0 and step.offset >= INTRA_SIZE):
                raise CorruptStream("the index is not in order")
            number, pts, offset = number + step.number, pts + step.pts, offset + step.offset
            if number >= totals.frames or abs(pts) > PTS_LIMIT or offset > _OFFSET_LIMIT:
                raise CorruptStream("the index points outside the stream")
            index.append(IndexEntry(number, pts, offset))
        cursor.end()
        return index


def write_ending(index: Index) -> bytes:
    """Return the index packet and the end packet."""
    data = INDEX + _INDEX.write(index.to_bytes())
    data += CHECKSUM.write(crc32(data))
    end = END + _INDEX_SIZE.write(len(data))
    return data + end + CHECKSUM.write(crc32(end))


def read_ending(source: Source) -> Index:
    """Read what `write_ending` wrote, the last bytes of `source`; raise CorruptStream otherwise."""
    if source.take(len(INDEX)) != INDEX:
        raise CorruptStream("the index is missing")
    body = _INDEX.read(source)
    source.verify()
    size = source.taken
    source.release()
    if read_end(source) != size:
        raise CorruptStream("the end packet does not point to the index")
    if not source.at_end():
        raise CorruptStream("bytes follow the end of the stream")
    return Index.from_bytes(body)


def read_end(source: Source) -> int:
    """Read an end packet and return the size of the index packet before it, in bytes."""
    if source.take(len(END)) != END:
        raise CorruptStream("the end packet is missing")
    size = _INDEX_SIZE.read(source)
    source.verify()
    return size
