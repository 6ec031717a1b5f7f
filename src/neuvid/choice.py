"""The decisions about a frame that the decoder must know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from neuvid.errors import InvalidSetting

QUALITIES = 64  # whole qualities of a model, 0 (fewest bits) to 63
DEFAULT_QUALITY = 32.0
QUALITY_FRACTIONS = 4  # steps between two whole qualities that a packet can store
LEVELS = 4  # places of the quality pattern that a packet can store
ROUTES = 4  # routes of a slimmable network that a packet can store


class FrameKind(IntEnum):
    """How a frame refers to others."""

    INTRA = 0
    INTER = 1


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """Every decision about a frame that the decoder must know; a packet header stores it.

    `quality` is 0..63 in quarter steps. In training it may be one number per sample of the
    batch. `level` is the place in the quality pattern, `route` the width of a slimmable
    network, `refresh` restarts the carried features from the reconstructed frame.

    Raises InvalidSetting when a field is out of range.
    """

    kind: FrameKind
    quality: float | tuple[float, ...] = 32.0
    level: int = 0
    route: int = 0
    refresh: bool = False

    def __post_init__(self) -> None:
        qualities = self.quality if isinstance(self.quality, tuple) else (self.quality,)
        if not all(0 <= quality <= QUALITIES - 1 for quality in qualities):
            raise InvalidSetting("quality", got=self.quality, expected=f"0..{QUALITIES - 1}")
        if not 0 <= self.level < LEVELS:
            raise InvalidSetting("level", got=self.level, expected=f"0..{LEVELS - 1}")
        if not 0 <= self.route < ROUTES:
            raise InvalidSetting("route", got=self.route, expected=f"0..{ROUTES - 1}")


def quality_of(choice: FrameChoice) -> float:
    """Return the quality of a choice for one sample."""
    return float(choice.quality)  # type: ignore[arg-type]


def round_quality(quality: float) -> float:
    """Return the nearest quality that a packet can store."""
    return round(quality * QUALITY_FRACTIONS) / QUALITY_FRACTIONS
