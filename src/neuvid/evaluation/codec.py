"""What a codec is to an evaluation. No torch here: processes of other codecs need none."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from neuvid.evaluation.anchors import Structure
from neuvid.evaluation.ffmpeg import Cost
from neuvid.evaluation.source import RawClip


class Codec(Protocol):
    """Codes clips through files; a quality is a quantiser or a bit rate for some codecs."""

    @property
    def name(self) -> str:
        """How the codec is asked for."""

    @property
    def version(self) -> str:
        """The program and the weights that encode."""

    @property
    def structure(self) -> Structure:
        """How frames refer to each other."""

    @property
    def threads(self) -> int:
        """Threads of the encoder and of the decoder."""

    @property
    def suffix(self) -> str:
        """Of the names of streams."""

    @property
    def kmac_per_pixel(self) -> float | None:
        """Thousands of multiply-accumulates of an inter frame, None where they change."""

    def qualities(self, points: int) -> list[float]:
        """Return qualities, from the fewest bits to the most."""

    def describe(self, quality: float) -> str:
        """Return a quality in words."""

    def target_rate(self, quality: float) -> float | None:
        """Return the bits per second that are aimed for, None where a quality is."""

    def identity(self, quality: float) -> str:
        """Return text that differs where streams may differ."""

    def encode(self, clip: RawClip, quality: float, stream: Path) -> Cost:
        """Encode a clip into a file."""

    def decode(self, clip: RawClip, stream: Path, decoded: Path) -> Cost:
        """Decode the file into bare planes."""

    def container_bytes(self, stream: Path) -> int:
        """Return the bytes of the file that are no coded frame."""
