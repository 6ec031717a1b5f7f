"""Encode a file with its sound, and decode it again.

python examples/encode_a_file.py IN.mp4 OUT.mkv
"""

from __future__ import annotations

import sys
from pathlib import Path

import neuvid


def encode(source: Path, stream: Path, quality: float) -> neuvid.StreamStatistics:
    """Encode a clip to a stream at a quality of 0 (fewest bits) to 63."""
    with neuvid.open_clip(source, passthrough=True) as clip:
        model, control = neuvid.load_model("fm-small"), neuvid.FixedQuality(quality)
        return neuvid.encode_clip(clip, stream, model=model, control=control)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    stream = target.with_suffix(".nvid")
    statistics = encode(source, stream, quality=40)
    print(f"{statistics.frames} frames, {stream.stat().st_size} bytes")
    report = neuvid.decode_stream(stream, target)
    print(f"{report.written_frames} frames in {target}", *report.notes, sep="\n")
