"""A rate controller of one's own: no frame takes more than a number of bits.

python examples/own_rate_control.py IN.mp4 OUT.nvid BITS
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from pathlib import Path

import neuvid


class FrameLimit:
    """Gives each frame the highest whole quality at which it takes `limit` bits at most.

    Where there is none, quality 0. A controller has these two methods, and may keep what it likes.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.taken: list[float] = []  # bits of the frames

    def choose(self, view: neuvid.FrameView) -> neuvid.FrameChoice:
        """Return the choice for a frame; a trial codes the frame and leaves no trace."""

        def bits(quality: float) -> float:
            return view.trial(view.plan.choice(quality)).bits

        fitting = bisect_right(range(64), self.limit, key=bits)
        return view.plan.choice(max(fitting - 1, 0))

    def observe(self, choice: neuvid.FrameChoice, stats: neuvid.FrameStats) -> None:
        """Learn what a frame took."""
        self.taken.append(stats.bits)


def encode(source: Path, stream: Path, control: neuvid.RateController) -> None:
    """Encode a clip to a stream under a controller."""
    with neuvid.open_clip(source) as clip:
        neuvid.encode_clip(clip, stream, model=neuvid.load_model("fm-small"), control=control)


if __name__ == "__main__":
    control = FrameLimit(float(sys.argv[3]))
    encode(Path(sys.argv[1]), Path(sys.argv[2]), control)
    print(f"{len(control.taken)} frames, {max(control.taken):.0f} bits at most")
