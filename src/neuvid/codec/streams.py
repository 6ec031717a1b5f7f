"""Streams to clips: packets are read and decoded, and frames written with their sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import takewhile
from math import ceil, isfinite
from pathlib import Path

from neuvid.bitstream.container import PacketReader
from neuvid.bitstream.packet import Packet, PassthroughChunk, StreamHeader
from neuvid.codec.clips import ProgressCallback
from neuvid.codec.decoder import MAX_PIXELS, Decoder
from neuvid.codec.files import StreamPath, open_stream
from neuvid.codec.statistics import StreamStatistics, Tally
from neuvid.errors import (
    CorruptStream,
    Desynchronised,
    InvalidSetting,
    ModelMismatch,
)
from neuvid.models.checkpoint import Arithmetic, LoadedModel, load_model, shipped_weights
from neuvid.models.presets import PRESETS
from neuvid.video.clip import ClipPath, create_clip
from neuvid.video.frame import Frame
from neuvid.video.writer import ClipWriter

SOUND_PREROLL = 10  # seconds before a frame in which a subtitle that is still shown may begin
ROUNDING = Fraction(1, 1000)  # ticks that a start time in seconds may be off


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeReport:
    """What `decode_stream` did.

    `statistics` counts what was read and decoded; the output has `written_frames`. Of a damaged
    stream, `lost_frames` are missing and `damage` tells of the first place; it is None where the
    stream is whole. `notes` says in words what the output cannot hold.
    """

    statistics: StreamStatistics
    written_frames: int
    lost_frames: int
    damage: str | None
    notes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify_stream` found intact; `undecoded` says why nothing was decoded, else None."""

    statistics: StreamStatistics
    undecoded: str | None


def decode_stream(
    source: StreamPath,
    target: ClipPath,
    *,
    model: LoadedModel | str | Path | None = None,
    device: str = "cpu",
    start: float | Fraction = 0,
    keep_going: bool = False,
    max_pixels: int = MAX_PIXELS,
    progress: ProgressCallback | None = None,
) -> DecodeReport:
    """Decode a stream with its sound to a clip; `open_stream` and `create_clip` name the ends.

    `model`, loaded or the file of its checkpoint, is needed where the stream's checkpoint does
    not come with neuvid; what is not loaded yet runs on `device`. The first frame written is the
    one at `start` seconds into the stream or the next one; times are then counted from it.

    Damage raises CorruptStream or Desynchronised and leaves no output. With `keep_going`, all
    intact frames before it are written, and what follows from the next intact intra frame on.
    Memory does not grow with the length.

    Raises InvalidSetting, UnreadableInput, UnwritableOutput, ModelMismatch and CorruptStream.
    """
    check_start(start)
    damage = _Damage(keep_going)
    with (
        open_stream(source) as reader,
        _open_decoder(reader.header, model, device, max_pixels) as decoder,
    ):
        decoding = _Decoding(reader, decoder, damage)
        cut = decoding.seek(start) if start else None
        info = replace(decoder.clip, start=0, frame_count=None) if cut else decoder.clip
        with create_clip(target, info, sound_start=cut.seconds if cut else Fraction(0)) as writer:
            output = _Output(writer, cut, damage)
            for item in decoding:
                output.write(item)
                if progress:
                    progress(decoding.statistics())
            writer.end = decoding.end
            if not writer.frames_written:
                raise CorruptStream(damage.first or "the stream has no frame")
        return DecodeReport(
            statistics=decoding.statistics(),
            written_frames=writer.frames_written,
            lost_frames=decoding.lost_frames,
            damage=damage.first,
            notes=writer.notes,
        )


def verify_stream(
    source: StreamPath,
    *,
    model: LoadedModel | str | Path | None = None,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    progress: ProgressCallback | None = None,
) -> VerifyReport:
    """Check all of a stream and decode it, with nothing written.

    Where no `model` is given and the stream's checkpoint does not come with neuvid, only the
    checksums and the order of the packets are checked.

    Raises as `decode_stream` does: the first problem.
    """
    with open_stream(source) as reader:
        try:
            decoder = _open_decoder(reader.header, model, device, max_pixels)
        except ModelMismatch as error:
            if model:
                raise
            return VerifyReport(statistics=_check(reader), undecoded=str(error))
        with decoder:
            decoding = _Decoding(reader, decoder, _Damage(keep_going=False))
            for _ in decoding:
                if progress:
                    progress(decoding.statistics())
            return VerifyReport(statistics=decoding.statistics(), undecoded=None)


def check_start(start: float | Fraction) -> None:
    """Raise InvalidSetting unless a start is 0 seconds or more."""
    if not (isfinite(start) and start >= 0):
        raise InvalidSetting("start", got=start, expected="0 or more seconds")


def packet_at(
    reader: PacketReader,
    start: float | Fraction,
    packets: Callable[[], Iterable[Packet | PassthroughChunk]],
) -> Packet:
    """Return the packet of the frame at `start` seconds into a file, or of the next one.

    `packets` reads on from where the reader stands. Raises InvalidSetting where no frame is.
    """
    header = reader.header
    target = header.first_pts + ceil(Fraction(start) / header.time_base - ROUNDING)
    if reader.seek(target):
        for packet in packets():
            if isinstance(packet, Packet) and packet.pts >= target:
                return packet
    seconds = float(reader.index().duration * header.time_base)
    raise InvalidSetting("start", got=start, expected=f"0 to below {seconds:g} seconds")


