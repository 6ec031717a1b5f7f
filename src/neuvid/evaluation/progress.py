"""How much of an evaluation is done, and how long the rest will take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Progress:
    """Encodings `done` of `total`. `seconds_left` is None as long as nothing tells it."""

    done: int
    total: int
    seconds_left: float | None


Report: TypeAlias = Callable[[Progress], None]


class ProgressTally:
    """Counts encodings, `planned` of each codec by its name, `at_once` at a time.

    The time left follows from what encodings of the same codec took; what comes from the cache
    tells nothing.
    """

    def __init__(self, planned: Mapping[str, int], at_once: int, report: Report) -> None:
        self._left = Counter(planned)
        self._total = self._left.total()
        self._at_once = at_once
        self._report = report
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, codec: str, seconds: float | None) -> None:
        """Count an encoding; `seconds` is None where it was in the cache or could not be."""
        self._left[codec] -= 1
        if seconds is not None:
            self._seconds[codec].append(seconds)
        left = self._left.total()
        self._report(Progress(self._total - left, self._total, self._seconds_left()))

    def _seconds_left(self) -> float | None:
        if not self._seconds:
            return None
        usual = fmean(map(fmean, self._seconds.values()))
        means = {codec: fmean(seconds) for codec, seconds in self._seconds.items()}
        left = sum(count * means.get(codec, usual) for codec, count in self._left.items())
        return left / self._at_once
