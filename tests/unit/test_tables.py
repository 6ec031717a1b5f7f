"""Laws of the integer tables."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from neuvid import _rans
from neuvid.entropy.tables import (
    TAIL_MASS,
    TOTAL,
    EntropyTables,
    gaussian_tables,
    laplace_tables,
    tables_from_cumulative,
)
from neuvid.errors import InvalidSetting

SCALES = np.geomspace(0.11, 64, 100)
MakeTables = Callable[[NDArray[np.float64]], EntropyTables]


def rows_of(tables: EntropyTables) -> list[NDArray[np.int64]]:
    return [tables.cumulative[a:b].astype(np.int64) for a, b in pairwise(tables.starts.tolist())]


def logistic(means: NDArray[np.float64], scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cumulative function at -60.5, -59.5 … 60.5."""
    halves = np.arange(-60, 62) - 0.5
    steepness = np.clip((halves - means[:, None]) / scales[:, None], -700, 700)
    return np.asarray(1 / (1 + np.exp(-steepness)))


def kept_mass(
    tables: EntropyTables, cumulative: NDArray[np.float64], first_symbol: int
) -> list[NDArray[np.float64]]:
    """The true mass of each bin, the escape bin included."""
    kept = []
    for row, bounds in enumerate(rows_of(tables)):
        start = int(tables.offsets[row]) - first_symbol
        mass = np.diff(cumulative[row, start : start + len(bounds) - 1])
        kept.append(np.append(mass, 1 - mass.sum()))
    return kept


@pytest.mark.parametrize("make", [gaussian_tables, laplace_tables])
def test_the_coder_takes_the_tables(make: MakeTables) -> None:
    tables = make(SCALES)
    assert len(tables) == len(SCALES)
    _rans.Tables(tables.cumulative, tables.starts, tables.offsets)


@pytest.mark.parametrize(("make", "widest"), [(gaussian_tables, 64), (laplace_tables, 24)])
def test_rows_of_laws_are_symmetric_and_wide_enough(make: MakeTables, widest: float) -> None:
    tables = make(np.geomspace(0.11, widest, 100))
    for bounds, offset in zip(rows_of(tables), tables.offsets.tolist(), strict=True):
        widths = np.diff(bounds)
        assert len(widths) - 1 == 1 - 2 * offset
        assert 1 <= -offset <= 255
        assert np.abs(widths[:-1] - widths[-2::-1]).max() <= 1
        assert widths[-1] <= 2


def test_laplace_rows_have_the_mass_of_the_law() -> None:
    (bounds,) = rows_of(laplace_tables(np.array([3.0])))
    mass = np.diff(bounds)[:-1] / TOTAL
    draws = np.random.default_rng(0).laplace(0.0, 3.0, 400_000).round()
    middle = len(mass) // 2
    for symbol in (0, 1, -4, 9):
        assert mass[middle + symbol] == pytest.approx((draws == symbol).mean(), abs=0.002)


def test_widths_cost_next_to_nothing() -> None:
    means, scales = np.linspace(-30, 30, 50), np.geomspace(0.05, 8, 50)
    cumulative = logistic(means, scales)
    tables = tables_from_cumulative(cumulative, first_symbol=-60)
    masses = kept_mass(tables, cumulative, -60)
    for mass, bounds in zip(masses, rows_of(tables), strict=True):
        surprise = np.log2(np.maximum(mass, 1e-300) * TOTAL / np.diff(bounds))
        assert (mass * surprise).sum() < 0.002


def test_only_thin_tails_are_left_to_the_escape_bin() -> None:
    cumulative = logistic(np.linspace(-3, 3, 30), np.geomspace(0.05, 4, 30))
    tables = tables_from_cumulative(cumulative, first_symbol=-60)
    assert max(mass[-1] for mass in kept_mass(tables, cumulative, -60)) <= 2 * TAIL_MASS


@given(arrays(np.float64, (3, 12), elements=st.floats(0, 1) | st.floats(0, 1e-3)))
@settings(deadline=None)
def test_no_other_widths_cost_less(weights: NDArray[np.float64]) -> None:
    mass = (weights + 1e-12) / (weights + 1e-12).sum(1, keepdims=True)
    cumulative = np.clip(np.hstack([np.zeros((3, 1)), np.cumsum(mass, axis=1)]), 0, 1)
    tables = tables_from_cumulative(cumulative, first_symbol=0)
    for kept, bounds in zip(kept_mass(tables, cumulative, 0), rows_of(tables), strict=True):
        widths = np.diff(bounds)
        gains = kept * np.log((widths + 1) / widths)
        narrowable = widths > 1
        losses = (kept * np.log(widths / np.maximum(widths - 1, 1)))[narrowable]
        assert gains.max() <= losses.min() + 1e-12


def test_mass_outside_the_reach_goes_to_the_escape_bin() -> None:
    cumulative = np.full((1, 6), 0.25)
    cumulative[0, 3:] = 0.5
    tables = tables_from_cumulative(cumulative, first_symbol=100)
    assert tables.offsets.tolist() == [100]
    assert np.diff(rows_of(tables)[0])[-1] == pytest.approx(0.75 * TOTAL, abs=5)


def test_concatenated_tables_keep_their_rows() -> None:
    parts = [gaussian_tables(SCALES[:3]), gaussian_tables(SCALES[3:]), gaussian_tables(SCALES[:1])]
    whole = EntropyTables.concatenate(parts)
    expected = [row for part in parts for row in rows_of(part)]
    for row, other in zip(rows_of(whole), expected, strict=True):
        np.testing.assert_array_equal(row, other)
    assert whole.offsets.tolist() == [offset for part in parts for offset in part.offsets]


@pytest.mark.parametrize(
    "cumulative",
    [
        [[0, 0.5, 1]],
        [[0, 0.5, 0.4, 1]],
        [[-0.1, 0, 0.5, 1]],
        [[0, 0.5, 1, 1.1]],
        [[0, np.nan, 1, 1]],
    ],
)
def test_what_is_no_distribution_is_refused(cumulative: list[list[float]]) -> None:
    with pytest.raises(InvalidSetting):
        tables_from_cumulative(np.array(cumulative), first_symbol=0)
