"""How a player turns and mirrors the pictures of a clip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import atan2, cos, degrees, radians, sin
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuvid.errors import InvalidSetting

ONE, PROJECTIVE_ONE = 1 << 16, 1 << 30  # 1 with 16 and with 30 bits behind the point
INT32 = range(-(1 << 31), 1 << 31)


@dataclass(frozen=True, slots=True)
class Orientation:
    """The display matrix of ISO/IEC 14496-12: a, b, u, c, d, v, x, y, w.

    The point (p, q) of a picture, q downwards, is shown at (a p + c q + x, b p + d q + y). Numbers
    have 16 bits behind the point; u, v and w have 30. Raises InvalidSetting where they are not
    nine numbers of 32 bits, or show nothing.
    """

    matrix: tuple[int, ...] = (ONE, 0, 0, 0, ONE, 0, 0, 0, PROJECTIVE_ONE)

    def __post_init__(self) -> None:
        if len(self.matrix) != 9 or not all(number in INT32 for number in self.matrix):
            raise InvalidSetting("display matrix", got=self.matrix, expected="9 of 32 bits")
        if not self._determinant:
            raise InvalidSetting("display matrix", got=self.matrix, expected="not flat")

    @classmethod
    def turned(cls, angle: float, *, mirrored: bool = False) -> Orientation:
        """Turn by `angle` degrees counter-clockwise, then mirror left to right."""
        cosine, sine = (round(ONE * function(radians(angle))) for function in (cos, sin))
        sign = -1 if mirrored else 1
        return cls((sign * cosine, -sine, 0, sign * sine, cosine, 0, 0, 0, PROJECTIVE_ONE))

    @classmethod
    def from_bytes(cls, data: bytes, order: Literal["big", "little"] = "big") -> Orientation:
        """Return what `to_bytes` wrote, or FFmpeg in the order of the machine."""
        numbers = (data[place : place + 4] for place in range(0, len(data), 4))
        return cls(tuple(int.from_bytes(each, order, signed=True) for each in numbers))

    def to_bytes(self) -> bytes:
        """Return the nine numbers, 4 bytes each."""
        return b"".join(number.to_bytes(4, "big", signed=True) for number in self.matrix)

    def __str__(self) -> str:
        a, b = self.matrix[:2]
        mirrored = self._determinant < 0
        angle = round(degrees(atan2(-b, -a if mirrored else a)))
        turned = f"turned by {angle} degrees"
        return f"{turned} and mirrored" if mirrored else turned

    @property
    def is_upright(self) -> bool:
        """Whether pictures are shown as they are, but for scaling and moving."""
        a, b, _, c, d = self.matrix[:5]
        return b == c == 0 < min(a, d)

    @property
    def is_askew(self) -> bool:
        """Whether a picture's sides are shown neither level nor plumb."""
        a, b, _, c, d = self.matrix[:5]
        return (a, d) != (0, 0) and (b, c) != (0, 0)

    @property
    def swaps_sides(self) -> bool:
        """Whether a picture that is shown level is as wide as this one is high."""
        a, b, _, c, d = self.matrix[:5]
        return abs(b) + abs(c) > abs(a) + abs(d)

    def show(self, planes: Iterable[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], ...]:
        """Return planes [H, W] or [H, W, 3] as they are shown; of an askew one, the nearest."""
        a, b, _, c, d = self.matrix[:5]
        right, down = (c, b) if self.swaps_sides else (a, d)
        steps = (-1 if down < 0 else 1, -1 if right < 0 else 1)
        turned = (plane.swapaxes(0, 1) if self.swaps_sides else plane for plane in planes)
        return tuple(np.ascontiguousarray(each[:: steps[0], :: steps[1]]) for each in turned)

    @property
    def _determinant(self) -> int:
        a, b, _, c, d = self.matrix[:5]
        return a * d - b * c