def load_model_of(
    header: StreamHeader, name: str | Path | None = None, *, device: str = "cpu"
) -> LoadedModel:
    """Load the checkpoint that a stream was written with, ready for the stream's arithmetic.

    `name` is the checkpoint's file, None for a checkpoint that comes with neuvid. Raises
    ModelMismatch where it does not, or where the stream needs an arithmetic unknown here; and as
    `load_model` does.
    """
    try:
        arithmetic = Arithmetic(header.arithmetic)
    except ValueError:
        raise ModelMismatch(f"it needs {header.arithmetic} arithmetic, unknown here") from None
    if name is None and (header.model not in PRESETS or not shipped_weights(header.model)):
        raise ModelMismatch(
            f"it was written with checkpoint {header.checkpoint.hex()[:8]} of "
            f"{header.model!r}, which does not come with neuvid: its file is needed"
        )
    return load_model(name or header.model, device=device, arithmetic=arithmetic)


def _open_decoder(
    header: StreamHeader, model: LoadedModel | str | Path | None, device: str, max_pixels: int
) -> Decoder:
    if not isinstance(model, LoadedModel):
        model = load_model_of(header, model, device=device)
    return Decoder(model, header, max_pixels=max_pixels)


def _check(reader: PacketReader) -> StreamStatistics:
    tally = Tally(reader.header, reader.total_frames)
    for packet in reader:
        tally.add(packet)
    tally.end = reader.end
    return tally.statistics(reader.position)


class _Damage:
    """What is done about damage: raise it, or remember the first and go on."""

    def __init__(self, keep_going: bool) -> None:
        self.first: str | None = None
        self._keep_going = keep_going

    def meet(self, error: CorruptStream | Desynchronised) -> None:
        if not self._keep_going:
            raise error
        self.first = self.first or str(error)


@dataclass(frozen=True, slots=True)
class _Cut:
    """The time of the first frame that is written."""

    first_pts: int
    seconds: Fraction


class _Decoding:
    """The frames of a stream and the bytes of its sound, in their order; iterate it once."""

    def __init__(self, reader: PacketReader, decoder: Decoder, damage: _Damage) -> None:
        self.lost_frames = 0
        self._reader = reader
        self._decoder = decoder
        self._damage = damage
        self._cut: _Cut | None = None
        self._total = reader.total_frames
        self._head: list[bytes] = []  # sound from before the place that was sought
        self._begin(0, first_byte=0)

    def seek(self, start: float | Fraction) -> _Cut:
        """Go to where decoding must begin for the frame at `start` seconds."""
        time_base = self._reader.header.time_base
        head = takewhile(lambda packet: isinstance(packet, PassthroughChunk), self._packets())
        self._head = [chunk.data for chunk in head if isinstance(chunk, PassthroughChunk)]
        first = packet_at(self._reader, start, self._packets)
        intra = self._reader.index().before(first.number)
        if intra:
            self._reader.seek(intra.pts - round(SOUND_PREROLL / time_base))
            self._begin(intra.number, first_byte=self._reader.position)
        self._cut = _Cut(first.pts, first.pts * time_base)
        return self._cut

    @property
    def end(self) -> int | None:
        """When the last frame ends, counted from the cut if there is one; None where unknown."""
        end, cut = self._reader.end, self._cut
        return end - cut.first_pts if end is not None and cut else end

    def statistics(self) -> StreamStatistics:
        """Return what was decoded so far."""
        self._tally.end = self._reader.end
        return self._tally.statistics(self._reader.position - self._first_byte)

    def __iter__(self) -> Iterator[Frame | bytes]:
        yield from self._head
        for packet in self._packets():
            if isinstance(packet, PassthroughChunk):
                self._tally.add(packet)
                yield packet.data
            elif packet.number >= self._next_number:
                yield from self._decode(packet)
        yield from self._decoder.flush()
        if self._damage.first and self._total:
            self.lost_frames += max(0, self._total - self._next_number)

    def _begin(self, number: int, first_byte: int) -> None:
        left = None if self._total is None else self._total - number
        self._next_number = number
        self._first_byte = first_byte
        self._tally = Tally(self._reader.header, left)

    def _packets(self) -> Iterator[Packet | PassthroughChunk]:
        """Yield what is intact."""
        go_on = True
        while go_on:
            try:
                yield from self._reader
                go_on = False
            except CorruptStream as error:
                self._damage.meet(error)
                go_on = self._reader.resume()

    def _decode(self, packet: Packet) -> list[Frame]:
        try:
            frames = self._decoder.decode(packet)
        except (CorruptStream, Desynchronised) as error:
            self._damage.meet(error)
            return []
        self.lost_frames += packet.number - self._next_number
        self._next_number = packet.number + 1
        self._tally.add(packet)
        return frames


class _Output:
    """Writes frames and sound, from the first frame of a cut on."""

    def __init__(self, writer: ClipWriter, cut: _Cut | None, damage: _Damage) -> None:
        self._writer = writer
        self._cut = cut
        self._sound_is_lost = False
        self._damage = damage

    def write(self, item: Frame | bytes) -> None:
        if isinstance(item, bytes):
            self._write_sound(item)
        elif self._cut is None:
            self._writer.write(item)
        elif item.pts >= self._cut.first_pts:
            self._writer.write(replace(item, pts=item.pts - self._cut.first_pts))

    def _write_sound(self, data: bytes) -> None:
        if self._sound_is_lost:
            return
        try:
            self._writer.write_passthrough(data)
        except CorruptStream as error:
            self._damage.meet(error)
            self._sound_is_lost = True
