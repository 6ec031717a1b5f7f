"""Pictures to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from neuvid.evaluation.colour import to_rgb
from neuvid.evaluation.source import RawClip, read_frame
from neuvid.video.frame import PixelFormat


def write_last_picture(clip: RawClip, planes_file: Path, target: Path) -> None:
    """Write the last frame, where drift shows most, as a lossless picture.

    `planes_file` holds bare planes like those of the clip; the suffix of `target` is the format.
    """
    planes = read_frame(planes_file, clip.format, clip.frames - 1)
    if clip.format.pixel_format is PixelFormat.RGB:
        rgb = planes[0]
    else:
        rgb = to_rgb(planes, full_range=clip.full_range)
    Image.fromarray(np.ascontiguousarray(rgb)).save(target, lossless=True)
