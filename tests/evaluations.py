"""Small clips and evaluations that tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clips import moving_frames, moving_info
from conftest import FAMILIES, save_untrained

from neuvid.evaluation.anchors import Structure
from neuvid.evaluation.codecs import CodecOptions, find_codec
from neuvid.evaluation.results import Evaluation
from neuvid.evaluation.run import RunOptions, evaluate
from neuvid.video.clip import create_clip
from neuvid.video.frame import PixelFormat

FRAMES = 6
SIZE = (96, 64)
OPTIONS = CodecOptions(structure=Structure())
X264 = find_codec("x264:ultrafast", OPTIONS)


def moving_file(
    path: Path, pixel_format: PixelFormat = PixelFormat.YUV420, frames: int = FRAMES
) -> Path:
    """Write moving frames to a y4m file, or as RGB pictures to a folder."""
    info = moving_info(SIZE, pixel_format=pixel_format)
    with create_clip(path, info) as writer:
        for frame in moving_frames(info, frames):
            writer.write(frame)
    return path


def tiny_checkpoint(folder: Path) -> Path:
    """Write the checkpoint of a tiny model."""
    return save_untrained(folder / "tiny.safetensors", FAMILIES["implicit"], seed=1)


def small_evaluation(folder: Path) -> Evaluation:
    """Code a moving clip with a tiny model of ours and with x264, at four rates each."""
    clip, checkpoint = moving_file(folder / "moving.y4m"), tiny_checkpoint(folder)
    codecs = [find_codec(str(checkpoint), OPTIONS), X264]
    return evaluate([clip], codecs, RunOptions(cache=folder / "cache", points=4))


def numbers_in(path: Path) -> dict[str, Any]:
    """Read a JSON object as any other program would."""
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    return content
