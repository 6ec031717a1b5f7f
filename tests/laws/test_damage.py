"""Damaged, cut, forged and random streams: all of it is noticed, and what is intact is saved."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuvid.bitstream.container import PacketReader, PacketWriter, StoredPacket
from neuvid.bitstream.fields import write_varint
from neuvid.bitstream.index import END_SIZE, Index, IndexEntry, IndexTotals, write_ending
from neuvid.bitstream.packet import (
    END,
    INDEX,
    LONG_INTER,
    PASSTHROUGH,
    SYNC_MARKER,
    Packet,
    PassthroughChunk,
    StreamHeader,
    write_header,
)
from neuvid.choice import FrameChoice, FrameKind
from neuvid.errors import CorruptStream, Truncated

settings.register_profile("patient", deadline=None)  # machines may be busy
settings.load_profile("patient")

HEADER = StreamHeader(
    model="m",
    checkpoint=bytes(16),
    arithmetic="integer",
    levels=4,
    width=64,
    height=48,
    pixel_format="yuv420p",
    frame_rate=Fraction(25),
    time_base=Fraction(1, 1000),
)
HEAD = write_header(HEADER)
INTRA_PERIOD = 3


@cache
def stream(count: int = 8) -> bytes:
    """A stream of small frames; frame 4 comes late, and sound follows frames 1 and 5."""
    file, noise = io.BytesIO(), random.Random(count)
    writer = PacketWriter(file, HEADER)
    for number in range(count):
        kind = FrameKind.INTER if number % INTRA_PERIOD else FrameKind.INTRA
        choice = FrameChoice(kind, 20.0, level=number % 4)
        pts = 40 * number + (5 if number >= 4 else 0)
        writer.write(Packet(choice, noise.randbytes(4), False, pts, number))
        if number % 4 == 1:
            writer.write_passthrough(b"snd")
    writer.finish()
    return file.getvalue()


def read(data: bytes) -> PacketReader:
    return PacketReader(io.BytesIO(data))


@cache
def intact() -> list[StoredPacket]:
    return list(read(stream()).stored_packets())


def read_until_damage(data: bytes) -> tuple[list[StoredPacket], CorruptStream | None]:
    """Return the packets before the first error, and the error."""
    packets = []
    try:
        for stored in read(data).stored_packets():
            packets.append(stored)
    except CorruptStream as error:
        return packets, error
    return packets, None


def salvage(reader: PacketReader) -> Iterator[Packet | PassthroughChunk]:
    """Yield every packet that can be had."""
    while True:
        try:
            yield from reader
            return
        except CorruptStream:
            if not reader.resume():
                return


def flips() -> Iterator[tuple[int, bytes]]:
    for bit in range(8 * len(stream())):
        data = bytearray(stream())
        data[bit // 8] ^= 1 << bit % 8
        yield bit // 8, bytes(data)


def numbers(packets: list[Packet | PassthroughChunk]) -> list[int]:
    return [packet.number for packet in packets if isinstance(packet, Packet)]


def test_a_stream_cut_anywhere_yields_all_before_the_cut() -> None:
    for length in range(len(stream())):
        packets, error = read_until_damage(stream()[:length])
        assert packets == [s for s in intact() if s.offset + s.size <= length]
        assert isinstance(error, Truncated)


def test_every_flipped_bit_is_noticed_where_it_is() -> None:
    """No bit is harmless: each is covered by the magic, the version or a checksum."""
    for place, data in flips():
        packets, error = read_until_damage(data)
        assert packets == [s for s in intact() if s.offset + s.size <= place]
        assert error is not None


def test_salvage_loses_only_the_group_of_the_damage() -> None:
    originals = [stored.packet for stored in intact()]
    for place, data in flips():
        if place < len(HEAD):
            continue
        saved = list(salvage(read(data)))
        assert all(packet in originals for packet in saved)
        before = [s.packet for s in intact() if s.offset + s.size <= place]
        starts = [e.offset for e in read(stream()).index() if e.offset > place]
        after = [s.packet for s in intact() if starts and s.offset >= starts[0]]
        assert saved == before + after


def test_the_index_survives_damage() -> None:
    """A damaged end is made up for by a scan, which leaves out damaged intra frames alone."""
    whole = read(stream()).index()
    sizes = {stored.offset: stored.size for stored in intact()}
    for place, data in flips():
        if place >= len(HEAD):
            assert list(read(data).index()) == list(whole)
            scanned = list(read(data[:-1]).index())
            assert scanned == [e for e in whole if not 0 <= place - e.offset < sizes[e.offset]]


@pytest.mark.parametrize("victim", range(10))
def test_a_packet_that_is_lost_doubled_or_moved_is_noticed(victim: int) -> None:
    data, stored = stream(), intact()[victim]
    start, end = stored.offset, stored.offset + stored.size
    lost, doubled = data[:start] + data[end:], data[:end] + data[start:]
    moved = HEAD + data[start:end] + data[len(HEAD) : start] + data[end:]
    for forged in [lost, doubled] + [moved] * (victim > 0):
        packets, error = read_until_damage(forged)
        assert error is not None
        found = numbers([stored.packet for stored in packets])
        assert found == list(range(len(found)))


def test_sound_that_changes_places_is_noticed_at_the_end() -> None:
    file = io.BytesIO()
    writer = PacketWriter(file, HEADER)
    writer.write_passthrough(b"first")
    writer.write_passthrough(b"after")
    writer.finish()
    data = file.getvalue()
    first, after = read(data).stored_packets()
    middle, end = after.offset, after.offset + after.size
    forged = data[: first.offset] + data[middle:end] + data[first.offset : middle] + data[end:]
    _, error = read_until_damage(forged)
    assert "the index is not that of the stream" in str(error)


def test_an_end_that_does_not_point_to_the_index_is_noticed() -> None:
    """Reading notices it; seeking makes an index of its own."""
    end = END + (5).to_bytes(4, "big")
    forged = stream()[:-END_SIZE] + end + crc32(end).to_bytes(4, "big")
    packets, error = read_until_damage(forged)
    assert packets == intact()
    assert "does not point to the index" in str(error)
    assert read(forged).index() == read(stream()).index()


def test_bytes_after_the_end_are_noticed_and_nothing_is_taken_from_them() -> None:
    for more in [b"\0", stream(), stream()[len(HEAD) :]]:
        packets, error = read_until_damage(stream() + more)
        assert packets == intact()
        assert "bytes follow the end" in str(error)
        assert list(salvage(read(stream() + more))) == [stored.packet for stored in intact()]


def test_a_stream_that_lost_its_beginning_keeps_numbers_and_times() -> None:
    start = read(stream()).index()[1].offset
    tail = HEAD + stream()[start:]
    packets, error = read_until_damage(tail)
    assert not packets
    assert "frames 0 to 2 are missing" in str(error)
    saved = list(salvage(read(tail)))
    assert saved == [stored.packet for stored in intact() if stored.offset >= start]


def test_an_error_is_raised_again_until_resume() -> None:
    reader = read(stream()[:-20])
    for _ in range(2):
        with pytest.raises(Truncated):
            for _ in reader:
                pass
    assert not reader.resume()
    assert list(reader) == []


def test_the_ending_of_another_stream_is_noticed() -> None:
    """It has as many frames, and checksums that fit."""
    file = io.BytesIO()
    writer = PacketWriter(file, HEADER)
    for number in range(8):
        writer.write(Packet(FrameChoice(FrameKind.INTRA), b"", False, 40 * number, number))
    writer.finish()
    other = write_ending(read(file.getvalue()).index())
    own = write_ending(read(stream()).index())
    packets, error = read_until_damage(stream().removesuffix(own) + other)
    assert packets == intact()
    assert "the index is not that of the stream" in str(error)


# Hostile streams


NUMBERS_PER_BYTE = 253 * HEADER.levels * HEADER.routes * 2 * 2


def claim(length: int, beginning: bytes = SYNC_MARKER + b"\0\0\0") -> bytes:
    """Return the beginning of a packet that claims a payload of `length` bytes."""
    return beginning + write_varint(NUMBERS_PER_BYTE * length)


def claim_short(length: int) -> bytes:
    """Return the beginning of a short inter packet that claims a payload of `length` bytes."""
    return (NUMBERS_PER_BYTE * length).to_bytes(4, "big")


@given(st.binary(max_size=300))
def test_random_bytes_are_a_corrupt_stream(noise: bytes) -> None:
    for data in [noise, HEAD[:7] + noise, HEAD + noise]:
        with pytest.raises(CorruptStream):
            list(read(data))


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from(
                [SYNC_MARKER, LONG_INTER, PASSTHROUGH, INDEX, END, claim(5), claim_short(300)]
            ),
            st.tuples(st.integers(0, 300), st.integers(0, 300)).map(
                lambda ends: stream()[slice(*ends)]
            ),
        ),
        max_size=30,
    )
)
def test_pieces_of_streams_raise_nothing_but_corrupt_stream(pieces: list[bytes]) -> None:
    reader = read(HEAD + b"".join(pieces))
    found = numbers(list(salvage(reader)))
    assert found == sorted(set(found))
    reader.seek(0)
    list(salvage(reader))


@pytest.mark.parametrize(
    "unit",
    [b"\0", b"\xff", SYNC_MARKER, SYNC_MARKER + b"\0\0", claim(0), claim(1 << 20), claim(1 << 27)],
)
def test_salvage_ends_on_megabytes_of_hostile_bytes(unit: bytes) -> None:
    """Work that grew with the square of the size would not end."""
    reader = read(HEAD + unit * ((1 << 22) // len(unit)))
    assert list(salvage(reader)) == []


def intra(number: int, timing_number: int = 0, timing_pts: int = 0) -> bytes:
    place = write_varint(number) + write_varint(timing_number) + write_varint(2 * timing_pts)
    packet = SYNC_MARKER + place + b"\0"
    return packet + crc32(packet).to_bytes(4, "big")


def test_intra_frames_between_hostile_claims_do_not_prolong_salvage() -> None:
    claims = claim_short(1 << 20)
    data = HEAD + b"".join(intra(number) + claims for number in range(100_000))
    found = numbers(list(salvage(read(data))))
    assert found == list(range(len(found)))


@pytest.mark.parametrize(
    ("packets", "message"),
    [
        ([intra(0, timing_number=1)], "timing point"),
        ([intra(0, timing_pts=(1 << 60) + 1)], "timing_pts"),
        ([intra(0, timing_pts=1 << 60), intra(1, timing_pts=1 << 60)], "pts is"),
        ([intra(0, timing_pts=50), intra(1)], "after a later one"),
        ([intra(0), intra(0)], "after a later one"),
        ([intra(2)], "frames 0 to 1 are missing"),
        ([claim_short(0) + crc32(claim_short(0)).to_bytes(4, "big")], "no intra frame"),
        ([claim(0, LONG_INTER + b"\0")], "no intra frame"),
        ([b"\xff\x05"], "no packet begins with ff05"),
        ([intra(0), claim(0, LONG_INTER + b"\0")], "not in its short form"),
        ([claim(1 << 28)], "payload has 268435456 bytes"),
    ],
)
def test_forged_frames_with_checksums_that_fit_are_noticed(
    packets: list[bytes], message: str
) -> None:
    before, error = read_until_damage(HEAD + b"".join(packets))
    assert len(before) == len(packets) - 1
    assert message in str(error)


@pytest.mark.parametrize(
    ("frames", "entries", "message"),
    [
        (9, [(0, 0, 30), (0, 0, 12)], "not in order"),
        (9, [(0, 0, 30), (1, -1, 12)], "not in order"),
        (9, [(0, 0, 30), (1, 0, 11)], "not in order"),
        (1, [(1, 0, 30)], "outside"),
        (9, [(0, 0, 1 << 62), (1, 0, 1 << 62)], "outside"),
    ],
)
def test_a_forged_index_is_noticed(
    frames: int, entries: list[tuple[int, int, int]], message: str
) -> None:
    body = IndexTotals(frames, 0, 0, 0, len(entries)).to_bytes()
    body += b"".join(IndexEntry(*entry).to_bytes() for entry in entries)
    with pytest.raises(CorruptStream, match=message):
        Index.from_bytes(body)
    with pytest.raises(CorruptStream, match="past the end"):
        Index.from_bytes(body[:-1])


def test_an_index_that_points_astray_is_noticed() -> None:
    index = Index(frames=8)
    index.append(IndexEntry(0, 0, len(HEAD) + 1))
    own = write_ending(read(stream()).index())
    reader = read(stream().removesuffix(own) + write_ending(index))
    reader.seek(0)
    with pytest.raises(CorruptStream):
        list(reader)


@pytest.mark.parametrize(
    "packet",
    [
        claim((1 << 28) - 1),
        intra(0) + claim((1 << 28) - 1, LONG_INTER + b"\0"),
        INDEX + write_varint((1 << 32) - 16),
        PASSTHROUGH + write_varint(1 << 20),
    ],
)
def test_a_claimed_length_takes_no_memory(packet: bytes) -> None:
    data = HEAD + packet + bytes(1000)
    tracemalloc.start()
    with pytest.raises(Truncated):
        list(read(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
