"""Laws of the native entropy coder, against a second decoder written from the documentation."""

from __future__ import annotations

import ast
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from numpy.typing import NDArray

import neuvid
from neuvid import _rans
from neuvid.entropy.tables import EntropyTables, gaussian_tables
from neuvid.errors import CorruptStream, Desynchronised, Truncated

SKIP = 65535
Call = tuple[NDArray[np.int16], NDArray[np.uint16]]  # symbols, indexes
STREAMS = st.integers(0, 16)


def native(tables: EntropyTables) -> _rans.Tables:
    return _rans.Tables(tables.cumulative, tables.starts, tables.offsets)


def table(bounds: list[int], offset: int) -> EntropyTables:
    return EntropyTables(
        np.array(bounds, np.uint16),
        np.array([0, len(bounds)], np.uint32),
        np.array([offset], np.int16),
    )


def call(symbols: list[int], indexes: list[int]) -> Call:
    return np.array(symbols, np.int16), np.array(indexes, np.uint16)


def encode(tables: EntropyTables, calls: list[Call], streams: int) -> bytes:
    encoder = _rans.SymbolEncoder(native(tables))
    for symbols, indexes in calls:
        encoder.append(symbols, indexes)
    return encoder.finish(streams)


def decode(tables: EntropyTables, calls: list[Call], payload: bytes, streams: int) -> list[Call]:
    decoder = _rans.SymbolDecoder(native(tables), payload, streams == 0)
    decoded = [(decoder.decode(indexes), indexes) for _, indexes in calls]
    decoder.finish()
    return decoded


def assert_equal(decoded: list[Call], calls: list[Call]) -> None:
    for (symbols, _), (expected, _) in zip(decoded, calls, strict=True):
        np.testing.assert_array_equal(symbols, expected)


def assert_refused_or_canonical(
    tables: EntropyTables, calls: list[Call], payload: bytes, streams: int
) -> None:
    try:
        decoded = decode(tables, calls, payload, streams)
    except (CorruptStream, Desynchronised):
        return
    assert encode(tables, decoded, payload[0] if streams else 0) == payload


