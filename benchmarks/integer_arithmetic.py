"""Speed and quality of integer arithmetic next to float32, for a checkpoint and a clip.

    python benchmarks/integer_arithmetic.py model.safetensors clip.mp4 [frames] [threads]

Both take turns with the same frames; medians over all turns are printed. PSNR is that of luma.
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch

from neuvid.bitstream.packet import Packet
from neuvid.codec.decoder import Decoder
from neuvid.codec.encoder import Encoder
from neuvid.codec.headers import header_of
from neuvid.codec.schedule import Schedule
from neuvid.models.checkpoint import Arithmetic, LoadedModel, load_model
from neuvid.rate.controller import FixedQuality
from neuvid.video.clip import open_clip
from neuvid.video.frame import ClipInfo, Frame

QUALITIES = (0, 21, 42, 63)
TURNS = 5


class Turn(NamedTuple):
    """What one encoding and decoding took and gave."""

    encode_seconds: float
    decode_seconds: float
    size: int  # bytes
    psnr: float


def encode(model: LoadedModel, info: ClipInfo, frames: list[Frame], quality: int) -> list[Packet]:
    """Return the packets of all frames."""
    packets = []
    schedule = Schedule(scene_cuts=False)
    with Encoder(model, info, control=FixedQuality(quality), schedule=schedule) as encoder:
        for frame in frames:
            packets += encoder.encode(frame)
        return packets + encoder.flush()


def decode(model: LoadedModel, info: ClipInfo, packets: list[Packet]) -> list[Frame]:
    """Return the frames of all packets."""
    frames = []
    with Decoder(model, header_of(model, info)) as decoder:
        for packet in packets:
            frames += decoder.decode(packet)
        return frames + decoder.flush()


def luma_psnr(frames: list[Frame], decoded: list[Frame]) -> float:
    """Return the mean PSNR in dB of the first planes."""
    errors = [
        float(np.square(a.planes[0].astype(np.float64) - b.planes[0]).mean())
        for a, b in zip(frames, decoded, strict=True)
    ]
    return float(np.mean(10 * np.log10(255**2 / np.array(errors))))


def turn(model: LoadedModel, info: ClipInfo, frames: list[Frame], quality: int) -> Turn:
    """Encode and decode once."""
    start = perf_counter()
    packets = encode(model, info, frames, quality)
    middle = perf_counter()
    decoded = decode(model, info, packets)
    end = perf_counter()
    size = sum(len(packet.payload) for packet in packets)
    return Turn(middle - start, end - middle, size, luma_psnr(frames, decoded))


def main(checkpoint: Path, clip: Path, count: int = 10, threads: int = 2) -> None:
    """Print a line for each quality and arithmetic, and the ratios of their speeds."""
    torch.set_num_threads(threads)
    compared = (Arithmetic.FLOAT32, Arithmetic.INTEGER)
    models = {each: load_model(checkpoint, arithmetic=each) for each in compared}
    with open_clip(clip) as reader:
        info, frames = reader.info, list(islice(reader, count))
    print(f"{len(frames)} frames of {info.size.width}x{info.size.height}, {threads} threads")
    for quality in QUALITIES:
        turns: dict[Arithmetic, list[Turn]] = {each: [] for each in models}
        for _ in range(TURNS):
            for arithmetic, model in models.items():
                turns[arithmetic].append(turn(model, info, frames, quality))
        times = {}
        for arithmetic, results in turns.items():
            encoding = median(each.encode_seconds for each in results)
            decoding = median(each.decode_seconds for each in results)
            times[arithmetic] = encoding, decoding
            print(
                f"quality {quality:2} {arithmetic.value:7}: encode {count / encoding:6.2f} fps, "
                f"decode {count / decoding:6.2f} fps, {results[0].size:7} bytes, "
                f"{results[0].psnr:.3f} dB"
            )
        ratios = zip(times[Arithmetic.FLOAT32], times[Arithmetic.INTEGER], strict=True)
        encoding_ratio, decoding_ratio = (floating / integer for floating, integer in ratios)
        print(
            f"quality {quality:2} integer is {encoding_ratio:.2f} times as fast in encoding, "
            f"{decoding_ratio:.2f} times in decoding"
        )


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
