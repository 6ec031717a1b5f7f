"""Clips to streams: frames of a clip are encoded and written with their sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from neuvid.bitstream.container import PacketWriter
from neuvid.bitstream.packet import Packet
from neuvid.choice import quality_of
from neuvid.codec.encoder import Encoder
from neuvid.codec.files import StreamPath, create_stream
from neuvid.codec.headers import header_of
from neuvid.codec.schedule import FIRST_FRAME_ONLY, Schedule
from neuvid.codec.statistics import StreamStatistics, Tally
from neuvid.models.checkpoint import LoadedModel
from neuvid.rate.budget import RateMeter
from neuvid.rate.controller import RateController
from neuvid.video.clip import ClipReader

ProgressCallback: TypeAlias = Callable[[StreamStatistics], None]


def encode_clip(
    clip: ClipReader,
    target: StreamPath,
    *,
    model: LoadedModel,
    control: RateController,
    schedule: Schedule = FIRST_FRAME_ONLY,
    progress: ProgressCallback | None = None,
    meter: RateMeter | None = None,
) -> StreamStatistics:
    """Encode all frames of a clip, and what `open_clip` gathered of its sound, to a stream.

    `target` is a path, "-" for standard output, or a binary file. A file that exists is replaced
    once the new one is whole; after an exception nothing is left. `progress` is called after
    each frame, and `meter` told what the packets of frames take. Memory does not grow with the
    length of the clip.

    Raises UnreadableInput and UnwritableOutput.
    """
    header = header_of(model, clip.info)
    with (
        create_stream(target) as file,
        Encoder(model, clip.info, control=control, schedule=schedule) as encoder,
    ):
        stream = _StreamWriter(PacketWriter(file, header), clip.info.frame_count, meter)
        stream.write_sound(clip.passthrough_chunks())
        for frame in clip:
            stream.write_frames(encoder.encode(frame))
            if chunks := clip.passthrough_chunks():
                # Sound follows the frames it belongs to: who begins at an intra frame finds it.
                stream.write_frames(encoder.flush())
                stream.write_sound(chunks)
            if progress:
                progress(stream.statistics())
        stream.write_frames(encoder.flush())
        stream.write_sound(clip.passthrough_chunks())
        stream.finish(clip.end)
        return stream.statistics()


class _StreamWriter:
    """Writes packets and counts them."""

    def __init__(
        self, writer: PacketWriter, expected_frames: int | None, meter: RateMeter | None
    ) -> None:
        self._writer = writer
        self._meter = meter
        self._tally = Tally(writer.header, expected_frames)

    def write_frames(self, packets: list[Packet]) -> None:
        for packet in packets:
            before = self._writer.bytes_written
            self._writer.write(packet)
            self._tally.add(packet)
            if self._meter:
                header = self._writer.header
                seconds = float((packet.pts - header.first_pts) * header.time_base)
                bits = 8.0 * (self._writer.bytes_written - before)
                self._meter.add(seconds, bits, quality_of(packet.choice))

    def write_sound(self, chunks: list[bytes]) -> None:
        for data in chunks:
            self._writer.write_passthrough(data)
            self._tally.add_passthrough(data)

    def finish(self, end: int) -> None:
        self._writer.finish(end)
        self._tally.end = end

    def statistics(self) -> StreamStatistics:
        return self._tally.statistics(self._writer.bytes_written)
