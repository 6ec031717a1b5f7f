"""Integer cumulative tables for the entropy coder, built once after training.

They ship in the checkpoint and are never rebuilt when one is loaded, so that every machine
decodes with the same integers. docs/entropy-coding.md says how they are used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuvid.errors import InvalidSetting

PRECISION_BITS = 14
TOTAL = 1 << PRECISION_BITS  # the widths of a row's bins sum to this
TAIL_MASS = 0.5 / TOTAL  # left to the escape bin, at most, on either side
LAW_SYMBOL_MAX = 255  # of laws that know a scale
SYMBOLS_MAX = 4096  # of a row
ROWS_AT_ONCE = 512  # bounds the memory for many wide rows


@dataclass(frozen=True, eq=False)
class EntropyTables:
    """Rows of integer cumulative distributions, in the form that `_rans.Tables` takes.

    Row r is `cumulative[starts[r]:starts[r + 1]]`: strictly rising from 0 to TOTAL. Its bin k
    stands for the symbol `offsets[r] + k`; its last bin is for all other symbols.
    """

    cumulative: NDArray[np.uint16]  # all rows, one after the other
    starts: NDArray[np.uint32]  # [rows + 1]
    offsets: NDArray[np.int16]  # [rows]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets)

    @staticmethod
    def concatenate(parts: Sequence[EntropyTables]) -> EntropyTables:
        """Return the rows of all `parts` in order."""
        sizes = np.concatenate([np.diff(part.starts) for part in parts])
        return EntropyTables(
            cumulative=np.concatenate([part.cumulative for part in parts]),
            starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.uint32),
            offsets=np.concatenate([part.offsets for part in parts]),
        )


def gaussian_tables(scales: NDArray[np.float64]) -> EntropyTables:
    """Return one row per standard deviation [rows] > 0: a zero-mean Gaussian in unit bins.

    A row covers -c..c, c in 1..255 as `tables_from_cumulative` trims it.
    """
    error_function = np.vectorize(math.erf, otypes=[np.float64])
    cumulative = 0.5 + 0.5 * error_function(_edges() * math.sqrt(0.5) / scales[:, None])
    return tables_from_cumulative(cumulative, first_symbol=-LAW_SYMBOL_MAX)


def laplace_tables(scales: NDArray[np.float64]) -> EntropyTables:
    """Return one row per scale b [rows] > 0: a zero-mean Laplace law in unit bins.

    Its density falls by e every b symbols. A row covers -c..c, as that of a Gaussian.
    """
    distances = _edges() / scales[:, None]
    cumulative = 0.5 - 0.5 * np.sign(distances) * np.expm1(-np.abs(distances))
    return tables_from_cumulative(cumulative, first_symbol=-LAW_SYMBOL_MAX)


def flag_tables(probabilities: NDArray[np.float64]) -> EntropyTables:
    """Return one row for each probability [rows] of the symbol 1; else the symbol is 0."""
    zeros, ones = np.zeros_like(probabilities), np.ones_like(probabilities)
    cumulative = np.stack([zeros, zeros, 1 - probabilities, ones], 1)
    return tables_from_cumulative(cumulative, first_symbol=-1)


def _edges() -> NDArray[np.float64]:
    """Return the bounds of the bins of the symbols -255..255."""
    return np.arange(-LAW_SYMBOL_MAX, LAW_SYMBOL_MAX + 2, dtype=np.float64) - 0.5


def tables_from_cumulative(cumulative: NDArray[np.float64], *, first_symbol: int) -> EntropyTables:
    """Return one row per distribution, trimmed to where its mass is.

    `cumulative` [rows, n + 1] holds P(X < first_symbol + j - 1/2) for j = 0..n, so a row can cover
    n symbols, 3 <= n <= 4096. It covers all but tails of TAIL_MASS, and no fewer than the symbol
    of the median and its two neighbours. Raise InvalidSetting for anything but distributions.
    """
    rows, columns = cumulative.shape
    if not 3 < columns <= SYMBOLS_MAX + 1:
        raise InvalidSetting("symbols of a row", got=columns - 1, expected=f"3..{SYMBOLS_MAX}")
    if not (np.diff(cumulative, prepend=0.0, append=1.0) >= 0).all():
        raise InvalidSetting("cumulative", got="other values", expected="rising within 0..1")
    blocks = [cumulative[start : start + ROWS_AT_ONCE] for start in range(0, rows, ROWS_AT_ONCE)]
    return EntropyTables.concatenate([_quantise(block, first_symbol) for block in blocks])


def _quantise(cumulative: NDArray[np.float64], first_symbol: int) -> EntropyTables:
    rows, symbols = len(cumulative), cumulative.shape[1] - 1
    median = np.clip((cumulative <= 0.5).sum(1) - 1, 1, symbols - 2)
    first = np.clip((cumulative <= TAIL_MASS).sum(1) - 1, 0, median - 1)
    last = np.clip((cumulative < 1 - TAIL_MASS).sum(1) - 1, median + 1, symbols - 1)

    places = np.arange(symbols)
    covered = (places >= first[:, None]) & (places <= last[:, None])
    used = np.hstack([covered, np.ones((rows, 1), bool)])  # and the escape bin
    mass = np.where(covered, np.diff(cumulative), 0.0)
    widths = _integer_widths(np.hstack([mass, 1 - mass.sum(1, keepdims=True)]), used)

    bounds = np.hstack([np.zeros((rows, 1), np.int64), np.cumsum(widths, axis=1)])
    kept = np.hstack([np.ones((rows, 1), bool), used])
    return EntropyTables(
        cumulative=bounds[kept].astype(np.uint16),
        starts=np.concatenate([[0], np.cumsum(kept.sum(1))]).astype(np.uint32),
        offsets=(first_symbol + first).astype(np.int16),
    )


def _integer_widths(mass: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the whole widths >= 1 with the sum TOTAL that cost the fewest bits on average.

    The cost is -sum(mass * log(width)). It is least where no unit of width gains more in another
    bin than it loses in its own, which rounding at `threshold` grants for some sum near TOTAL.
    """
    lower = np.maximum(np.floor(mass * TOTAL), 1)
    threshold = 1 / np.log1p(1 / lower)  # in lower..lower + 1
    widths = np.where(used, lower + (mass * TOTAL > threshold), 0).astype(np.int64)
    for step in (1, -1):
        while len(rows := np.flatnonzero((TOTAL - widths.sum(1)) * step > 0)):
            width, adjustable = widths[rows], used[rows] & (widths[rows] + step >= 1)
            ratio = (width + step) / np.maximum(width, 1)
            gain = np.log(ratio, where=adjustable, out=np.full(width.shape, -np.inf))
            gain[adjustable] *= mass[rows][adjustable]
            widths[rows, gain.argmax(1)] += step
    return widths
