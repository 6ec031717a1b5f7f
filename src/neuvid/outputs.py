"""Files and folders that are written.

They are written under another name beside the target and renamed when they are whole, so that a
failure leaves nothing behind. What is no file, a pipe or a device, is written to as it is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EISDIR
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, Protocol

from neuvid.errors import UnwritableOutput

DESCRIPTORS = ("/dev/std", "/dev/fd/", "/proc/self/fd/")  # beginnings of names of open files


class OutputFile(Protocol):
    """An open file and what becomes of it."""

    file: BinaryIO

    def commit(self) -> None:
        """Give the file its name, or bring its bytes on their way."""

    def discard(self) -> None:
        """Remove the file."""


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Turn failures of writing into UnwritableOutput."""
    try:
        yield
    except FileNotFoundError as error:
        raise UnwritableOutput(name, "its folder does not exist") from error
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnwritableOutput(name, reason) from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a file whose content is on the disk when it takes the place of `path`.

    Either the old or the new content survives any interruption. Raises UnwritableOutput, for
    failures in the block, too.
    """
    with writing(str(path)), creating(path) as file:
        yield file
        file.flush()
        if not is_written_through(path):
            os.fsync(file.fileno())


@contextmanager
def creating(path: Path) -> Iterator[BinaryIO]:
    """Give a file that takes the place of `path` when the block is left.

    After an exception nothing is left of it. A pipe or a device is written to. Raises
    UnwritableOutput.
    """
    with writing(str(path)):
        output = open_output(path)
    try:
        yield output.file
        with writing(str(path)):
            output.commit()
    except BaseException:
        output.discard()
        raise


def is_written_through(path: Path) -> bool:
    """Say whether bytes go out at once: to a pipe, a device or a file that is open already."""
    is_other = path.exists() and not (path.is_file() or path.is_dir())
    return is_other or str(path).startswith(DESCRIPTORS)


def open_output(path: Path) -> OutputFile:
    """Open a file to write; raise OSError where that is not allowed."""
    if is_written_through(path):
        return GivenFile(path.open("wb"), owned=True)
    return StagedFile(path)


class StagedFile:
    """A file beside `target` that takes its name, and its permissions, when it is whole.

    A symbolic link stays one: what it points to is replaced.
    """

    def __init__(self, target: Path) -> None:
        self._target = Path(os.path.realpath(target))
        if self._target.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(target))
        if self._target.exists() and not os.access(self._target, os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES), str(target))
        self._path = _beside(self._target)
        # named after the target, for errors that tell the file's name
        self.file: BinaryIO = open(  # noqa: SIM115
            target, "wb", opener=lambda _, flags: os.open(self._path, flags, 0o666)
        )

    def commit(self) -> None:
        """Close the file and give it its name."""
        self.file.close()
        with suppress(FileNotFoundError):
            shutil.copymode(self._target, self._path)
        self._path.replace(self._target)

    def discard(self) -> None:
        """Close and remove the file."""
        with suppress(OSError):
            self.file.close()
        self._path.unlink(missing_ok=True)


class GivenFile:
    """A pipe, a device, or a file of the caller, which is closed only if it is `owned`."""

    def __init__(self, file: BinaryIO, *, owned: bool = False) -> None:
        self.file = file
        self._owned = owned

    def commit(self) -> None:
        """Bring the bytes on their way."""
        self.file.flush()
        if self._owned:
            self.file.close()

    def discard(self) -> None:
        """Let the file go: what is in a pipe cannot be taken back."""
        if self._owned:
            with suppress(OSError):
                self.file.close()


class OutputFolder:
    """A folder beside `target`, absent or empty, that takes its place when it is whole."""

    def __init__(self, target: Path) -> None:
        if target.exists() and any(target.iterdir()):
            raise UnwritableOutput(target, "the folder is not empty")
        self._target = Path(os.path.realpath(target))
        self.path = _beside(self._target)
        self.path.mkdir()

    def commit(self) -> None:
        """Give the folder its name."""
        with suppress(FileNotFoundError):
            shutil.copymode(self._target, self.path)
            self._target.rmdir()
        self.path.rename(self._target)

    def discard(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def _beside(target: Path) -> Path:
    """Return a name that is free, and short whatever the target's."""
    return target.with_name(f".neuvid-{token_hex(6)}.part")
