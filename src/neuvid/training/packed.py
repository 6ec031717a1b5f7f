"""Packed training sets: one compact file of short H.264 clips, decoded into memory at the start.

A file is a head, an index and the streams of all clips one after the other. Each frame is coded
as one grey picture: Y on top, U and V side by side below. Every decoder gives a grey picture of
even height back as it is, whether it speaks YUV or, like OpenCV, BGR. A photograph is a clip of
one frame.

`packing.py` writes such files.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray

from neuvid.errors import UnreadableInput
from neuvid.training.items import Item, Split, split_frame

MAGIC = b"\x89NVSET\r\n"  # the high bit and the line end show transfers that change bytes
VERSION = 1
HEAD = struct.Struct(">8sIII")  # magic, version, bytes of the index, CRC-32 of the index
CODEC: Final = "h264"

Picture = NDArray[np.uint8]  # [3h/2, w], where that is odd with one row more
Decoder = Callable[[bytes], Iterator[Picture]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedClip:
    """A clip, or a photograph (`frames` = 1), and the size and CRC-32 of its stream."""

    source: str
    split: Split
    is_photo: bool
    frames: int
    width: int
    height: int
    bytes: int
    crc32: int

    def item(self, offset: int) -> Item:
        """Return the clip as it lies in a row of planes."""
        return Item(
            source=self.source,
            split=self.split,
            is_photo=self.is_photo,
            offset=offset,
            frames=self.frames,
            width=self.width,
            height=self.height,
        )

    @property
    def planes_bytes(self) -> int:
        """Bytes of the decoded planes."""
        return self.frames * self.item(0).frame_bytes


def to_picture(luma: NDArray[np.uint8], chroma: NDArray[np.uint8]) -> Picture:
    """Return the picture of a frame's luma [h, w] and chroma [2, h/2, w/2]."""
    rows = (luma, np.concatenate(tuple(chroma), axis=1))
    odd = len(luma) * 3 // 2 % 2
    return np.concatenate((*rows, rows[1][-odd:]) if odd else rows)


def write_head(clips: Sequence[PackedClip]) -> bytes:
    """Return what comes before the streams of clips in a file."""
    index = zlib.compress(json.dumps([asdict(clip) for clip in clips]).encode(), 9)
    return HEAD.pack(MAGIC, VERSION, len(index), crc32(index)) + index


def read_packed(path: Path, split: Split) -> tuple[list[Item], NDArray[np.uint8]]:
    """Return the items of one split of a packed file, and their decoded planes.

    Raises UnreadableInput when the file is none, of another version, cut or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableInput(path, error.strerror or str(error)) from error
    streams = [stream for stream in _read_streams(path, content) if stream[0].split == split]
    offsets = list(accumulate((clip.planes_bytes for clip, _ in streams), initial=0))
    planes = np.empty(offsets.pop(), np.uint8)
    items = [clip.item(offset) for (clip, _), offset in zip(streams, offsets, strict=True)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decode = partial(_decode_into, planes, _decoder())
        whole = list(pool.map(decode, items, (stream for _, stream in streams)))
    if not all(whole):
        source = items[whole.index(False)].source
        raise UnreadableInput(path, f"{source} cannot be decoded here as H.264")
    return items, planes


def _read_streams(path: Path, content: bytes) -> Iterator[tuple[PackedClip, bytes]]:
    """Yield all clips of a file with their streams."""
    clips, start = _read_index(path, content)
    for clip in clips:
        stream = content[start : start + clip.bytes]
        if crc32(stream) != clip.crc32:
            raise UnreadableInput(path, f"damaged: the checksum of {clip.source} is wrong")
        yield clip, stream
        start += clip.bytes


def _read_index(path: Path, content: bytes) -> tuple[list[PackedClip], int]:
    """Return all clips of a file and where the first stream begins."""
    if not content.startswith(MAGIC):
        reason = "no training set; `neuvid data prepare` and `neuvid data pack` make them"
        raise UnreadableInput(path, reason)
    if len(content) < HEAD.size:
        raise UnreadableInput(path, f"cut: it has {len(content)} bytes, its head {HEAD.size}")
    _, version, index_bytes, checksum = HEAD.unpack_from(content)
    if version != VERSION:
        reason = f"packed training sets of version {version} are unknown; known is {VERSION}"
        raise UnreadableInput(path, reason)
    start = HEAD.size + index_bytes
    index = content[HEAD.size : start]
    if len(index) < index_bytes:
        raise UnreadableInput(path, f"cut: it has {len(content)} bytes, its index ends at {start}")
    if crc32(index) != checksum:
        raise UnreadableInput(path, "damaged: the checksum of the index is wrong")
    clips = [PackedClip(**clip) for clip in json.loads(zlib.decompress(index))]
    end = start + sum(clip.bytes for clip in clips)
    if len(content) != end:
        raise UnreadableInput(path, f"it has {len(content)} bytes, the index says {end}")
    return clips, start


def _decode_into(planes: NDArray[np.uint8], decode: Decoder, item: Item, stream: bytes) -> bool:
    """Fill an item's part of the planes; return whether the stream has exactly its frames."""
    chroma_end = item.height * 3 // 2
    shape = (chroma_end + chroma_end % 2, item.width)
    count = 0
    for picture in decode(stream):
        if count == item.frames or picture.shape != shape:
            return False
        luma, chroma = split_frame(planes, item, count)
        luma[:] = picture[: item.height]
        chroma[:] = np.split(picture[item.height : chroma_end], 2, axis=1)
        count += 1
    return count == item.frames


def _decoder() -> Decoder:
    """Return what decodes on this machine: PyAV, which needs no files, or else OpenCV."""
    try:
        import av  # noqa: F401
    except ModuleNotFoundError:
        return decode_with_opencv
    return decode_with_pyav


def decode_with_pyav(stream: bytes) -> Iterator[Picture]:
    """Yield the pictures of an H.264 stream by PyAV."""
    import av

    codec = av.CodecContext.create(CODEC, "r")
    codec.thread_count = 1
    try:
        for packet in [*codec.parse(stream), *codec.parse(b""), None]:
            for frame in codec.decode(packet):
                luma = frame.planes[0]
                rows = np.frombuffer(memoryview(luma), np.uint8).reshape(-1, luma.line_size)
                yield rows[: frame.height, : frame.width]
    except av.FFmpegError:
        return


def decode_with_opencv(stream: bytes) -> Iterator[Picture]:
    """Yield the pictures of an H.264 stream by OpenCV."""
    with tempfile.NamedTemporaryFile(suffix=f".{CODEC}") as file:
        file.write(stream)
        file.flush()
        capture = cv2.VideoCapture(file.name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        is_read, picture = capture.read()
        while is_read:
            yield np.asarray(picture[..., 1], np.uint8)  # in grey, B = G = R
            is_read, picture = capture.read()
        capture.release()
