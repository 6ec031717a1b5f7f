"""Fields of the bitstream: each is declared once, and its reader and writer follow from that.

A `Record` is a frozen dataclass whose fields are declared as `name: Annotated[type, codec]`.
Their order is the order of their bytes. Numbers are big-endian.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, Protocol, Self, TypeVar, get_type_hints

from neuvid.errors import CorruptStream, InvalidSetting

T = TypeVar("T")


class ByteSource(Protocol):
    """Bytes that are taken from the front."""

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes; raise CorruptStream when there are fewer."""

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes and leave them in place; raise as `take` does."""


class Cursor:
    """A ByteSource over the bytes of one record."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes; raise CorruptStream when there are fewer."""
        start, self._position = self._position, self._position + count
        if self._position > len(self._data):
            raise CorruptStream("a field runs past the end of its record")
        return self._data[start : self._position]

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes and leave them in place; raise as `take` does."""
        data = self.take(count)
        self._position -= count
        return data

    def end(self) -> None:
        """Raise CorruptStream when bytes are left."""
        if self._position != len(self._data):
            raise CorruptStream("a record has bytes after its last field")


def write_varint(value: int) -> bytes:
    """Return `value`, 0..2^64-1, in 1 to 9 bytes: k leading one-bits announce k more bytes."""
    more = min(max(value.bit_length() - 1, 0) // 7, 8)
    prefix = 0xFF00 >> more & 0xFF
    return (prefix << 8 * more | value).to_bytes(1 + more, "big")


def read_varint(source: ByteSource) -> int:
    """Return what `write_varint` wrote; raise CorruptStream when it is not the shortest form."""
    first = source.take(1)[0]
    more = 8 - (first ^ 0xFF).bit_length()
    value = (first & 0x7F >> more) << 8 * more | int.from_bytes(source.take(more), "big")
    if more and not value >> 7 * more:
        raise CorruptStream(f"number {value} is not in its shortest form")
    return value


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How one field is checked, written and read.

    `expected` names the allowed values, and `allows` tests for them. `write` takes an allowed
    value; `read` may return one that is not allowed, and raises CorruptStream where the bytes
    stand for nothing.
    """

    expected: str
    allows: Callable[[T], bool]
    write: Callable[[T], bytes]
    read: Callable[[ByteSource], T]


def whole(minimum: int = 0, maximum: int = (1 << 64) - 1) -> Codec[int]:
    """A whole number as a varint."""
    expected = f"{minimum}..{maximum}"
    return Codec(expected, lambda value: minimum <= value <= maximum, write_varint, read_varint)


def signed(limit: int) -> Codec[int]:
    """A number in `-limit`..`limit`: 0, -1, 1, -2, 2, ... are the varints of 0, 1, 2, 3, 4, ..."""

    def write(value: int) -> bytes:
        return write_varint(2 * value if value >= 0 else -2 * value - 1)

    def read(source: ByteSource) -> int:
        folded = read_varint(source)
        return -(folded + 1 >> 1) if folded & 1 else folded >> 1

    return Codec(f"{-limit}..{limit}", lambda value: abs(value) <= limit, write, read)


def fixed(size: int, maximum: int | None = None) -> Codec[int]:
    """A whole number in `size` bytes."""
    top = (1 << 8 * size) - 1 if maximum is None else maximum
    return Codec(
        f"0..{top}",
        lambda value: 0 <= value <= top,
        lambda value: value.to_bytes(size, "big"),
        lambda source: int.from_bytes(source.take(size), "big"),
    )


CHECKSUM_SIZE = 4  # bytes
CHECKSUM = fixed(CHECKSUM_SIZE)  # a CRC-32


