"""Colour conversion by ITU-R BT.709, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuvid.video.frame import BLUE, GREEN, RED, Plane

Samples: TypeAlias = NDArray[np.float32]


def to_rgb(planes: Sequence[Plane], *, full_range: bool) -> Plane:
    """Return 4:2:0 planes as an RGB picture [H, W, 3]; chroma is repeated 2x2."""
    height, width = planes[0].shape
    black, luma_span, chroma_span = (0, 255, 255) if full_range else (16, 219, 224)
    luma = (planes[0].astype(np.float32) - black) / luma_span
    u, v = (
        (plane.repeat(2, 0).repeat(2, 1)[:height, :width].astype(np.float32) - 128) / chroma_span
        for plane in planes[1:]
    )
    red = luma + 2 * (1 - RED) * v
    blue = luma + 2 * (1 - BLUE) * u
    green = (luma - RED * red - BLUE * blue) / GREEN
    rgb = np.stack((red, green, blue), -1)
    return np.asarray(np.rint(255 * rgb.clip(0, 1)), np.uint8)


def to_ycbcr(rgb: Plane) -> tuple[Samples, Samples, Samples]:
    """Return an RGB picture [H, W, 3] as full-range Y, Cb and Cr around 0, in 8-bit units."""
    red, green, blue = np.moveaxis(rgb.astype(np.float32), -1, 0)
    y = RED * red + GREEN * green + BLUE * blue
    return y, (blue - y) / (2 - 2 * BLUE), (red - y) / (2 - 2 * RED)
