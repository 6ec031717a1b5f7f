"""What a stream holds, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from neuvid.bitstream.packet import (
    FrameFields,
    FrameHead,
    IntraPlace,
    Packet,
    PassthroughChunk,
    StreamHeader,
)
from neuvid.choice import FrameChoice, FrameKind


def packet_bytes(packet: Packet, header: StreamHeader, before: FrameChoice | None) -> int:
    """Return the bytes of a packet in a stream of constant frame rate.

    `before` is the choice of the frame before. Exact for inter frames; an intra frame's packet may
    be a few bytes smaller.
    """
    intra = packet.choice.kind is FrameKind.INTRA
    place = IntraPlace(packet.number, packet.number, packet.pts) if intra else None
    head = FrameHead(packet.choice, packet.parallel, len(packet.payload))
    fields = FrameFields(head, place, 0, packet.payload)
    return len(fields.to_bytes(header, before)) + fields.checksum_size()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatistics:
    """Sizes of a stream, or of the part of it that has been coded so far.

    `pixels` are those of a frame, `expected_frames` is None where nobody knows. `seconds` is how
    long the frames are shown, `elapsed_seconds` how long the work took. `payload_bytes` are the
    coded frames, `passthrough_bytes` sound and subtitles, `overhead_bytes` all the rest.
    """

    pixels: int
    frames: int
    expected_frames: int | None
    seconds: float
    payload_bytes: int
    overhead_bytes: int
    passthrough_bytes: int
    elapsed_seconds: float

    @property
    def bits_per_pixel(self) -> float:
        """Bits of payload and overhead per pixel."""
        return self.video_bits / max(1, self.frames * self.pixels)

    @property
    def kilobits_per_second(self) -> float:
        """1000 bits of payload and overhead per second of the clip."""
        return self.video_bits / self.seconds / 1000 if self.seconds else 0.0

    @property
    def frames_per_second(self) -> float:
        """Frames per second of work."""
        return self.frames / self.elapsed_seconds if self.elapsed_seconds else 0.0

    @property
    def video_bits(self) -> int:
        """Bits of payload and overhead."""
        return 8 * (self.payload_bytes + self.overhead_bytes)


class Tally:
    """Counts what goes by; the clock runs from the start."""

    def __init__(self, header: StreamHeader, expected_frames: int | None) -> None:
        self.frames = 0
        self.payload_bytes = 0
        self.passthrough_bytes = 0
        self.end: int | None = None  # pts at which the last frame ends, if that is known
        self._header = header
        self._expected_frames = expected_frames
        self._first_pts = self._last_pts = 0
        self._began = monotonic()

    def add(self, packet: Packet | PassthroughChunk) -> None:
        """Count the next packet."""
        if isinstance(packet, PassthroughChunk):
            self.add_passthrough(packet.data)
            return
        if not self.frames:
            self._first_pts = packet.pts
        self._last_pts = packet.pts
        self.frames += 1
        self.payload_bytes += len(packet.payload)

    def add_passthrough(self, data: bytes) -> None:
        """Count the next bytes of sound and subtitles."""
        self.passthrough_bytes += len(data)

    def statistics(self, stream_bytes: int) -> StreamStatistics:
        """Return the counts; `stream_bytes` is the size of all that was counted."""
        header = self._header
        end = self._last_pts + header.frame_duration if self.end is None else self.end
        shown = end - self._first_pts if self.frames else 0
        return StreamStatistics(
            pixels=header.width * header.height,
            frames=self.frames,
            expected_frames=self._expected_frames,
            seconds=float(shown * header.time_base),
            payload_bytes=self.payload_bytes,
            overhead_bytes=stream_bytes - self.payload_bytes - self.passthrough_bytes,
            passthrough_bytes=self.passthrough_bytes,
            elapsed_seconds=monotonic() - self._began,
        )
