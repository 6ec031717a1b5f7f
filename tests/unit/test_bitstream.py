"""The stream format: round trips, places, times, seeking, pipes, and the bytes of version 1."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import floor
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuvid.bitstream.container import PacketReader, PacketWriter
from neuvid.bitstream.fields import Cursor, read_varint, write_varint
from neuvid.bitstream.index import write_ending
from neuvid.bitstream.packet import (
    MAGIC,
    SMALL_PAYLOAD,
    VERSIONS,
    Packet,
    PassthroughChunk,
    StreamHeader,
    TimingPoint,
    read_header,
    write_header,
)
from neuvid.choice import FrameChoice, FrameKind
from neuvid.errors import (
    CorruptStream,
    InvalidSetting,
    UnknownVersion,
    UnreadableInput,
    UnwritableOutput,
)

settings.register_profile("patient", deadline=None)  # machines may be busy
settings.load_profile("patient")

HEADER = StreamHeader(
    model="rt-small",
    checkpoint=bytes(range(16)),
    arithmetic="integer",
    levels=3,
    routes=4,
    width=77,
    height=48,
    pixel_format="yuv420p",
    frame_rate=Fraction(30000, 1001),
    time_base=Fraction(1, 1000),
)
INTRA = FrameChoice(FrameKind.INTRA, 32.0)
INTER = FrameChoice(FrameKind.INTER, 20.25, level=1, route=2, refresh=True)
Written = list[Packet | PassthroughChunk]

ratios = st.builds(Fraction, st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
code_points = st.integers(0, 255)
headers = st.builds(
    StreamHeader,
    model=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    checkpoint=st.binary(min_size=16, max_size=16),
    arithmetic=st.sampled_from(["float32", "float16", "bfloat16", "integer"]),
    levels=st.integers(1, 4),
    routes=st.integers(1, 4),
    width=st.integers(1, 65535),
    height=st.integers(1, 65535),
    pixel_format=st.sampled_from(["yuv420p", "rgb24"]),
    frame_rate=ratios,
    time_base=ratios,
    first_pts=st.integers(-(2**60), 2**60),
    sample_aspect_ratio=ratios,
    rotation=st.integers(-180, 180),
    colour_matrix=code_points,
    colour_range=st.integers(0, 2),
    colour_primaries=code_points,
    colour_transfer=code_points,
    total_frames=st.integers(0, 2**48 - 1),
    chroma_location=st.integers(0, 6),
    display_matrix=st.sampled_from([b"", bytes(range(36))]),
)
choices = st.builds(
    FrameChoice,
    st.sampled_from(FrameKind),
    st.integers(0, 252).map(lambda steps: steps / 4),
    st.integers(0, HEADER.levels - 1),
    st.integers(0, HEADER.routes - 1),
    st.booleans(),
)


@st.composite
def packet_lists(draw: st.DrawFn, header: StreamHeader = HEADER) -> Written:
    """Frames and chunks in an order that a writer accepts; some frames come late."""
    packets: Written = []
    timing, before = TimingPoint(0, header.first_pts), 0
    count = draw(st.integers(0, 12))
    for number in range(count):
        delay = draw(st.sampled_from([0, 0, 0, 1, 40, 10**6]))
        pts = max(timing.pts_of(number, header.frame_duration) + delay, before)
        if pts != timing.pts_of(number, header.frame_duration):
            timing = TimingPoint(number, pts)
        choice = draw(choices)
        if not number:
            choice = replace(choice, kind=FrameKind.INTRA)
        packets.append(
            Packet(choice, draw(st.binary(max_size=200)), draw(st.booleans()), pts, number)
        )
        before = pts
        if draw(st.booleans()):
            packets.append(PassthroughChunk(draw(st.binary(min_size=1, max_size=50))))
    return packets


def frames(count: int, intra_period: int = 4, first: int = 0) -> Written:
    """A group of frames on time, with a chunk of sound after every third."""
    timing, packets = TimingPoint(0, first), Written()
    for number in range(count):
        choice = INTER if number % intra_period else INTRA
        pts = timing.pts_of(number, HEADER.frame_duration)
        packets.append(Packet(choice, bytes([number]) * 5, bool(number % 2), pts, number))
        if number % 3 == 2:
            packets.append(PassthroughChunk(bytes([200 + number % 50])))
    return packets


def write(packets: Written, header: StreamHeader = HEADER) -> tuple[bytes, PacketWriter]:
    """Return the bytes of a stream, and its writer."""
    file = io.BytesIO()
    writer = PacketWriter(file, header)
    put(writer, packets)
    writer.finish()
    return file.getvalue(), writer


def put(writer: PacketWriter, packets: Written) -> None:
    for packet in packets:
        if isinstance(packet, Packet):
            writer.write(packet)
        else:
            writer.write_passthrough(packet.data)


def read(data: bytes) -> PacketReader:
    return PacketReader(io.BytesIO(data))


# Numbers


@given(st.integers(0, 2**64 - 1))
def test_a_varint_reads_back(value: int) -> None:
    assert read_varint(Cursor(write_varint(value))) == value


@pytest.mark.parametrize("size", range(1, 9))
def test_a_varint_holds_7_bits_per_byte_and_only_its_shortest_form_is_read(size: int) -> None:
    largest = (1 << 7 * size) - 1
    assert len(write_varint(largest)) == size
    assert len(write_varint(largest + 1)) == size + 1
    prefix = 0xFF00 >> size & 0xFF  # of a number that is one byte longer
    padded = (prefix << 8 * size | largest).to_bytes(size + 1, "big")
    with pytest.raises(CorruptStream, match="shortest"):
        read_varint(Cursor(padded))


# The header


@given(headers)
def test_a_header_reads_back(header: StreamHeader) -> None:
    data = write_header(header)
    assert read_header(Cursor(data)) == (header, VERSIONS[-1])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", ""),
        ("model", "x" * 256),
        ("model", "\ud800"),
        ("checkpoint", bytes(15)),
        ("arithmetic", "int8"),
        ("levels", 0),
        ("levels", 5),
        ("routes", 5),
        ("width", 0),
        ("height", 65536),
        ("width", 640.0),
        ("pixel_format", "yuv444p"),
        ("bit_depth", 10),
        ("frame_rate", Fraction(0)),
        ("frame_rate", 30),
        ("time_base", Fraction(-1, 1000)),
        ("time_base", Fraction(1, 2**31)),
        ("first_pts", 2**60 + 1),
        ("colour_matrix", 256),
        ("colour_range", 3),
        ("rotation", 181),
        ("total_frames", -1),
    ],
)
def test_a_program_cannot_build_a_header_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(InvalidSetting) as error:
        replace(HEADER, **{field: value})
    assert error.value.field == field


BODY = HEADER.to_bytes()
WIDTH = BODY.index(77)  # before it are the arithmetic, the levels and the routes, a byte each


@pytest.mark.parametrize(
    ("place", "new", "message"),
    [
        (WIDTH - 3, b"\x04", "stands for none of float32"),
        (WIDTH - 2, b"\x00", "levels is 0"),
        (WIDTH - 1, b"\x05", "routes is 5"),
        (WIDTH, b"\x00", "width is 0"),
        (WIDTH + 1, b"\x00", "height is 0"),
        (WIDTH + 2, b"\x02", "stands for none of yuv420p"),
        (WIDTH + 3, b"\x0a", "bit_depth is 10"),
        (WIDTH + 4, b"\x00\x00\x00", "lowest terms"),  # a frame rate of 0/0
        (WIDTH + 9, b"\x00", "lowest terms"),  # a time base of 0/1000
        (1, b"\xff", "UTF-8"),
        (0, b"\x00", "length is 0"),
        (len(BODY), b"\x00", "after its last field"),
        (len(BODY) - 1, b"", "past the end"),
        (len(BODY) - 2, b"\x07", "chroma_location is 7"),
        (len(BODY) - 1, b"\x01\x00", "display_matrix is"),
    ],
)
def test_a_hostile_header_is_corrupt(place: int, new: bytes, message: str) -> None:
    body = BODY[:place] + new + BODY[place + max(len(new), 1) :]
    data = MAGIC + b"\x03" + write_varint(len(body)) + body
    with pytest.raises(CorruptStream, match=message):
        read(data + crc32(data).to_bytes(4, "big"))


def test_another_version_is_named_with_those_known() -> None:
    with pytest.raises(UnknownVersion, match="version is 4; known are 1, 2, 3"):
        read(MAGIC + b"\x04")


@pytest.mark.parametrize("data", [b"RIFF....AVI ", b"\x89PNG\r\n", b"hi\n"])
def test_other_files_are_no_neuvid_streams(data: bytes) -> None:
    with pytest.raises(CorruptStream, match="not a neuvid stream"):
        read(data)


# Packets


@given(packet_lists())
def test_packets_read_back_in_order(packets: Written) -> None:
    data, _ = write(packets)
    assert list(read(data)) == packets


@given(packet_lists())
def test_every_byte_is_accounted_for(packets: Written) -> None:
    data, writer = write(packets)
    reader = read(data)
    place = len(write_header(HEADER))
    for stored in reader.stored_packets():
        assert stored.offset == place
        place += stored.size
    assert place + len(write_ending(reader.index())) == len(data) == writer.bytes_written
    frame_bytes = sum(len(packet.payload) for packet in packets if isinstance(packet, Packet))
    chunk_bytes = sum(len(chunk.data) for chunk in packets if isinstance(chunk, PassthroughChunk))
    assert (writer.payload_bytes, writer.passthrough_bytes) == (frame_bytes, chunk_bytes)
    assert writer.overhead_bytes == len(data) - frame_bytes - chunk_bytes


def inter_choices(header: StreamHeader) -> Iterator[FrameChoice]:
    """All choices at the lowest and the highest quality."""
    levels, routes = range(header.levels), range(header.routes)
    for quality, level, route in product((0.0, 63.0), levels, routes):
        yield FrameChoice(FrameKind.INTER, quality, level, route, refresh=False)
        yield FrameChoice(FrameKind.INTER, quality, level, route, refresh=True)


@pytest.mark.parametrize(
    ("size", "overhead"),
    [(0, 3), (41, 3), (43, 4), (SMALL_PAYLOAD - 1, 4), (SMALL_PAYLOAD, 6), (5460, 6)],
)
def test_an_inter_frame_like_the_one_before_costs_3_to_6_bytes_beside_its_payload(
    size: int, overhead: int
) -> None:
    header = replace(HEADER, time_base=1 / HEADER.frame_rate)
    packets: Written = [Packet(INTRA, b"", False, 0, 0)]
    for level in (2, 0, 1):
        choice = FrameChoice(FrameKind.INTER, INTRA.quality, level)
        packets.append(Packet(choice, bytes(size), False, len(packets), len(packets)))
    stored = list(read(write(packets, header)[0]).stored_packets())
    assert [s.packet for s in stored] == packets
    assert {s.size - size for s in stored[1:]} == {overhead}


@pytest.mark.parametrize(
    ("levels", "routes", "size"),
    [
        *((3, 1, size) for size in (0, 127, SMALL_PAYLOAD - 1, SMALL_PAYLOAD, 339 << 10)),
        *((1, 4, size) for size in (1, 16383, 65536)),
        *((3, 4, size) for size in (128, 16384, 84 << 10)),
    ],
)
def test_other_inter_frames_on_time_cost_6_or_8_bytes_beside_their_payload(
    levels: int, routes: int, size: int
) -> None:
    header = replace(HEADER, levels=levels, routes=routes, time_base=1 / HEADER.frame_rate)
    packets: Written = [Packet(INTRA, b"", False, 0, 0)]
    for choice in inter_choices(header):
        packets.append(Packet(choice, bytes(size), True, len(packets), len(packets)))
    data, _ = write(packets, header)
    stored = list(read(data).stored_packets())
    assert [s.packet for s in stored] == packets
    assert {s.size - size for s in stored[1:]} == {6 if size < SMALL_PAYLOAD else 8}


@pytest.mark.parametrize(("size", "overhead"), [(88_000, 12), (1 << 22, 13)])
def test_longer_payloads_take_the_long_form(size: int, overhead: int) -> None:
    """With 3 levels and 4 routes, the short form ends before 0x3F000000 / 12144 bytes."""
    packets: Written = [
        Packet(INTRA, bytes(size), False, 0, 0),
        Packet(INTER, bytes(size), True, 33, 1),
    ]
    stored = list(read(write(packets)[0]).stored_packets())
    assert [s.packet for s in stored] == packets
    assert stored[1].size - size == overhead


def test_every_bit_of_a_large_frame_with_half_a_checksum_is_covered() -> None:
    """The last of a group: no other checksum covers it."""
    size = SMALL_PAYLOAD - 1
    packets: Written = [Packet(INTRA, b"", False, 0, 0), Packet(INTER, bytes(size), True, 33, 1)]
    data, _ = write(packets)
    frame = list(read(data).stored_packets())[1]
    covered = data[frame.offset : frame.offset + frame.size - 2]
    flip, noticed = 1, set()
    for _ in range(8 * len(covered)):
        noticed.add(crc32(flip.to_bytes(len(covered), "big")) ^ crc32(bytes(len(covered))))
        flip <<= 1
    assert all(change & 0xFFFF for change in noticed)


@pytest.mark.parametrize("kind", FrameKind)
def test_a_stream_has_no_more_levels_and_routes_than_its_header_says(kind: FrameKind) -> None:
    writer = PacketWriter(io.BytesIO(), replace(HEADER, levels=2, routes=3))
    writer.write(Packet(INTRA, b"", False, 0, 0))
    with pytest.raises(InvalidSetting, match=r"level is 2; allowed is 0\.\.1"):
        writer.write(Packet(FrameChoice(kind, level=2), b"", False, 33, 1))
    with pytest.raises(InvalidSetting, match=r"route is 3; allowed is 0\.\.2"):
        writer.write(Packet(FrameChoice(kind, route=3), b"", False, 33, 1))
    writer.write(Packet(FrameChoice(kind, level=1, route=2), b"", False, 33, 1))


def test_long_sound_is_split_and_joined() -> None:
    sound = os.urandom(5 << 19)
    file = io.BytesIO()
    writer = PacketWriter(file, HEADER)
    writer.write_passthrough(b"")
    writer.write_passthrough(sound)
    writer.finish()
    chunks = [chunk for chunk in read(file.getvalue()) if isinstance(chunk, PassthroughChunk)]
    assert [len(chunk.data) for chunk in chunks] == [1 << 20, 1 << 20, 1 << 19]
    assert b"".join(chunk.data for chunk in chunks) == sound


@pytest.mark.parametrize(
    ("packet", "field"),
    [
        (Packet(INTER, b"", False, 100, 2), "number"),
        (Packet(INTER, b"", False, 100, 0), "number"),
        (Packet(INTER, b"", False, 9, 1), "pts"),
    ],
)
def test_a_writer_refuses_frames_out_of_order(packet: Packet, field: str) -> None:
    writer = PacketWriter(io.BytesIO(), HEADER)
    writer.write(Packet(INTRA, b"", False, 10, 0))
    with pytest.raises(InvalidSetting) as error:
        writer.write(packet)
    assert error.value.field == field


def test_a_stream_begins_with_an_intra_frame() -> None:
    writer = PacketWriter(io.BytesIO(), HEADER)
    with pytest.raises(InvalidSetting, match="kind"):
        writer.write(Packet(INTER, b"", False, 0, 0))


def test_nothing_is_written_after_the_end() -> None:
    _, writer = write([])
    with pytest.raises(InvalidSetting, match="finish"):
        writer.write_passthrough(b"a")


@pytest.mark.parametrize("quality", [20.3, (20.0, 30.0)])
def test_a_packet_holds_only_a_quality_that_it_can_store(quality: Any) -> None:
    with pytest.raises(InvalidSetting, match="quality"):
        Packet(FrameChoice(FrameKind.INTRA, quality), b"", False, 0, 0)


# Times


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(25), Fraction(24000, 1001)])
@pytest.mark.parametrize("time_base", [Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 16)])
def test_frames_on_time_store_no_times(rate: Fraction, time_base: Fraction) -> None:
    header = replace(HEADER, frame_rate=rate, time_base=time_base, first_pts=-7)
    times = [-7 + floor(n / rate / time_base + Fraction(1, 2)) for n in range(200)]
    packets: Written = [
        Packet(INTER if n else INTRA, b"", False, pts, n) for n, pts in enumerate(times)
    ]
    data, _ = write(packets, header)
    stored = list(read(data).stored_packets())
    assert [s.packet for s in stored] == packets
    assert {s.size for s in stored[1:]} == {6}


# The index and seeking


@given(packet_lists())
def test_the_stored_index_equals_the_scanned_one(packets: Written) -> None:
    data, _ = write(packets)
    stored = read(data).index()
    assert read(data[:-1]).index() == stored
    assert read(data[: len(data) - len(write_ending(stored))]).index() == stored


def test_the_index_lists_intra_frames_and_totals() -> None:
    data, _ = write(frames(10))
    index = read(data).index()
    assert [entry.number for entry in index] == [0, 4, 8]
    assert [entry.pts for entry in index] == [0, 133, 267]
    assert all(data[entry.offset :].startswith(b"\xff\xe4NV") for entry in index)
    assert (index.frames, index.duration, index.passthrough_bytes) == (10, 334, 3)


@given(packet_lists(), st.integers(-50, 2_000_000))
def test_seeking_goes_to_the_last_intra_frame_at_or_before(packets: Written, pts: int) -> None:
    data, _ = write(packets)
    reader = read(data)
    intras = [p for p in packets if isinstance(p, Packet) and p.choice.kind is FrameKind.INTRA]
    entry = reader.seek(pts)
    if not intras:
        assert entry is None
        return
    target = ([p for p in intras if p.pts <= pts] or intras[:1])[-1]
    assert entry is not None
    assert (entry.number, entry.pts) == (target.number, target.pts)
    assert list(reader) == packets[packets.index(target) :]


def test_seeking_goes_back_and_forth_and_reading_goes_on_after_an_index() -> None:
    packets = frames(10)
    reader = read(write(packets)[0])
    iterator = iter(reader)
    assert [next(iterator) for _ in range(3)] == packets[:3]
    assert len(reader.index()) == 3
    assert list(iterator) == packets[3:]
    for pts, start in [(300, 8), (0, 0), (140, 4)]:
        reader.seek(pts)
        assert next(iter(reader)) == packets[start + start // 3]


def test_a_stream_may_begin_inside_a_file() -> None:
    packets = frames(10)
    file = io.BytesIO(b"before" + write(packets)[0])
    file.seek(6)
    reader = PacketReader(file)
    assert list(reader) == packets
    reader.seek(300)
    assert next(iter(reader)) == packets[10]


def test_the_number_of_frames_is_known_from_the_end_or_the_header() -> None:
    data, _ = write(frames(5), replace(HEADER, total_frames=6))
    assert read(data).total_frames == 5
    assert read(data[:-1]).total_frames == 6
    assert read(write(frames(5))[0][:-1]).total_frames is None


# Pipes


class Trickle(io.RawIOBase):
    """A raw file that hands out one byte at a time and cannot be sought."""

    def __init__(self, data: bytes) -> None:
        self._bytes = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        byte = self._bytes.read(1)
        buffer[: len(byte)] = byte
        return len(byte)


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_pipe_hands_each_packet_on_at_once(buffering: int) -> None:
    source, sink = os.pipe()
    packets = frames(6)
    with os.fdopen(source, "rb", buffering) as reading, os.fdopen(sink, "wb", buffering) as writing:
        writer = PacketWriter(writing, HEADER)
        reader = PacketReader(reading)
        assert reader.header == HEADER
        for packet in packets:
            put(writer, [packet])
            assert next(iter(reader)) == packet
        writer.finish()
        writing.close()
        assert list(reader) == []
        with pytest.raises(UnreadableInput, match="sought"):
            reader.seek(0)


def test_short_reads_are_put_together() -> None:
    packets = frames(6)
    file: Any = Trickle(write(packets)[0])
    assert list(PacketReader(file)) == packets


def test_a_closed_pipe_is_an_unwritable_output() -> None:
    source, sink = os.pipe()
    os.close(source)
    writing: BinaryIO
    with os.fdopen(sink, "wb", 0) as writing, pytest.raises(UnwritableOutput):
        PacketWriter(writing, HEADER)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Any) -> None:
    path = tmp_path / "only-written"
    with path.open("wb") as file, pytest.raises(UnreadableInput, match="only-written"):
        PacketReader(file)


# Byte by byte; docs/bitstream.md explains this stream


GOLDEN_PACKETS: Written = [
    Packet(FrameChoice(FrameKind.INTRA, 32.0), b"\xaa\xbb", False, 0, 0),
    PassthroughChunk(b"snd"),
    Packet(FrameChoice(FrameKind.INTER, 20.25, 1, 2, True), b"\xcc", True, 33, 1),
    Packet(FrameChoice(FrameKind.INTER, 63.0), b"", False, 70, 2),
    Packet(FrameChoice(FrameKind.INTER, 63.0, 1), b"\xdd\xee", False, 103, 3),
]
GOLDEN_END = 150
GOLDEN_VERSION_1 = """
894e5649440a01 31 0872742d736d616c6c 000102030405060708090a0b0c0d0e0f 03 03 04 4d 30 00 08
c0753083e9 0183e8 00 0101 00 02 00 02 02 00 0316a7cc
ffe44e56 00 00 00 c076e0 aabb 5de3919c
ff02 03736e64 da65c380
00003ebb cc c88fc75f
ff01 06 af40 57a745ae
ff03 0b 03 67 03 1857ec73 01 00003d c7338bae
ff04 00000012 533fdde7
"""
GOLDEN_VERSION_2 = """
894e5649440a02 33 0872742d736d616c6c 000102030405060708090a0b0c0d0e0f 03 03 04 4d 30 00 08
c0753083e9 0183e8 00 0101 00 02 00 02 02 00 00 00 3ed49739
ffe44e56 00 00 00 c076e0 aabb 5de3919c
ff02 03736e64 da65c380
00003ebb cc c88fc75f
ff01 06 af40 57a745ae
ff03 0c 03 8096 03 1857ec73 01 00003f 401ea350
ff04 00000013 2438ed71
"""
GOLDEN = """
894e5649440a03 33 0872742d736d616c6c 000102030405060708090a0b0c0d0e0f 03 03 04 4d 30 00 08
c0753083e9 0183e8 00 0101 00 02 00 02 02 00 00 00 400c2778
ffe44e56 00 00 00 c076e0 aabb 5de3919c
ff02 03736e64 da65c380
c0003ebb cc 2f84
ff01 06 af40 4b0f
07 ddee f230
ff03 0c 04 8096 03 1857ec73 01 00003f 34864adf
ff04 00000013 2438ed71
"""


@pytest.mark.parametrize(
    ("text", "frames", "end"),
    [(GOLDEN_VERSION_1, 3, 103), (GOLDEN_VERSION_2, 3, GOLDEN_END), (GOLDEN, 4, GOLDEN_END)],
)
def test_streams_of_all_versions_are_read(text: str, frames: int, end: int) -> None:
    reader = read(bytes.fromhex(text))
    assert reader.header == HEADER
    assert (list(reader), reader.end) == (GOLDEN_PACKETS[: frames + 1], end)


def test_the_bytes_of_version_3_stay_as_they_are() -> None:
    file = io.BytesIO()
    writer = PacketWriter(file, HEADER)
    put(writer, GOLDEN_PACKETS)
    writer.finish(GOLDEN_END)
    assert file.getvalue() == bytes.fromhex(GOLDEN)


@pytest.mark.parametrize("end", [69, 2**61 + 1])
def test_the_last_frame_ends_after_it_begins(end: int) -> None:
    writer = PacketWriter(io.BytesIO(), HEADER)
    put(writer, GOLDEN_PACKETS)
    with pytest.raises(InvalidSetting, match=f"end is {end}"):
        writer.finish(end)


def test_the_documented_example_is_this_stream() -> None:
    text = (Path(__file__).parents[2] / "docs" / "bitstream.md").read_text(encoding="utf-8")
    lines = text.split("```hex\n")[1].split("```")[0].splitlines()
    assert bytes.fromhex("".join(line.split("|")[0] for line in lines)) == bytes.fromhex(GOLDEN)
