"""How long frames are shown, as far as those before tell."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from statistics import median_low

RECENT = 5  # frames whose durations tell those of the next ones
REMEMBERED = 32  # frames of which the longest is known
SPREAD = 0.3  # of the usual duration by which frames may differ and still be usual


class FramePace:
    """Expects the next frames to last `seconds`: the usual time, or as long as the last ones.

    `longest` is the longest that one of the last frames lasted.
    """

    def __init__(self, usual: float) -> None:
        self.seconds = self.longest = usual
        self._usual = usual
        self._times: deque[float] = deque(maxlen=REMEMBERED + 1)

    def see(self, seconds: float) -> None:
        """Look at the time of the next frame."""
        self._times.append(seconds)
        durations = [after - before for before, after in pairwise(self._times)]
        if durations:
            middle = median_low(durations[-RECENT:])
            is_usual = abs(middle / self._usual - 1) <= SPREAD
            self.seconds = self._usual if is_usual else max(middle, self._usual / 8)
            self.longest = max(durations)
