"""Send frames through a pipe while they are made: numpy arrays in, numpy arrays out.

python examples/stream_frames.py
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from threading import Thread

import numpy as np
from numpy.typing import NDArray

import neuvid

Picture = NDArray[np.uint8]  # [H, W, 3], RGB


def through_a_pipe(pictures: Iterable[Picture], quality: float = 40) -> Iterator[Picture]:
    """Yield pictures as they come out of the decoder; those to come are encoded meanwhile."""
    receiving, sending = os.pipe()

    def send() -> None:
        with open(sending, "wb") as pipe:
            neuvid.write(pipe, pictures, fps=25, quality=quality)

    sender = Thread(target=send)
    sender.start()
    with open(receiving, "rb") as pipe:
        for frame in neuvid.read(pipe):
            yield frame.rgb()
    sender.join()


def moving_square(count: int) -> Iterator[Picture]:
    """Yield pictures of a square that moves to the right."""
    for number in range(count):
        picture = np.full((96, 128, 3), 64, np.uint8)
        picture[32:64, 2 * number : 2 * number + 32] = (255, 160, 0)
        yield picture


if __name__ == "__main__":
    pairs = zip(moving_square(20), through_a_pipe(moving_square(20)), strict=True)
    for number, (sent, received) in enumerate(pairs):
        print(f"frame {number}: off by {np.abs(sent - received.astype(float)).mean():.2f} of 255")
