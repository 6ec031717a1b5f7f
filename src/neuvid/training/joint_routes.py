"""Training the routes of a slimmable autoencoder together (DynamicDVC, section 3.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

QUALITY_MIN = 2.0  # below it no route is lowered
STEADY_SHARE = 0.5  # of the chains: one route for all frames

Measure = Callable[[int, float], tuple[float, float]]  # route, quality -> rate, distortion


def draw_routes(routes: int, frames: int) -> tuple[int, ...]:
    """Draw the routes of a chain's frames: often one for all, else one for each (algorithm 1)."""
    if routes == 1:
        return (0,)
    steady = torch.rand(()) < STEADY_SHARE
    return tuple(torch.randint(routes, (1 if steady else frames,)).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class JointRoutes:
    """When and by how much the qualities that narrow routes are for are lowered (algorithm 2).

    After `first_step` steps of all stages, and then every `period` steps, the qualities fall by
    `fall`, and lambda with them, for one route after the other until it has reached its diverging
    point. What is left of the recipe trains with the qualities found.
    """

    first_step: int
    period: int
    fall: float = 4.0

    def is_due(self, step: int) -> bool:
        """Return whether qualities may fall after so many steps."""
        return step >= self.first_step and (step - self.first_step) % self.period == 0


class DivergenceSearch:
    """Finds the highest quality that each route is for, its diverging point, widest route first.

    As a route's quality falls from that of the next wider one, the line between their points on
    the curve of distortion against rate becomes flatter, until the narrow route works as well as
    the wide one; then the line follows the curve, which becomes steeper. There the search ends.
    """

    def __init__(self, routes: int, fall: float) -> None:
        self.fall = fall
        self.route = routes - 2  # whose quality is lowered, with those of narrower ones; -1: none
        self.last: tuple[float, float] | None = None  # slope and rate before the last fall

    def advance(self, ladder: tuple[float, ...], measure: Measure) -> tuple[float, ...]:
        """Return the qualities for the next period, given those of the last one."""
        while self.route >= 0:
            slope, rate = self._point(ladder, measure)
            if not self._is_found(slope, rate) and ladder[self.route] > QUALITY_MIN:
                self.last = slope, rate
                return tuple(
                    max(quality - self.fall, QUALITY_MIN) if route <= self.route else quality
                    for route, quality in enumerate(ladder)
                )
            self.route, self.last = self.route - 1, None
        return ladder

    def _is_found(self, slope: float, rate: float) -> bool:
        return self.last is not None and slope < self.last[0] and rate < self.last[1]

    def _point(self, ladder: tuple[float, ...], measure: Measure) -> tuple[float, float]:
        """Return the slope between a route's point and the next one's, and the route's rate."""
        narrow, wide = (measure(route, ladder[route]) for route in (self.route, self.route + 1))
        (rate, distortion), (wide_rate, wide_distortion) = narrow, wide
        if rate >= wide_rate:  # worse in every way, as if the line were vertical
            return -math.inf, rate
        return (distortion - wide_distortion) / (rate - wide_rate), rate

    def state(self) -> dict[str, Any]:
        """Return what a search that was interrupted goes on with."""
        return {"route": self.route, "last": self.last}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a search was interrupted."""
        self.route, self.last = state["route"], state["last"]
