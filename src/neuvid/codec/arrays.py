"""Streams as arrays: `read` and `write`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from operator import index as whole_number
from pathlib import Path

from neuvid.bitstream.container import PacketReader
from neuvid.bitstream.index import Index
from neuvid.bitstream.packet import Packet
from neuvid.choice import DEFAULT_QUALITY
from neuvid.codec.clips import encode_clip
from neuvid.codec.decoder import MAX_PIXELS, Decoder
from neuvid.codec.files import StreamPath, open_stream
from neuvid.codec.headers import clip_of
from neuvid.codec.statistics import StreamStatistics
from neuvid.codec.streams import check_start, load_model_of, packet_at
from neuvid.errors import UnreadableInput
from neuvid.models.checkpoint import LoadedModel, load_model
from neuvid.models.presets import DEFAULT_MODEL
from neuvid.rate.controller import FixedQuality
from neuvid.video.arrays import ArraySource
from neuvid.video.frame import ClipInfo, Frame, frame_rate
from neuvid.video.inputs import STANDARD
from neuvid.video.reader import ClipReader
from neuvid.video.rgb import RgbArray, RgbConverter


def read(
    source: StreamPath,
    *,
    start: float | Fraction = 0,
    model: LoadedModel | str | Path | None = None,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
) -> Video:
    """Open a stream to read its frames.

        for frame in neuvid.read("x.nvid", start=2.0):
            show(frame.rgb())

    `source` is the path of a stream, a binary file, or "-" for standard input. The first frame is
    the one at `start` seconds into the stream or the next one. `model`, loaded or the file of its
    checkpoint, is needed where the stream's checkpoint does not come with neuvid; what is not
    loaded yet runs on `device`.

    Raises InvalidSetting, UnreadableInput, ModelMismatch and CorruptStream.
    """
    check_start(start)
    opened = _Stream(source)
    with opened.open() as reader:
        header = reader.header
        first = packet_at(reader, start, lambda: reader).number if start else 0
        index = reader.index() if opened.is_file else None
    if not isinstance(model, LoadedModel):
        model = load_model_of(header, model, device=device)
    with Decoder(model, header, max_pixels=max_pixels):
        pass  # the model and the size are checked at once
    return Video(opened, clip_of(header), model, index, first, max_pixels)


def write(
    target: StreamPath,
    frames: Iterable[RgbArray],
    *,
    fps: float | Fraction,
    quality: float = DEFAULT_QUALITY,
    model: LoadedModel | str | Path = DEFAULT_MODEL,
    device: str = "cpu",
) -> StreamStatistics:
    """Encode RGB arrays to a stream, as `encode_clip` does, at a quality of 0 to 63.

        neuvid.write("x.nvid", frames, fps=25)

    `frames` are uint8 [H, W, 3], all of one size, taken one by one; `fps` is a number of frames
    per second. `model`, loaded, a preset or the file of a checkpoint, runs on `device`.

    Raises InvalidSetting, also for frames of another shape or type, UnreadableInput where there
    are none, and UnwritableOutput.
    """
    control = FixedQuality(quality)
    count = len(frames) if isinstance(frames, Sized) else None
    source = ArraySource(frames, frame_rate(fps), count)
    if not isinstance(model, LoadedModel):
        model = load_model(model, device=device)
    with ClipReader(source, Fraction(0), None) as clip:
        return encode_clip(clip, target, model=model, control=control)


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame(Frame):
    """A frame that was read: its `planes`, its `pts` and what they mean."""

    info: ClipInfo
    converter: RgbConverter

    @property
    def seconds(self) -> float:
        """When the frame is shown, in seconds from the first frame of the stream."""
        return float((self.pts - self.info.start) * self.info.time_base)

    def rgb(self) -> RgbArray:
        """Return the picture as uint8 [H, W, 3], turned and mirrored as a player shows it."""
        return self.converter.array(self)


class Video:
    """The frames of a stream, from `neuvid.read`; iterate it, or take frames by their index.

    Iterating decodes one frame after the other, each time anew; a pipe can be read once. Where the
    stream is a file, `len` tells the number of frames, and an index from 0 (or from the end, below
    0) gives a frame: decoding begins at the intra frame before it, or goes on from the last one
    that was taken. `info` describes the clip.

    Raises CorruptStream and Desynchronised at damage.
    """

    def __init__(
        self,
        stream: _Stream,
        info: ClipInfo,
        model: LoadedModel,
        index: Index | None,
        first: int,
        max_pixels: int,
    ) -> None:
        self.info = info
        self._stream = stream
        self._model = model
        self._index = index
        self._first = first
        self._max_pixels = max_pixels
        self._converter = RgbConverter(info)
        self._ahead: Iterator[VideoFrame] = iter(())  # the frames from `_next` on
        self._next = -1

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield the frames in order."""
        return self._frames(self._first)

    def __len__(self) -> int:
        """Return the number of frames; raise TypeError for a pipe."""
        if self._index is None:
            raise TypeError("a pipe does not tell its number of frames")
        return self._index.frames - self._first

    def __getitem__(self, index: int) -> VideoFrame:
        """Return a frame; raise IndexError where there is none, and TypeError for a pipe."""
        count, place = len(self), whole_number(index)
        if not -count <= place < count:
            raise IndexError(f"frame {place} of {count}")
        number = self._first + place % count
        if not self._is_near(number):
            self._ahead, self._next = self._frames(number), number
        for frame in self._ahead:
            self._next += 1
            if self._next > number:
                return frame
        raise IndexError(f"frame {place} is missing")

    def _is_near(self, number: int) -> bool:
        """Say whether going on is no longer than beginning at the intra frame before."""
        intra = self._index.before(number) if self._index else None
        return self._next <= number and (intra is None or intra.number <= self._next)

    def _frames(self, first: int) -> Iterator[VideoFrame]:
        with (
            self._stream.open() as reader,
            Decoder(self._model, reader.header, max_pixels=self._max_pixels) as decoder,
        ):
            number = 0
            if self._index and (intra := self._index.before(first)):
                reader.go_to(intra)
                number = intra.number
            for frame in _decoded(reader, decoder):
                if number >= first:
                    yield VideoFrame(frame.planes, frame.pts, self.info, self._converter)
                number += 1


class _Stream:
    """A stream that is opened again and again where it is a file, and once where it is a pipe."""

    def __init__(self, source: StreamPath) -> None:
        self._source = source
        self._pipe: ExitStack | None = None
        self._reader: PacketReader | None = None  # of the pipe
        if isinstance(source, str | Path):
            self.is_file = source != STANDARD and Path(source).is_file()
        else:
            self.is_file = source.seekable()
            self._start = source.tell() if self.is_file else 0

    @contextmanager
    def open(self) -> Iterator[PacketReader]:
        """Read from the start, or on from where the pipe stands."""
        if self.is_file:
            if not isinstance(self._source, str | Path):
                self._source.seek(self._start)
            with open_stream(self._source) as reader:
                yield reader
        elif self._pipe is None:
            self._pipe = ExitStack()
            self._reader = self._pipe.enter_context(open_stream(self._source))
            yield self._reader
        elif self._reader:
            reader, self._reader = self._reader, None
            with self._pipe:
                yield reader
        else:
            raise UnreadableInput(self._source, "a pipe can be read once")


def _decoded(reader: PacketReader, decoder: Decoder) -> Iterator[Frame]:
    for packet in reader:
        if isinstance(packet, Packet):
            yield from decoder.decode(packet)
    yield from decoder.flush()
