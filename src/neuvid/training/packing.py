"""Packs a training set into one file of a given size; `packed.py` tells what that is."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Final
from zlib import crc32

import av
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from neuvid.errors import InvalidSetting
from neuvid.outputs import replacing
from neuvid.training.items import Item, map_planes, read_index, split_frame
from neuvid.training.packed import PackedClip, to_picture, write_head

PIECE_FRAMES = 48  # of one clip at most
FRAMES_MIN = 2  # of a clip that is cut short
FRAME_RATE = Fraction(25)  # without a meaning here, but encoders want one
# Without B-frames all frames are about equally good, and any number of first ones is a stream.
# Tuned for the eye, x264 adds what is not in the picture.
ENCODER: Final = "libx264"
ENCODER_OPTIONS = {"crf": "18", "preset": "medium", "tune": "psnr", "bf": "0"}


@dataclass(frozen=True, slots=True)
class Piece:
    """Frames `start`, … of an item."""

    item: Item
    start: int
    frames: int

    @property
    def rank(self) -> tuple[int, int, int]:
        """What orders the pieces of a source: from the middle of its clips, long ones first."""
        off_middle = abs(self.start + self.frames / 2 - self.item.frames / 2)
        return int(off_middle // PIECE_FRAMES), -self.frames, self.item.offset + self.start


@dataclass(frozen=True, slots=True)
class Coded:
    """A piece and the packets of its frames."""

    piece: Piece
    packets: list[bytes]

    def stream(self, frames: int) -> bytes:
        """Return the stream of the first frames."""
        return b"".join(self.packets[:frames])

    def clip(self, frames: int) -> PackedClip:
        """Return what the index says of the stream of the first frames."""
        item, stream = self.piece.item, self.stream(frames)
        return PackedClip(
            source=item.source,
            split=item.split,
            is_photo=item.is_photo,
            frames=min(frames, len(self.packets)),
            width=item.width,
            height=item.height,
            bytes=len(stream),
            crc32=crc32(stream),
        )


def pack(
    folder: Path,
    out: Path,
    *,
    size: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[PackedClip]:
    """Write the packed file `out` of the training set `folder`, of at most `size` bytes.

    Pieces of clips are taken in rounds, one of each source, as long as there is room; those of
    the last round are cut to the number of frames that fills it. `progress` is told bytes so far
    and in all. The same set and size give the same file. Returns the clips.

    Raises UnreadableInput when `folder` is no training set, InvalidSetting when not even the
    first frames of all sources have room, UnwritableOutput.
    """
    items = read_index(folder)
    planes = map_planes(folder)
    chosen: list[PackedClip] = []
    streams: list[bytes] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for pieces in _rounds(items):
            coded, done = [], _file_size(chosen)
            for one in pool.map(partial(_encode, planes), pieces):
                coded.append(one)
                done += sum(map(len, one.packets))
                progress(min(done, size), size)
            frames = _frames_with_room(chosen, coded, size)
            chosen += [one.clip(frames) for one in coded if frames]
            streams += [one.stream(frames) for one in coded]
            if frames < PIECE_FRAMES:
                break
    with replacing(out) as file:
        file.writelines((write_head(chosen), *streams))
    return chosen


def _rounds(items: Sequence[Item]) -> Iterator[list[Piece]]:
    """Yield the next piece of each source that has one left."""
    pieces = defaultdict(list)
    for item in items:
        for start in range(0, item.frames, PIECE_FRAMES):
            frames = min(PIECE_FRAMES, item.frames - start)
            if item.is_photo or frames >= FRAMES_MIN:
                pieces[item.source].append(Piece(item, start, frames))
    ranked = (sorted(pieces[source], key=lambda piece: piece.rank) for source in sorted(pieces))
    for one_each in zip_longest(*ranked):
        yield [piece for piece in one_each if piece]


def _frames_with_room(chosen: list[PackedClip], coded: list[Coded], size: int) -> int:
    """Return how many frames of a round's clips still fit, 0 where none do."""
    for frames in range(PIECE_FRAMES, FRAMES_MIN - 1, -1):
        needed = _file_size(chosen + [one.clip(frames) for one in coded])
        if needed <= size:
            return frames
    if not chosen:
        contents = f"{FRAMES_MIN} frames of each video and all photographs"
        expected = f"{needed} bytes or more, for {contents}"
        raise InvalidSetting("size", got=size, expected=expected)
    return 0


def _file_size(clips: list[PackedClip]) -> int:
    return len(write_head(clips)) + sum(clip.bytes for clip in clips)


def _encode(planes: NDArray[np.uint8], piece: Piece) -> Coded:
    """Return the packets of a piece, one for each frame."""
    frames = (split_frame(planes, piece.item, piece.start + n) for n in range(piece.frames))
    pictures = [to_picture(luma, chroma) for luma, chroma in frames]
    codec = av.CodecContext.create(ENCODER, "w")
    codec.height, codec.width = pictures[0].shape
    codec.pix_fmt, codec.color_range = "gray", ColorRange.JPEG
    codec.framerate, codec.time_base = FRAME_RATE, 1 / FRAME_RATE
    codec.thread_count = 1
    codec.options = ENCODER_OPTIONS
    packets = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="gray")
        frame.pts = number
        packets += [bytes(packet) for packet in codec.encode(frame)]
    packets += [bytes(packet) for packet in codec.encode(None)]
    return Coded(piece, packets)