@dataclass
class ReferenceStream:
    """One stream, as docs/entropy-coding.md tells it."""

    states: list[int]
    words: list[int]

    def refill(self, lane: int) -> None:
        if self.states[lane] < 65536:
            self.states[lane] = 65536 * self.states[lane] + self.words.pop(0)

    def take(self, lane: int, count: int) -> int:
        bits = self.states[lane] % (1 << count)
        self.states[lane] //= 1 << count
        self.refill(lane)
        return bits

    def symbol(self, lane: int, bounds: list[int], offset: int) -> int:
        slot = self.states[lane] % 16384
        start, stop = next(pair for pair in pairwise(bounds) if pair[0] <= slot < pair[1])
        self.states[lane] = (stop - start) * (self.states[lane] // 16384) + slot - start
        self.refill(lane)
        if stop < 16384:
            return offset + bounds.index(start)
        header = self.take(lane, 5)
        distance = (1 << header // 2) + self.take(lane, header // 2)
        return offset - distance if header % 2 else offset + len(bounds) - 3 + distance


def reference_streams(payload: bytes, compact: bool) -> list[ReferenceStream]:
    def words(data: bytes) -> list[int]:
        return list(struct.unpack(f"<{len(data) // 2}H", data))

    if compact:
        size = 4 - len(payload) % 2
        return [ReferenceStream([int.from_bytes(payload[:size], "little")], words(payload[size:]))]
    count = payload[0]
    sizes = [2 * size for size in struct.unpack_from(f"<{count - 1}I", payload, 1)]
    start = 1 + 4 * (count - 1)
    ends = [*np.cumsum([start, *sizes]).tolist(), len(payload)]
    bodies = [payload[start:end] for start, end in pairwise(ends)]
    return [
        ReferenceStream(list(struct.unpack_from("<4I", body)), words(body[16:])) for body in bodies
    ]


def reference_decode(
    tables: EntropyTables, calls: list[Call], payload: bytes, streams: int
) -> list[Call]:
    rows = [tables.cumulative[a:b].tolist() for a, b in pairwise(tables.starts.tolist())]
    parts = reference_streams(payload, streams == 0)
    decoded = []
    for _, indexes in calls:
        symbols = np.zeros(indexes.size, np.int16)
        coded = np.flatnonzero(indexes != SKIP)
        edges = [len(coded) * part // len(parts) for part in range(len(parts) + 1)]
        for part, (first, last) in zip(parts, pairwise(edges), strict=True):
            for order, place in enumerate(coded[first:last].tolist()):
                row = int(indexes[place])
                lane = order % len(part.states)
                symbols[place] = part.symbol(lane, rows[row], int(tables.offsets[row]))
        decoded.append((symbols, indexes))
    for part in parts:
        assert part.words == []
        assert set(part.states) == {65536}
    return decoded


@st.composite
def rows(draw: DrawFn) -> EntropyTables:
    inner = draw(st.sets(st.integers(1, 16383) | st.integers(1, 30), min_size=1, max_size=40))
    last_offset = 32768 - len(inner)
    offset = draw(st.integers(-40, 10) | st.sampled_from([-32768, last_offset]))
    return table([0, *sorted(inner), 16384], offset)


@st.composite
def messages(draw: DrawFn) -> tuple[EntropyTables, list[Call]]:
    tables = EntropyTables.concatenate(draw(st.lists(rows(), min_size=1, max_size=6)))
    symbol = st.integers(-20, 20) | st.integers(-32768, 32767) | st.sampled_from([-32768, 32767])
    index = st.integers(0, len(tables) - 1)
    position = st.tuples(symbol, index) | st.tuples(symbol, index) | st.just((0, SKIP))
    calls = draw(st.lists(st.lists(position, max_size=60), max_size=4))
    return tables, [call([s for s, _ in pairs], [i for _, i in pairs]) for pairs in calls]


@given(messages(), STREAMS)
@settings(deadline=None)
def test_both_decoders_return_what_was_encoded(
    message: tuple[EntropyTables, list[Call]], streams: int
) -> None:
    tables, calls = message
    payload = encode(tables, calls, streams)
    assert_equal(decode(tables, calls, payload, streams), calls)
    assert_equal(reference_decode(tables, calls, payload, streams), calls)


def gaussian_message(size: int, *, skipped: float) -> tuple[EntropyTables, Call]:
    scales = np.geomspace(0.11, 64, 64)
    random = np.random.default_rng(1)
    indexes = random.integers(0, len(scales), size).astype(np.uint16)
    symbols = np.rint(random.normal(size=size) * scales[indexes]).astype(np.int16)
    skips = random.random(size) < skipped
    return gaussian_tables(scales), (np.where(skips, 0, symbols), np.where(skips, SKIP, indexes))


@pytest.mark.parametrize("skipped", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("streams", [0, 1, 2, 5, 16])
def test_large_messages_round_trip_and_cost_what_bits_says(streams: int, skipped: float) -> None:
    tables, (symbols, indexes) = gaussian_message(200_000, skipped=skipped)
    calls = [(part, indexes[: part.size]) for part in (symbols, symbols[:3])]
    payload = encode(tables, calls, streams)
    assert_equal(decode(tables, calls, payload, streams), calls)
    assert_costs(payload, tables, calls, streams, tolerance=0.002)


@given(messages(), STREAMS)
@settings(deadline=None)
def test_any_message_costs_what_bits_says(
    message: tuple[EntropyTables, list[Call]], streams: int
) -> None:
    tables, calls = message
    assert_costs(encode(tables, calls, streams), tables, calls, streams)


def assert_costs(
    payload: bytes,
    tables: EntropyTables,
    calls: list[Call],
    streams: int,
    *,
    tolerance: float = 0.01,
) -> None:
    """Assert that bytes are those of the tables' bits, and of the ends that the page states."""
    ideal = sum(native(tables).bits(*each) for each in calls) / 8
    fixed = 4 * streams - 3 if streams else 0
    least, most = (fixed + 8 * streams, fixed + 16 * streams) if streams else (2, 3)
    assert ideal * (1 - tolerance) + least - 0.1 <= len(payload)
    assert len(payload) <= ideal * (1 + tolerance) + most + 0.1


@dataclass(frozen=True)
class Source:
    """20000 symbols of one row: Gaussian, or one symbol but for a share of others."""

    scale: float
    symbol: int | None = None
    others: float = 0.0

    def message(self) -> tuple[EntropyTables, Call]:
        random, size = np.random.default_rng(1), 20_000
        symbols = np.rint(random.normal(size=size) * self.scale)
        if self.symbol is not None:
            symbols = np.where(random.random(size) < self.others, symbols + 1, self.symbol)
        tables = gaussian_tables(np.array([self.scale]))
        return tables, (symbols.astype(np.int16), np.zeros(size, np.uint16))


SCALES = (0.13, 0.2, 0.5, 2.0, 30.0)
SOURCES = [
    *(Source(scale) for scale in SCALES),
    *(Source(scale, symbol=0) for scale in SCALES),
    *(Source(scale, symbol=0, others=0.001) for scale in SCALES),
    Source(0.5, symbol=1),
    Source(2.0, symbol=-3),
]
ESCAPES = Source(0.2, symbol=40)  # they carry plain bits: other bits are other symbols


@pytest.mark.parametrize("streams", [0, 1, 4])
@pytest.mark.parametrize("source", [*SOURCES, ESCAPES], ids=str)
def test_noisy_and_constant_sources_cost_what_bits_says(source: Source, streams: int) -> None:
    tables, whole = source.message()
    payload = encode(tables, [whole], streams)
    assert_equal(decode(tables, [whole], payload, streams), [whole])
    assert_costs(payload, tables, [whole], streams)


@pytest.mark.parametrize("bounds", [[0, 1, 16200, 16384], [0, 183, 16383, 16384]])
def test_runs_in_a_lopsided_row_cost_what_bits_says_within_a_little_more(
    bounds: list[int],
) -> None:
    tables, whole = table(bounds, 0), call([1] * 200_000, [0] * 200_000)
    payload = encode(tables, [whole], 0)
    assert_costs(payload, tables, [whole], 0, tolerance=0.012)


@pytest.mark.parametrize("streams", [0, 1, 4])
@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_cuts_changes_and_wrong_tables_are_noticed(source: Source, streams: int) -> None:
    tables, whole = source.message()
    payload = encode(tables, [whole], streams)
    random = np.random.default_rng(2)
    changed = []
    for place in random.integers(0, len(payload), 40).tolist():
        change = random.integers(1, 256)
        changed.append(payload[:place] + bytes([payload[place] ^ change]) + payload[place + 1 :])
    for wrong in [payload[:-1], payload[:-2], payload + b"\0", payload + b"\0\0", *changed]:
        with pytest.raises((CorruptStream, Desynchronised)):
            decode(tables, [whole], wrong, streams)
    other_tables = gaussian_tables(np.array([1.05 * source.scale]))
    with pytest.raises((CorruptStream, Desynchronised)):
        decode(other_tables, [whole], payload, streams)


def test_bits_are_those_of_the_tables() -> None:
    tables = native(table([0, 4096, 12288, 16384], -1))
    assert tables.bits(*call([-1, 0, 0, 7], [0, 0, 0, SKIP])) == 2 + 1 + 1
    # Beyond the last symbol: 2 bits for the escape, 1 for the side, 4 for the length, the length.
    assert tables.bits(*call([1], [0])) == 2 + 5
    assert tables.bits(*call([-5], [0])) == 2 + 5 + 2


EXACT_TABLES = EntropyTables.concatenate(
    [table([0, 1000, 15000, 16300, 16384], -1), table([0, 8192, 16384], 5)]
)
EXACT_CALLS = [
    call([0, 0, 5, 0, 300, -1], [0, 0, 1, SKIP, 0, 0]),
    call([5, -32768, 1], [1, 1, 0]),
]


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        (0, "19d30c7065df00b0bc"),
        (1, "0100552600e7982500b05c1900d87f180070050500"),
        (2, "0208000000b85702002829010000000100000001001f404000b4bf360118421000000001002bb00500"),
    ],
)
def test_exact_words(streams: int, expected: str) -> None:
    assert encode(EXACT_TABLES, EXACT_CALLS, streams).hex() == expected


def test_nothing_is_the_first_state_alone() -> None:
    first = (65536).to_bytes(3, "little")
    assert encode(EXACT_TABLES, [], 0) == first
    skips = [call([0] * 9, [SKIP] * 9)]
    assert encode(EXACT_TABLES, skips, 0) == first
    assert_equal(decode(EXACT_TABLES, skips, first, 0), skips)


def test_finish_starts_the_encoder_anew() -> None:
    encoder = _rans.SymbolEncoder(native(EXACT_TABLES))
    encoder.append(*EXACT_CALLS[0])
    encoder.finish(1)
    encoder.append(*EXACT_CALLS[1])
    assert encoder.finish(1) == encode(EXACT_TABLES, EXACT_CALLS[1:], 1)


@pytest.mark.parametrize("streams", [0, 1, 3])
def test_damaged_bytes_are_refused_or_canonical(streams: int) -> None:
    tables, whole = gaussian_message(300, skipped=0.2)
    payload = encode(tables, [whole], streams)
    for size in range(len(payload)):
        assert_refused_or_canonical(tables, [whole], payload[:size], streams)
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        assert_refused_or_canonical(tables, [whole], bytes(flipped), streams)


@given(messages(), st.binary(max_size=80), STREAMS)
@settings(deadline=None)
def test_any_bytes_are_refused_or_canonical(
    message: tuple[EntropyTables, list[Call]], payload: bytes, streams: int
) -> None:
    assert_refused_or_canonical(*message, payload, streams)


def streams_of(*parts: bytes) -> bytes:
    sizes = b"".join(struct.pack("<I", len(part) // 2) for part in parts[:-1])
    return bytes([len(parts)]) + sizes + b"".join(parts)


EMPTY = struct.pack("<4I", *[65536] * 4)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"", Truncated),
        (b"\x00" + EMPTY, CorruptStream),
        (b"\x11" + EMPTY * 17, CorruptStream),
        (b"\x03\x08", Truncated),
        (b"\x02\xff\xff\xff\xff" + EMPTY * 2, Truncated),
        (b"\x02\x07\x00\x00\x00" + EMPTY * 2, Truncated),
        (streams_of(EMPTY, EMPTY[:-2]), Truncated),
        (streams_of(EMPTY, EMPTY) + b"\x00", CorruptStream),
        (streams_of(EMPTY, b"\x00" * 16), CorruptStream),
    ],
)
def test_bad_streams_are_refused_at_once(payload: bytes, error: type[CorruptStream]) -> None:
    with pytest.raises(CorruptStream) as caught:
        _rans.SymbolDecoder(native(EXACT_TABLES), payload, False)
    assert caught.type is error


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"", Truncated),
        (b"\0\1", Truncated),
        (b"\1", Truncated),
        (b"\0\0\0", CorruptStream),
        (b"\0\0\1\0", CorruptStream),
        (b"\0\0\0\0\1", CorruptStream),
        (b"\0\0\1\0\0\0", CorruptStream),
    ],
)
def test_a_bad_state_is_refused_at_once(payload: bytes, error: type[CorruptStream]) -> None:
    with pytest.raises(CorruptStream) as caught:
        _rans.SymbolDecoder(native(EXACT_TABLES), payload, True)
    assert caught.type is error


