"""The rate control agent of DynamicDVC, with qualities between its routes.

"Learned Rate Control for Frame-Level Adaptive Neural Video Compression via Dynamic Neural
Network", ECCV 2024, section 3.3.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from math import exp, log

from neuvid.choice import FrameChoice, FrameKind
from neuvid.rate.budget import Bitrate
from neuvid.rate.controller import FrameStats, FrameView
from neuvid.rate.papers import FIRST_QUALITY, WINDOW
from neuvid.rate.planner import highest_quality

CORRECTION_GAIN = 0.2  # of the last error
PATTERN = 8  # frames of the quality pattern


class RateControlAgent:
    """Takes the route whose foreseen bits fit, and the quality within it that takes up the rest.

    What was spent too much or too little is made up for within WINDOW frames (equation 5). Intra
    frames are exempt. The frames of a quality pattern share what is allocated, as if all were like
    this one. Routes are compared at the highest quality that each is meant for. What is foreseen
    is corrected by how far it was off before. `frame_rate` is in frames per second; the model must
    have an agent.
    """

    def __init__(self, target: Bitrate, *, frame_rate: float) -> None:
        self.target = target
        self._frame_seconds = 1 / frame_rate
        self._budget = self._coded = 0.0  # bits; intra frames may cost what they do
        self._pending: deque[float] = deque()  # bits that are expected of frames in work
        self._correction = 0.0  # logarithm of bits

    def choose(self, view: FrameView) -> FrameChoice:
        """Return the choice whose foreseen bits are next to the allocation."""
        mean = self.target.at(view.seconds) * self._frame_seconds
        if view.plan.kind is FrameKind.INTRA:
            choice = view.plan.choice(FIRST_QUALITY)
            bits = view.trial(choice).bits
            self._budget += bits
        else:
            left = self._budget - self._coded - sum(self._pending)
            choice, bits = self._implement(view, mean + left / WINDOW, spare=left > 0)
            self._budget += mean
        self._pending.append(bits)
        return choice

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn what a frame cost."""
        self._coded += stats.bits
        error = log(stats.bits / self._pending.popleft())
        if choice.kind is FrameKind.INTER:
            self._correction += CORRECTION_GAIN * error

    def _implement(
        self, view: FrameView, allocated: float, *, spare: bool
    ) -> tuple[FrameChoice, float]:
        """Return the choice for an allocation and the bits that are expected of it."""
        plan, foreseen, factor = view.plan, view.foresee(), exp(self._correction)
        pattern = Counter(view.later(ahead).level for ahead in range(PATTERN))

        def rate(quality: float, route: int) -> float:
            """Return the mean bits of a pattern's frames."""
            bits = (
                frames * foreseen(replace(plan, level=level).choice(quality, route))
                for level, frames in pattern.items()
            )
            return factor * sum(bits) / PATTERN

        rates = [rate(quality, route) for route, quality in enumerate(plan.ladder)]
        route = fitting_route(rates, allocated, spare=spare)
        quality = highest_quality(lambda quality: rate(quality, route) <= allocated)
        choice = plan.choice(min(quality, plan.ladder[route]), route)
        return choice, factor * foreseen(choice)


def fitting_route(rates: Sequence[float], allocated: float, *, spare: bool) -> int:
    """Return the route whose rate is next to an allocation (equation 6).

    It is the next above while there are bits to spare, else the next below; without one the
    widest or the narrowest.
    """
    if spare:
        above = [route for route, rate in enumerate(rates) if rate > allocated]
        return min(above, key=rates.__getitem__, default=len(rates) - 1)
    below = [route for route, rate in enumerate(rates) if rate < allocated]
    return max(below, key=rates.__getitem__, default=0)
