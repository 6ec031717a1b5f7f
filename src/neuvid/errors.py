"""Every error that neuvid raises on purpose.

NeuvidError
├── InvalidSetting      a setting is outside what is allowed
├── UnreadableInput     a file or pipe cannot be read as what it should be
├── UnwritableOutput    a file or pipe cannot be written
├── CorruptStream       bytes that no neuvid encoder wrote
│   ├── Truncated       the bytes end too early
│   └── UnknownVersion  a bitstream version that this neuvid does not know
├── ModelMismatch       the stream was written with another checkpoint or arithmetic
└── Desynchronised      the decoder's state parted from the encoder's
"""

from __future__ import annotations


class NeuvidError(Exception):
    """Base of all errors that neuvid raises on purpose; its text is one line for people."""


class InvalidSetting(NeuvidError):
    """A setting is outside what is allowed."""

    def __init__(self, field: str, *, got: object, expected: str) -> None:
        super().__init__(f"{field} is {got!r}; allowed is {expected}")
        self.field = field
        self.got = got
        self.expected = expected


class UnreadableInput(NeuvidError):
    """A file or pipe cannot be read as what it should be."""

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(f"cannot read {name}: {reason}")


class UnwritableOutput(NeuvidError):
    """A file or pipe cannot be written."""

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(f"cannot write {name}: {reason}")


class CorruptStream(NeuvidError):
    """Bytes that no neuvid encoder wrote, or that were damaged later."""


class Truncated(CorruptStream):
    """The bytes end before the stream does."""


class UnknownVersion(CorruptStream):
    """The bitstream version is not one that this neuvid knows."""


class ModelMismatch(NeuvidError):
    """The stream was written with another checkpoint or arithmetic than the one at hand."""


class Desynchronised(NeuvidError):
    """The decoder's state parted from the encoder's, so what follows cannot be decoded."""