@pytest.mark.parametrize("streams", [0, 1])
def test_missing_words_are_truncated(streams: int) -> None:
    tables, whole = gaussian_message(300, skipped=0.0)
    with pytest.raises(Truncated):
        decode(tables, [whole], encode(tables, [whole], streams)[:-2], streams)


def test_an_escape_outside_16_bits_is_corrupt() -> None:
    escape, side, length = 1, 0, 15
    state = (1 << 15 | length << 1 | side) << 14 | escape
    payload = streams_of(struct.pack("<4I", state, *[65536] * 3) + b"\xff\xff\xff\xff")
    with pytest.raises(CorruptStream, match="16 bits"):
        _rans.SymbolDecoder(native(table([0, 1, 16384], 32767)), payload, False).decode(
            np.zeros(1, np.uint16)
        )


@pytest.mark.parametrize("streams", [0, 2])
def test_stopping_early_is_noticed(streams: int) -> None:
    payload = encode(EXACT_TABLES, EXACT_CALLS, streams)
    with pytest.raises(Desynchronised):
        decode(EXACT_TABLES, EXACT_CALLS[:1], payload, streams)


def test_left_over_words_are_corrupt() -> None:
    with pytest.raises(CorruptStream, match="left over"):
        decode(EXACT_TABLES, [], streams_of(EMPTY + b"\x00\x00"), 1)


