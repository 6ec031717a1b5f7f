"""Speed and size of the entropy coder next to constriction, which models each symbol by itself.

Both code the same Gaussian symbols, taking turns; medians over all turns are printed. Our rows are
chosen beforehand and constriction evaluates its Gaussians while it codes: that is how each is used.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import constriction  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from neuvid import _rans
from neuvid.entropy.tables import gaussian_tables

SYMBOLS = 1 << 21
LEVELS = 128
TURNS = 7

scales = np.geomspace(0.11, 64, LEVELS)
random = np.random.default_rng(1)
indexes = random.integers(0, LEVELS, SYMBOLS).astype(np.uint16)
symbols = np.rint(random.normal(size=SYMBOLS) * scales[indexes]).clip(-255, 255).astype(np.int16)

rows = gaussian_tables(scales)
tables = _rans.Tables(rows.cumulative, rows.starts, rows.offsets)
gaussian = constriction.stream.model.QuantizedGaussian(-255, 255)
wide_symbols = symbols.astype(np.int32)
parameters = (np.zeros(SYMBOLS), scales[indexes])  # means, standard deviations


class Coder(NamedTuple):
    """One way to code all symbols."""

    name: str
    encode: Callable[[], Any]
    decode: Callable[[Any], Any]  # from what encode returned


def ours(name: str, streams: int) -> Coder:
    """Return the native coder with so many streams, each on a thread; 0 is the compact form."""

    def encode() -> bytes:
        encoder = _rans.SymbolEncoder(tables)
        encoder.append(symbols, indexes)
        return encoder.finish(streams)

    def decode(payload: bytes) -> NDArray[np.int16]:
        decoder = _rans.SymbolDecoder(tables, payload, streams == 0)
        decoded = decoder.decode(indexes)
        decoder.finish()
        return decoded

    return Coder(name, encode, decode)


def constriction_ans() -> Coder:
    """Return constriction's ANS coder."""

    def encode() -> Any:
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(wide_symbols, gaussian, *parameters)
        return coder.get_compressed()

    def decode(words: Any) -> Any:
        return constriction.stream.stack.AnsCoder(words).decode(gaussian, *parameters)

    return Coder("constriction, ANS", encode, decode)


def constriction_range() -> Coder:
    """Return constriction's range coder."""

    def encode() -> Any:
        coder = constriction.stream.queue.RangeEncoder()
        coder.encode(wide_symbols, gaussian, *parameters)
        return coder.get_compressed()

    def decode(words: Any) -> Any:
        return constriction.stream.queue.RangeDecoder(words).decode(gaussian, *parameters)

    return Coder("constriction, range coder", encode, decode)


def turn(coder: Coder) -> tuple[float, float, int]:
    """Return the seconds for encoding and for decoding, and the bytes."""
    begin = perf_counter()
    payload = coder.encode()
    between = perf_counter()
    decoded = coder.decode(payload)
    end = perf_counter()
    if not np.array_equal(decoded, symbols):
        raise RuntimeError(f"{coder.name} does not return the symbols")
    return between - begin, end - between, memoryview(payload).nbytes


def main() -> None:
    """Print a line for each coder; speeds are in millions of symbols per second."""
    coders = [
        constriction_ans(),
        constriction_range(),
        ours("1 stream", 1),
        ours("2 streams, 2 threads", 2),
        ours("compact", 0),
    ]
    turns = [[turn(coder) for coder in coders] for _ in range(TURNS)]
    medians = [
        [median(values) for values in zip(*of, strict=True)] for of in zip(*turns, strict=True)
    ]
    ideal = tables.bits(symbols, indexes) / 8
    print(f"{SYMBOLS} symbols, {8 * ideal / SYMBOLS:.3f} bits each; {TURNS} turns")
    print(f"{'':26}{'encode':>9}{'ratio':>7}{'decode':>9}{'ratio':>7}{'bytes over ideal':>18}")
    for coder, (encode, decode, size) in zip(coders, medians, strict=True):
        speeds = (SYMBOLS / encode / 1e6, SYMBOLS / decode / 1e6)
        ratios = (medians[0][0] / encode, medians[0][1] / decode)
        print(
            f"{coder.name:26}{speeds[0]:9.1f}{ratios[0]:7.1f}{speeds[1]:9.1f}{ratios[1]:7.1f}"
            f"{size - ideal:18.0f}"
        )


if __name__ == "__main__":
    main()
