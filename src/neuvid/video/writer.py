"""The writing end of a clip."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import av

from neuvid.errors import InvalidSetting, UnwritableOutput
from neuvid.outputs import writing
from neuvid.video.frame import ClipInfo, Frame, plane_shapes
from neuvid.video.sinks import Sink


class ClipWriter:
    """Writes the frames of a clip. A context manager: leaving it finishes the output.

    Leaving it by an exception leaves no output behind. `frames_written` counts frames; `notes`
    says in words what the output cannot hold. `end` is when the last frame ends, in the clip's
    pts; None, as at the start, is a frame's usual duration after it. Raises UnwritableOutput.
    """

    def __init__(self, name: str, sink: Sink, info: ClipInfo) -> None:
        self.info = info
        self.frames_written = 0
        self.end: int | None = None
        self._name = name
        self._sink = sink
        self._shapes = plane_shapes(info.size, info.pixel_format)

    @property
    def notes(self) -> list[str]:
        """What the output cannot hold, one sentence each."""
        return self._sink.notes

    def write(self, frame: Frame) -> None:
        """Write the next frame; raise InvalidSetting where its planes do not fit the clip."""
        shapes = tuple(plane.shape for plane in frame.planes)
        if shapes != self._shapes:
            raise InvalidSetting("frame planes", got=shapes, expected=f"{self._shapes}")
        with muxing(self._name):
            self._sink.write(frame)
        self.frames_written += 1

    def write_passthrough(self, data: bytes) -> None:
        """Write the next bytes of sound and subtitles, from `ClipReader.passthrough_chunks`.

        The first of them must come before the first frame. Raises CorruptStream where they are
        damaged.
        """
        with muxing(self._name):
            self._sink.write_passthrough(data)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the output, or remove it after an exception."""
        if error is not None:
            self._sink.discard()
            return
        try:
            with muxing(self._name):
                self._sink.finish(self.end)
        except BaseException:
            self._sink.discard()
            raise


@contextmanager
def muxing(name: str) -> Iterator[None]:
    """Turn failures of writing, FFmpeg's among them, into UnwritableOutput."""
    with writing(name):
        try:
            yield
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise UnwritableOutput(name, error.strerror or str(error)) from error
