"""Packets to a file or pipe, and back: numbers and times, checksums, the index, salvage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO
from zlib import crc32

from neuvid.bitstream.fields import CHECKSUM
from neuvid.bitstream.index import (
    END_SIZE,
    Index,
    IndexEntry,
    read_end,
    read_ending,
    write_ending,
)
from neuvid.bitstream.packet import (
    INDEX,
    PASSTHROUGH,
    PASSTHROUGH_LIMIT,
    PTS_LIMIT,
    SYNC_MARKER,
    FrameFields,
    FrameHead,
    IntraPlace,
    Packet,
    PassthroughChunk,
    StreamHeader,
    TimingPoint,
    read_header,
    write_header,
)
from neuvid.bitstream.source import Source
from neuvid.choice import FrameChoice, FrameKind
from neuvid.errors import CorruptStream, InvalidSetting, UnreadableInput, UnwritableOutput

SALVAGE_EFFORT = 16  # bytes that salvage may examine in vain per byte of the stream
END_LIMIT = 2 * PTS_LIMIT  # of the last frame
_FREE_BYTES = 1 << 16  # added to the bytes of the stream, so that a short stream is not given up
_FAILURE_BYTES = 1 << 10  # what a failed reading counts beside the bytes it examined


class _Progress:
    """Where a writer or a reader stands in a stream; both step it alike."""

    def __init__(self, header: StreamHeader, number: int = 0) -> None:
        self.number = number  # of the next frame
        self.pts = -PTS_LIMIT  # of the frame before it
        self.choice: FrameChoice | None = None  # of the frame before it, None before an intra frame
        self.checksum = 0  # of the group of frames so far
        self.timing = TimingPoint(0, header.first_pts)
        self.index = Index()
        self._frame_duration = header.frame_duration

    def expected_pts(self, number: int, timing: TimingPoint) -> int:
        """Return the pts of a frame that follows `timing` without delay."""
        return timing.pts_of(number, self._frame_duration)

    def step(self, packet: Packet, timing: TimingPoint, checksum: int, offset: int) -> None:
        """Go past a frame whose packet begins at `offset`."""
        if packet.choice.kind is FrameKind.INTRA:
            self.index.append(IndexEntry(packet.number, packet.pts, offset))
        self.number, self.pts = packet.number + 1, packet.pts
        self.timing, self.checksum, self.choice = timing, checksum, packet.choice
        self.index.frames = self.number
        self.end_at(self.expected_pts(self.number, timing))

    def end_at(self, pts: int) -> None:
        """Let the last frame end at `pts`."""
        self.index.duration = pts - self.index[0].pts


class PacketWriter:
    """Writes a stream to a file or pipe; it never seeks.

    `bytes_written` is the size of the stream so far, of which `payload_bytes` are the frames'
    payloads and `passthrough_bytes` sound and subtitles; `overhead_bytes` is the rest.

    All methods raise UnwritableOutput when the file cannot be written.
    """

    def __init__(self, file: BinaryIO, header: StreamHeader) -> None:
        self.header = header
        self.bytes_written = 0
        self.payload_bytes = 0
        self._file = file
        self._progress = _Progress(header)
        self._finished = False
        self._put(write_header(header))

    @property
    def passthrough_bytes(self) -> int:
        """Bytes given to `write_passthrough` so far."""
        return self._progress.index.passthrough_bytes

    @property
    def overhead_bytes(self) -> int:
        """Bytes of the header, of packet heads, checksums and the index so far."""
        return self.bytes_written - self.payload_bytes - self.passthrough_bytes

    def write(self, packet: Packet) -> None:
        """Write the next frame.

        Raises InvalidSetting when its number is not the next one, its pts is before the last
        one, the first frame is not an intra frame, or the header has no such level or route.
        """
        progress = self._progress
        self._check(packet)
        delay = packet.pts - progress.expected_pts(packet.number, progress.timing)
        timing = TimingPoint(packet.number, packet.pts) if delay else progress.timing
        if packet.choice.kind is FrameKind.INTRA:
            place, delay, before = IntraPlace(packet.number, *timing), 0, 0
        else:
            place, before = None, progress.checksum
        head = FrameHead(packet.choice, packet.parallel, len(packet.payload))
        fields = FrameFields(head, place, delay, packet.payload)
        data = fields.to_bytes(self.header, progress.choice)
        checksum, offset = crc32(data, before), self.bytes_written
        self._put(data + CHECKSUM.write(checksum)[-fields.checksum_size() :])
        self.payload_bytes += len(packet.payload)
        progress.step(packet, timing, checksum, offset)

    def write_passthrough(self, data: bytes) -> None:
        """Write the next bytes of the sound and subtitle container, of any length."""
        for start in range(0, len(data), PASSTHROUGH_LIMIT):
            chunk = PassthroughChunk(data[start : start + PASSTHROUGH_LIMIT])
            packet = PASSTHROUGH + chunk.to_bytes()
            self._put(packet + CHECKSUM.write(crc32(packet)))
            self._progress.index.add_passthrough(chunk.data)

    def finish(self, end: int | None = None) -> None:
        """Write the index and the end; nothing can be written afterwards.

        The last frame ends at the pts `end`, or else where a frame is expected after it. Raises
        InvalidSetting for an end out of range, such as before the frame begins.
        """
        if end is not None and self._progress.number:
            if not self._progress.pts <= end <= END_LIMIT:
                expected = f"{self._progress.pts}..{END_LIMIT}"
                raise InvalidSetting("end", got=end, expected=expected)
            self._progress.end_at(end)
        self._put(write_ending(self._progress.index))
        self._finished = True

    def _check(self, packet: Packet) -> None:
        progress = self._progress
        if packet.number != progress.number:
            raise InvalidSetting("number", got=packet.number, expected=str(progress.number))
        if progress.choice is None and packet.choice.kind is not FrameKind.INTRA:
            raise InvalidSetting("kind", got=packet.choice.kind, expected="INTRA at the start")
        if packet.pts < progress.pts:
            raise InvalidSetting("pts", got=packet.pts, expected=f"{progress.pts} or later")

    def _put(self, data: bytes) -> None:
        if self._finished:
            raise InvalidSetting("packet", got=data[:1], expected="nothing after finish()")
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
            self._file.flush()  # so that a reader at the other end of a pipe has it at once
        except OSError as error:
            name = getattr(self._file, "name", "the stream")
            raise UnwritableOutput(name, error.strerror or str(error)) from error
        self.bytes_written += len(data)


@dataclass(frozen=True, slots=True)
class StoredPacket:
    """A packet, the place of its first byte in the stream, and its size in bytes."""

    packet: Packet | PassthroughChunk
    offset: int
    size: int


class PacketReader:
    """Reads a stream from where a file or pipe stands; it seeks only for `index` and `seek`.

    Iterating yields the packets in the order of the file. At damage it raises CorruptStream, and
    Truncated when the bytes end early; every packet that it yielded was intact and in its place.
    `end` is the pts at which the last frame ends, None before the stream was read to its end.
    After an error, `resume` goes on behind the damage, or iterating raises the error again.

    Raises CorruptStream when the header is damaged, UnknownVersion when the stream is of a newer
    version, and UnreadableInput, at any time, when the file cannot be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._base = file.tell() if file.seekable() else 0
        source = Source(file)
        self.header, self._version = read_header(source)
        self._begin(source, frame=0)
        self.end: int | None = None
        self._whole = True  # no packet was left out so far

    def _begin(self, source: Source, frame: int) -> None:
        self._source = source
        self._progress = _Progress(self.header, frame)
        self._found: StoredPacket | None = None  # by `resume`, and not yet yielded
        self._damage: CorruptStream | None = None
        self._finished = False
        self._whole = False
        self._wasted = 0  # bytes examined in vain

    def __iter__(self) -> Iterator[Packet | PassthroughChunk]:
        return (stored.packet for stored in self.stored_packets())

    def stored_packets(self) -> Iterator[StoredPacket]:
        """Yield the packets as iterating does, each with its place and size."""
        while stored := self._next():
            yield stored

    @property
    def position(self) -> int:
        """How many bytes of the stream lie before the next one to be read."""
        return self._source.start + self._source.taken

    def resume(self) -> bool:
        """Go on at the next intact intra frame; return False when there is none.

        Packets before it are left out. So that its time grows only with the size of the stream,
        salvage also gives up on streams made to keep it busy: when it has examined about
        SALVAGE_EFFORT times the bytes received, without success.
        """
        source = self._source
        self._damage, self._whole = None, False
        while self._has_effort_left() and source.find(SYNC_MARKER):
            try:
                self._found = self._read_frame(gap_allowed=True)
                return True
            except CorruptStream:
                self._wasted += source.taken + _FAILURE_BYTES
                source.skip_one()
        self._finished = True
        return False

    def index(self) -> Index:
        """Return the stream's index; scan the whole file where its end is cut off or damaged.

        Raises UnreadableInput when the stream comes from a pipe.
        """
        if not self._file.seekable():
            raise UnreadableInput(getattr(self._file, "name", "the stream"), "it cannot be sought")
        index = self._stored_index()
        return self._scanned_index() if index is None else index

    @property
    def total_frames(self) -> int | None:
        """The number of frames, from the end of a file or else the header; None where unknown."""
        index = self._stored_index() if self._file.seekable() else None
        return (self.header.total_frames or None) if index is None else index.frames

    def seek(self, pts: int) -> IndexEntry | None:
        """Go to the last intra frame at or before `pts`, else the first, and return its entry.

        Returns None, and stays, where the stream has no frame. Raises as `index` does.
        """
        entry = self.index().at_or_before(pts)
        if entry:
            self.go_to(entry)
        return entry

    def go_to(self, entry: IndexEntry) -> None:
        """Go to an intra frame of the index."""
        self._file.seek(self._base + entry.offset)
        self._begin(Source(self._file, entry.offset), entry.number)

    def _has_effort_left(self) -> bool:
        return self._wasted <= SALVAGE_EFFORT * (self._source.received + _FREE_BYTES)

    def _next(self) -> StoredPacket | None:
        if self._damage:
            raise self._damage
        if self._found:
            found, self._found = self._found, None
            return found
        if self._finished:
            return None
        self._source.release()
        try:
            return self._read_packet()
        except CorruptStream as error:
            self._wasted += self._source.taken + _FAILURE_BYTES
            self._damage = type(error)(f"packet at byte {self._source.start}: {error}")
            raise self._damage from None

    def _read_packet(self) -> StoredPacket | None:
        beginning = self._source.peek(len(PASSTHROUGH))
        if beginning == PASSTHROUGH:
            return self._read_passthrough()
        if beginning == INDEX:
            self._read_ending()
            return None
        return self._read_frame()

    def _read_passthrough(self) -> StoredPacket:
        source = self._source
        source.take(len(PASSTHROUGH))
        chunk = PassthroughChunk.read(source)
        source.verify()
        self._progress.index.add_passthrough(chunk.data)
        return StoredPacket(chunk, source.start, source.taken)

    def _read_ending(self) -> None:
        index, progress = read_ending(self._source), self._progress
        if index.frames != progress.number:
            raise CorruptStream(f"the stream has {progress.number} of {index.frames} frames")
        end = index[0].pts + index.duration if index.frames else None
        if end is not None and progress.pts <= end <= END_LIMIT:
            self.end = end
            if self._whole:
                progress.end_at(end)
        if self._whole and index != progress.index:
            raise CorruptStream("the index is not that of the stream")
        self._finished = True

    def _read_frame(self, gap_allowed: bool = False) -> StoredPacket:
        source, progress = self._source, self._progress
        fields = FrameFields.read(source, self.header, progress.choice, self._version)
        before = 0 if fields.place else progress.checksum
        checksum = source.verify(before, fields.checksum_size(self._version))
        packet, timing = self._frame(fields)
        if packet.number > progress.number and not gap_allowed:
            raise CorruptStream(f"frames {progress.number} to {packet.number - 1} are missing")
        if packet.number < progress.number or packet.pts < progress.pts:
            raise CorruptStream(f"frame {packet.number} comes after a later one")
        progress.step(packet, timing, checksum, source.start)
        return StoredPacket(packet, source.start, source.taken)

    def _frame(self, fields: FrameFields) -> tuple[Packet, TimingPoint]:
        progress = self._progress
        if fields.place:
            number, timing = fields.place.number, fields.place.timing
            pts = progress.expected_pts(number, timing)
        else:
            number = progress.number
            pts = progress.expected_pts(number, progress.timing) + fields.delay
            timing = TimingPoint(number, pts) if fields.delay else progress.timing
        head = fields.head
        try:
            return Packet(head.choice, fields.payload, head.parallel, pts, number), timing
        except InvalidSetting as error:
            raise CorruptStream(str(error)) from None

    def _stored_index(self) -> Index | None:
        with self._elsewhere():
            try:
                end = self._file.seek(0, SEEK_END) - END_SIZE
                self._file.seek(max(end, 0))
                start = end - read_end(Source(self._file))
                self._file.seek(max(start, self._base))
                return read_ending(Source(self._file))
            except CorruptStream:
                return None

    def _scanned_index(self) -> Index:
        with self._elsewhere():
            self._file.seek(self._base)
            scan = PacketReader(self._file)
            damaged = True
            while damaged:
                try:
                    for _ in scan:
                        pass
                    damaged = False
                except CorruptStream:
                    damaged = scan.resume()
            return scan._progress.index

    @contextmanager
    def _elsewhere(self) -> Iterator[None]:
        place = self._file.tell()
        try:
            yield
        finally:
            self._file.seek(place)
