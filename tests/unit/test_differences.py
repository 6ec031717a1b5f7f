"""Bjontegaard differences and the conversion to RGB, against numbers known otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from bjontegaard.functions import bd_psnr, bd_rate  # type: ignore[import-untyped]

from neuvid.evaluation.bdrate import bjontegaard_difference
from neuvid.evaluation.colour import to_rgb

RATES, VALUES = (0.1, 0.2, 0.4, 0.8), (30.0, 33.0, 35.5, 38.0)


def test_differences_are_those_of_bjontegaard() -> None:
    rates, values = (0.07, 0.15, 0.3, 0.7), (30.5, 33.2, 36.0, 38.1)
    delta = bjontegaard_difference(RATES, VALUES, rates, values)
    curves = (RATES, VALUES, rates, values)
    assert delta.rate == pytest.approx(bd_rate(*curves, method="pchip", min_overlap=0))
    assert delta.gain == pytest.approx(bd_psnr(*curves, method="pchip", min_overlap=0))


def test_differences_by_hand() -> None:
    half = bjontegaard_difference(RATES, VALUES, [rate / 2 for rate in RATES], VALUES)
    assert half.rate == pytest.approx(-50)
    better = bjontegaard_difference(RATES, VALUES, RATES, [value + 1 for value in VALUES])
    assert better.gain == pytest.approx(1)
    assert better.overlap is not None
    assert (better.overlap.low, better.overlap.high) == (31, 38)
    assert better.overlap.share == pytest.approx(7 / 8)


@pytest.mark.parametrize(
    ("rates", "values", "reason"),
    [
        (RATES[:3], VALUES[:3], "fewer than 4 points"),
        (RATES, [value + 20 for value in VALUES], "only 0% overlap"),
        (RATES, [value + 5 for value in VALUES], "only 38% overlap"),
        (RATES, (30.0, 33.0, 32.0, 38.0), "more bits do not always"),
    ],
)
def test_differences_without_meaning_are_refused(
    rates: tuple[float, ...], values: tuple[float, ...], reason: str
) -> None:
    delta = bjontegaard_difference(RATES, VALUES, rates, values)
    assert delta.rate is None
    assert delta.gain is None
    assert reason in str(delta.refusal)


@pytest.mark.parametrize(
    ("planes", "full_range", "expected"),
    [
        ((235, 128, 128), False, (255, 255, 255)),
        ((16, 128, 128), False, (0, 0, 0)),
        ((63, 102, 240), False, (255, 0, 0)),
        ((173, 42, 26), False, (0, 255, 0)),
        ((32, 240, 118), False, (0, 0, 255)),
        ((200, 128, 128), True, (200, 200, 200)),
    ],
)
def test_rgb_is_by_bt709(
    planes: tuple[int, ...], full_range: bool, expected: tuple[int, ...]
) -> None:
    shapes = ((3, 5), (2, 3), (2, 3))
    arrays = [np.full(s, v, np.uint8) for s, v in zip(shapes, planes, strict=True)]
    picture = to_rgb(arrays, full_range=full_range)
    assert picture.shape == (3, 5, 3)
    assert np.abs(picture.astype(int) - expected).max() <= 2