@pytest.mark.parametrize(
    ("bounds", "offset"),
    [
        ([0, 16384], 0),
        ([0, 9, 9, 16384], 0),
        ([0, 9, 8, 16384], 0),
        ([1, 9, 16384], 0),
        ([0, 9, 16383], 0),
        ([0, 9, 20, 16384], 32767),
        ([], 0),
    ],
)
def test_bad_rows_are_refused(bounds: list[int], offset: int) -> None:
    with pytest.raises(ValueError, match="tables: row 0"):
        native(table(bounds, offset))


@pytest.mark.parametrize("starts", [[], [0], [0, 3, 2], [1, 3], [0, 4, 3], [0, 0, 3]])
def test_bad_starts_are_refused(starts: list[int]) -> None:
    offsets = np.zeros(max(len(starts) - 1, 1), np.int16)
    with pytest.raises(ValueError, match="tables: "):
        _rans.Tables(np.array([0, 9, 16384], np.uint16), np.array(starts, np.uint32), offsets)


def test_bad_arguments_are_refused() -> None:
    tables = native(EXACT_TABLES)
    encoder = _rans.SymbolEncoder(tables)
    decoder = _rans.SymbolDecoder(tables, b"\0\0\1", True)
    unknown = np.array([0, 2], np.uint16)
    for use in (tables.bits, encoder.append):
        with pytest.raises(ValueError, match="indexes"):
            use(np.zeros(2, np.int16), unknown)
        with pytest.raises(ValueError, match="same length"):
            use(np.zeros(3, np.int16), unknown)
        with pytest.raises(TypeError):
            use(np.zeros(2, np.int32), unknown)
    with pytest.raises(ValueError, match="indexes"):
        decoder.decode(unknown)
    with pytest.raises(TypeError):
        decoder.decode(np.zeros(4, np.uint16)[::2])
    with pytest.raises(ValueError, match="streams"):
        encoder.finish(17)


def test_coders_on_different_threads_share_tables() -> None:
    tables, whole = gaussian_message(50_000, skipped=0.3)
    shared = native(tables)

    def round_trip(streams: int) -> bool:
        encoder = _rans.SymbolEncoder(shared)
        encoder.append(*whole)
        decoder = _rans.SymbolDecoder(shared, encoder.finish(streams), streams == 0)
        symbols = decoder.decode(whole[1])
        decoder.finish()
        return bool((symbols == whole[0]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(round_trip, [0, 1, 2, 4] * 4))


def test_the_stub_lists_every_name() -> None:
    stub = ast.parse((Path(neuvid.__file__).parent / "_rans.pyi").read_text())
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    assert set(classes) == {name for name in vars(_rans) if not name.startswith("_")}
    for name, node in classes.items():
        methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        defined = {key for key in vars(getattr(_rans, name)) if not key.startswith("_")}
        assert methods - {"__init__"} == defined
