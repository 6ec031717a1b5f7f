"""Bytes of a file or pipe, read in bounded pieces, so that no length field is ever trusted."""

from __future__ import annotations

from typing import BinaryIO
from zlib import crc32

from neuvid.bitstream.fields import CHECKSUM, CHECKSUM_SIZE
from neuvid.errors import CorruptStream, Truncated, UnreadableInput

_PIECE = 1 << 16  # bytes asked for at once


class Source:
    """A ByteSource over a file or pipe, from where it stands; `start` is what that place is called.

    The bytes since the last `release` stay in memory, so that a failed reading can go back.
    Nothing beyond the bytes that are really there is held, whatever a length field says, and
    nothing is waited for beyond the bytes that were asked for.
    """

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        self._file = file
        # `read1` returns what a pipe has; `read` of a buffered file would wait for a whole piece.
        self._read = getattr(file, "read1", file.read)
        self._held = bytearray()  # from `start` on
        self._taken = 0  # how many of the held bytes were taken
        self.start = start  # place of the first held byte
        self.received = 0  # bytes read from the file

    @property
    def taken(self) -> int:
        """Bytes taken since the last release."""
        return self._taken

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes; raise Truncated when there are fewer."""
        begin, end = self._taken, self._taken + count
        while len(self._held) < end:
            if not self._receive():
                where = self.start + len(self._held)
                raise Truncated(f"the stream ends at byte {where}, inside or before a packet")
        self._taken = end
        return bytes(self._held[begin:end])

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes and leave them in place; raise as `take` does."""
        data = self.take(count)
        self._taken -= count
        return data

    def at_end(self) -> bool:
        """Say whether no byte is left; wait for one on a pipe that is still open."""
        return self._taken == len(self._held) and not self._receive()

    def verify(self, before: int = 0, size: int = CHECKSUM_SIZE) -> int:
        """Take the last `size` bytes of a checksum; raise CorruptStream unless they fit.

        Returns the whole: the CRC-32, continued from `before`, of the bytes taken since the last
        release.
        """
        with memoryview(self._held) as held, held[: self._taken] as taken:
            checksum = crc32(taken, before)
        if self.take(size) != CHECKSUM.write(checksum)[-size:]:
            raise CorruptStream("a checksum does not match")
        return checksum

    def release(self) -> None:
        """Forget the bytes that were taken."""
        self._drop(self._taken)

    def skip_one(self) -> None:
        """Go back to the last release, and release one byte."""
        self._drop(1)

    def find(self, pattern: bytes) -> bool:
        """Go back to the last release and on to the next `pattern`; False where there is none."""
        while (place := self._held.find(pattern)) < 0:
            self._drop(max(len(self._held) - len(pattern) + 1, 0))
            if not self._receive():
                return False
        self._drop(place)
        return True

    def _drop(self, count: int) -> None:
        del self._held[:count]
        self.start += count
        self._taken = 0

    def _receive(self) -> bool:
        try:
            piece = self._read(_PIECE)
        except OSError as error:
            name, reason = getattr(self._file, "name", "the stream"), error.strerror or str(error)
            raise UnreadableInput(name, reason) from error
        self._held += piece
        self.received += len(piece)
        return bool(piece)
