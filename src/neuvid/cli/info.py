"""`neuvid info`: what a stream holds."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from typing import Annotated

import typer

from neuvid.bitstream.container import PacketReader, StoredPacket
from neuvid.bitstream.packet import Packet, StreamHeader
from neuvid.choice import FrameKind
from neuvid.cli.options import Json
from neuvid.cli.output import numbers_of, print_json, print_rows, print_values
from neuvid.codec.files import open_stream
from neuvid.codec.headers import clip_of
from neuvid.codec.statistics import Tally


def info(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A stream (.nvid), or - for a pipe.")
    ],
    packets: Annotated[bool, typer.Option("--packets", help="Add a row for each frame.")] = False,
    json: Json = False,
) -> None:
    """Tell what a stream holds.

    Nothing is decoded, but all checksums are checked; of a damaged stream, what comes before the
    damage is told. Bits per pixel and kbit/s are those of the frames with all overhead, without
    sound.
    """
    with open_stream(source) as reader:
        survey = _Survey(reader, with_rows=packets)
        try:
            for stored in reader.stored_packets():
                survey.add(stored)
            survey.finish()
        finally:
            if json:
                print_json(survey.numbers())
            else:
                print_values(survey.values())
                print_rows(survey.rows)


class _Survey:
    """Counts the packets of a stream."""

    def __init__(self, reader: PacketReader, *, with_rows: bool) -> None:
        self.rows: list[dict[str, object]] = []
        self._reader = reader
        self._with_rows = with_rows
        self._tally = Tally(reader.header, reader.total_frames)
        self._intra_frames = 0
        self._qualities: set[float] = set()

    def add(self, stored: StoredPacket) -> None:
        self._tally.add(stored.packet)
        if not isinstance(stored.packet, Packet):
            return
        choice = stored.packet.choice
        self._intra_frames += choice.kind is FrameKind.INTRA
        self._qualities.add(float(choice.quality))  # type: ignore[arg-type]
        if self._with_rows:
            self.rows.append(_row(stored.packet, stored, self._reader.header.time_base))

    def finish(self) -> None:
        self._tally.end = self._reader.end

    def numbers(self) -> dict[str, object]:
        """What was counted, for machines."""
        numbers = _header_numbers(self._reader.header)
        numbers |= numbers_of(self._tally.statistics(self._reader.position))
        numbers |= {"intra_frames": self._intra_frames, "qualities": sorted(self._qualities)}
        return numbers | ({"packets": self.rows} if self._with_rows else {})

    def values(self) -> dict[str, str]:
        """What was counted, for people."""
        total = self._tally.statistics(self._reader.position)
        low, high = min(self._qualities, default=0), max(self._qualities, default=0)
        return _header_values(self._reader.header) | {
            "frames": f"{total.frames}, of which {self._intra_frames} intra",
            "duration": f"{total.seconds:.3f} s",
            "quality": f"{low:g}" if low == high else f"{low:g} to {high:g}",
            "frames' payload": f"{total.payload_bytes} bytes",
            "overhead": f"{total.overhead_bytes} bytes",
            "sound, subtitles": f"{total.passthrough_bytes} bytes",
            "bits per pixel": f"{total.bits_per_pixel:.4f}",
            "bit rate": f"{total.kilobits_per_second:.1f} kbit/s",
        }


def _row(packet: Packet, stored: StoredPacket, time_base: Fraction) -> dict[str, object]:
    return {
        "number": packet.number,
        "seconds": round(float(packet.pts * time_base), 6),
        "kind": packet.choice.kind.name.lower(),
        "quality": packet.choice.quality,
        "level": packet.choice.level,
        "route": packet.choice.route,
        "refresh": packet.choice.refresh,
        "payload_bytes": len(packet.payload),
        "bytes": stored.size,
        "offset": stored.offset,
    }


def _header_numbers(header: StreamHeader) -> dict[str, object]:
    def plain(value: object) -> object:
        if isinstance(value, Fraction):
            return str(value)
        return value.hex() if isinstance(value, bytes) else value

    return {name: plain(value) for name, value in asdict(header).items()}


def _header_values(header: StreamHeader) -> dict[str, str]:
    colour = (
        header.colour_matrix,
        header.colour_range,
        header.colour_primaries,
        header.colour_transfer,
        header.chroma_location,
    )
    orientation = clip_of(header).orientation
    return {
        "model": f"{header.model}, checkpoint {header.checkpoint.hex()}, {header.arithmetic}",
        "frame size": f"{header.width}x{header.height}, {header.pixel_format}",
        "frame rate": f"{float(header.frame_rate):.6g} per second ({header.frame_rate})",
        "pixel aspect": str(header.sample_aspect_ratio),
        "shown": "upright" if orientation.is_upright else str(orientation),
        "colour": "matrix {}, range {}, primaries {}, transfer {}, chroma at {}".format(*colour),
    }
