"""Streams as files and pipes."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from neuvid.bitstream.container import PacketReader
from neuvid.errors import CorruptStream, Desynchronised, ModelMismatch, UnreadableInput
from neuvid.outputs import creating
from neuvid.video.inputs import STANDARD, standard_input

StreamPath: TypeAlias = str | Path | BinaryIO  # "-" is standard input or output


@contextmanager
def open_stream(source: StreamPath) -> Iterator[PacketReader]:
    """Open a stream to read: the path of a file, "-" for standard input, or a binary file.

    Raises UnreadableInput and CorruptStream. Errors of the stream that leave the block are given
    its name.
    """
    file = _open_file(source)
    name = "standard input" if source == STANDARD else getattr(file, "name", "the stream")
    try:
        yield PacketReader(file)
    except (CorruptStream, Desynchronised, ModelMismatch) as error:
        raise type(error)(f"{name}: {error}") from error
    finally:
        if isinstance(source, str | Path) and source != STANDARD:
            file.close()


@contextmanager
def create_stream(target: StreamPath) -> Iterator[BinaryIO]:
    """Create a file for a stream: a path, "-" for standard output, or a binary file as it is.

    A file that exists is replaced when the block is left; after an exception nothing is left. A
    pipe or a device is written to. Raises UnwritableOutput.
    """
    if target == STANDARD:
        yield sys.stdout.buffer
        return
    if not isinstance(target, str | Path):
        yield target
        return
    with creating(Path(target)) as file:
        yield file


def _open_file(source: StreamPath) -> BinaryIO:
    if source == STANDARD:
        return io.BufferedReader(standard_input())
    if not isinstance(source, str | Path):
        return source
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise UnreadableInput(source, error.strerror or str(error)) from error
