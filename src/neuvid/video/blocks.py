"""Fields of the blocks that carry sound, subtitles and tags."""

from __future__ import annotations

from neuvid.errors import CorruptStream


class BlockFields:
    """Reads fields off bytes; raises CorruptStream at their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def left(self) -> int:
        """Bytes that are not taken yet."""
        return len(self._data) - self._place

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if count > self.left:
            raise CorruptStream("a field of the sound and subtitles is cut off")
        self._place += count
        return self._data[self._place - count : self._place]

    def rest(self) -> bytes:
        """Return what is left, and leave it in place."""
        return self._data[self._place :]

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def varint(self) -> int:
        """Return what `varint` wrote."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise CorruptStream("a number in the sound and subtitles is too long")

    def signed(self) -> int:
        """Return what `signed` wrote."""
        folded = self.varint()
        return folded // 2 if folded % 2 == 0 else -(folded + 1) // 2

    def blob(self) -> bytes:
        """Return what `blob` wrote."""
        return self.take(self.varint())

    def text(self) -> str:
        """Return a blob as text; what is no UTF-8 is replaced."""
        return self.blob().decode(errors="replace")


def varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the top bit says that more follow."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    """The varint of 2v for v >= 0, and of -2v - 1 for v < 0."""
    return varint(2 * value if value >= 0 else -2 * value - 1)


def blob(data: bytes) -> bytes:
    """A varint that counts the bytes, then the bytes."""
    return varint(len(data)) + data
