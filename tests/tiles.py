"""A picture in two tiles, as phones write HEIC; here it is AVIF, whose boxes are the same."""

from __future__ import annotations

import io
import struct
from pathlib import Path

from PIL import Image

SIDE = 64  # pixels of a tile
HIDDEN, ESSENTIAL = 1, 0x80


def tiled_picture(path: Path) -> Path:
    """Write an AVIF of 128x64 whose left and right half are pictures of their own."""
    (configuration, left), (_, right) = _tile("red"), _tile("green")
    grid = struct.pack(">BBBBHH", 0, 0, 0, 1, 2 * SIDE, SIDE)  # 1 row of 2
    items = [(b"grid", grid), (b"av01", left), (b"av01", right)]
    length = len(_head(items, configuration, 0))
    data = _box(b"mdat", grid + left + right)
    path.write_bytes(_head(items, configuration, length + 8) + data)
    return path


def _tile(colour: str) -> tuple[bytes, bytes]:
    """Return the box av1C of a picture, and its data."""
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(file, "avif")
    data = file.getvalue()
    boxes = []
    for kind in (b"av1C", b"mdat"):
        place = data.index(kind) - 4
        boxes.append(data[place : place + int.from_bytes(data[place : place + 4])])
    return boxes[0], boxes[1][8:]


def _head(items: list[tuple[bytes, bytes]], configuration: bytes, place: int) -> bytes:
    places = infos = b""
    for number, (kind, data) in enumerate(items, 1):
        places += struct.pack(">HHHII", number, 0, 1, place, len(data))
        info = struct.pack(">HH4sB", number, 0, kind, 0)
        infos += _full(b"infe", info, version=2, flags=HIDDEN if number > 1 else 0)
        place += len(data)
    sizes = [_full(b"ispe", struct.pack(">II", width, SIDE)) for width in (2 * SIDE, SIDE)]
    properties = _box(b"ipco", b"".join(sizes) + configuration)
    owned = bytes([0, 1, 1, 1]) + bytes([0, 2, 2, 2, ESSENTIAL | 3, 0, 3, 2, 2, ESSENTIAL | 3])
    meta = (
        _full(b"hdlr", struct.pack(">I4s13x", 0, b"pict")),
        _full(b"pitm", struct.pack(">H", 1)),
        _full(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)) + places),
        _full(b"iinf", struct.pack(">H", len(items)) + infos),
        _full(b"iref", _box(b"dimg", struct.pack(">HHHH", 1, 2, 2, 3))),
        _box(b"iprp", properties + _full(b"ipma", struct.pack(">I", len(items)) + owned)),
    )
    return _box(b"ftyp", b"avif\0\0\0\0avifmif1miaf") + _full(b"meta", b"".join(meta))


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, body: bytes, *, version: int = 0, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags) + body)
