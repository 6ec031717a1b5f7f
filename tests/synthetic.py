"""Synthetic footage."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 128, 96


def texture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Return a smooth random picture [height, width, 3], RGB."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def pan(seed: int, frames: int, pixels: int) -> list[NDArray[np.uint8]]:
    """Return pictures [96, 128, 3] that move by `pixels` to the right from each to the next."""
    wide = texture(seed, HEIGHT, WIDTH + frames * pixels + 8)
    return [wide[:, pixels * number :][:, :WIDTH] for number in range(frames)]


def write_video(path: Path, pictures: list[NDArray[np.uint8]]) -> None:
    """Write a video of pictures [H, W, 3]."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "2"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
