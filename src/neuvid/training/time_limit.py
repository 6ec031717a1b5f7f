"""Ends a run early enough for what is still to be done at its end."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager

LEAVING_SECONDS = 2.0  # from the last line of a run to the end of its processes
LAST = 3  # times of a part that are remembered
CAUTION = 1.2  # what was measured may take longer the next time


class TimeLimit:
    """A moment of `time.monotonic`, None for none, by which all must be done.

    `timing` measures parts of the work; each is expected to take as long as the longest of its
    last three times.
    """

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        self._seconds: defaultdict[str, deque[float]] = defaultdict(lambda: deque([0.0], LAST))

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Measure how long a part takes."""
        start = time.monotonic()
        yield
        self._seconds[part].append(time.monotonic() - start)

    def allows(self, *parts: str) -> bool:
        """Return whether there is time for all parts; one not measured yet counts as nothing."""
        needed = CAUTION * sum(max(self._seconds[part]) for part in parts)
        return self.left() > needed + LEAVING_SECONDS

    def left(self) -> float:
        """Return the seconds that are left."""
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()
