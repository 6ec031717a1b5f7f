"""Pipes, whose reading a signal ends whenever it comes."""

from __future__ import annotations

import io
import sys
from select import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STANDARD = "-"  # standard input or output
SIGNAL_SECONDS = 0.2  # after which a signal is heeded at the latest


class PipeInput(io.FileIO):
    """A pipe that is read without a buffer.

    A signal that comes just before a blocking read would wait with it for the next bytes.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes, all of them by default, through `readinto`."""
        return io.RawIOBase.read(self, -1 if size is None else size) or b""

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """Read what is there, once something is."""
        while not select([self], [], [], SIGNAL_SECONDS)[0]:
            pass
        return super().readinto(buffer)


def standard_input() -> PipeInput:
    """Return standard input, to be opened once."""
    file = PipeInput(sys.stdin.fileno(), closefd=False)
    file.name = sys.stdin.name
    return file


class DemuxerInput:
    """A pipe as a demuxer reads it: what a signal raises ends it, and `heed` raises that.

    A demuxer may go on after an error of reading, as if there were none.
    """

    def __init__(self, pipe: PipeInput) -> None:
        self.name = pipe.name
        self._pipe = pipe
        self._raised: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end."""
        if self._raised is None:
            try:
                return self._pipe.read(size) or b""
            except BaseException as error:
                self._raised = error
        return b""

    def heed(self) -> None:
        """Raise what reading raised."""
        if self._raised is not None:
            raise self._raised

    def close(self) -> None:
        """Close the pipe; standard input stays open."""
        self._pipe.close()