def ratio(maximum: int = (1 << 31) - 1) -> Codec[Fraction]:
    """A positive fraction in lowest terms: numerator and denominator as varints."""

    def allows(value: Fraction) -> bool:
        return 1 <= value.numerator <= maximum and value.denominator <= maximum

    def write(value: Fraction) -> bytes:
        return write_varint(value.numerator) + write_varint(value.denominator)

    def read(source: ByteSource) -> Fraction:
        numerator, denominator = read_varint(source), read_varint(source)
        if not denominator or Fraction(numerator, denominator).denominator != denominator:
            raise CorruptStream(f"{numerator}/{denominator} is not a fraction in lowest terms")
        return Fraction(numerator, denominator)

    return Codec(f"a fraction of two numbers in 1..{maximum}", allows, write, read)


def blob(minimum: int, maximum: int) -> Codec[bytes]:
    """Any `minimum`..`maximum` bytes after a varint that counts them."""
    expected = f"{minimum}..{maximum} bytes"

    def write(value: bytes) -> bytes:
        return write_varint(len(value)) + value

    def read(source: ByteSource) -> bytes:
        length = read_varint(source)
        if not minimum <= length <= maximum:
            raise CorruptStream(f"a length is {length}; allowed is {expected}")
        return source.take(length)

    return Codec(expected, lambda value: minimum <= len(value) <= maximum, write, read)


def text(maximum: int) -> Codec[str]:
    """A text of 1..`maximum` bytes of UTF-8 after a varint that counts them."""
    data = blob(1, maximum)

    def allows(value: str) -> bool:
        try:
            return data.allows(value.encode())
        except UnicodeEncodeError:
            return False

    def read(source: ByteSource) -> str:
        try:
            return data.read(source).decode()
        except UnicodeDecodeError:
            raise CorruptStream("a text is not UTF-8") from None

    return Codec(
        f"{data.expected} of UTF-8", allows, lambda value: data.write(value.encode()), read
    )


def octets(size: int) -> Codec[bytes]:
    """Exactly `size` bytes, as they are."""
    return Codec(
        f"{size} bytes", lambda value: len(value) == size, bytes, lambda source: source.take(size)
    )


def optional_octets(size: int) -> Codec[bytes]:
    """No bytes or exactly `size`, after a varint that counts them."""
    data = blob(0, size)
    return Codec(f"0 or {size} bytes", lambda value: len(value) in (0, size), data.write, data.read)


def one_of(*names: str) -> Codec[str]:
    """One of `names`, as its place among them in one byte."""

    def read(source: ByteSource) -> str:
        place = source.take(1)[0]
        if place >= len(names):
            raise CorruptStream(f"byte {place} stands for none of {', '.join(names)}")
        return names[place]

    return Codec(
        "one of " + ", ".join(names),
        lambda value: value in names,
        lambda value: bytes([names.index(value)]),
        read,
    )


_Layout = tuple[tuple[str, type, Codec[Any]], ...]  # name, type and codec of each field
_layouts: dict[type, _Layout] = {}  # read off each class once


def _layout(record: type) -> _Layout:
    if record not in _layouts:
        hints = get_type_hints(record, include_extras=True).items()
        _layouts[record] = tuple((name, h.__origin__, h.__metadata__[0]) for name, h in hints)
    return _layouts[record]


class Record:
    """Base of dataclasses whose fields are declared as `name: Annotated[type, codec]`.

    Building one raises InvalidSetting when a field is out of range; reading one raises
    CorruptStream instead.
    """

    __slots__ = ()

    def __post_init__(self) -> None:
        for name, kind, codec in _layout(type(self)):
            value = getattr(self, name)
            if not isinstance(value, kind) or not codec.allows(value):
                raise InvalidSetting(name, got=value, expected=codec.expected)

    def to_bytes(self) -> bytes:
        """Return the bytes of all fields, in order."""
        layout = _layout(type(self))
        return b"".join(codec.write(getattr(self, name)) for name, _, codec in layout)

    @classmethod
    def read(cls, source: ByteSource, absent: Collection[str] = ()) -> Self:
        """Read all fields but those that are absent, in order.

        Raises CorruptStream when one is out of range.
        """
        layout = _layout(cls)
        values = {name: codec.read(source) for name, _, codec in layout if name not in absent}
        try:
            return cls(**values)
        except InvalidSetting as error:
            raise CorruptStream(str(error)) from None
