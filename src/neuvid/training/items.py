"""What a training set consists of: clips and photographs in a row of 8-bit 4:2:0 planes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuvid.errors import UnreadableInput

PLANES_FILE, INDEX_FILE = "planes.bin", "index.json"
INDEX_VERSION = 1

Split = Literal["train", "validation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A clip, or a photograph (`frames` = 1), in a row of planes."""

    source: str
    split: Split
    is_photo: bool
    offset: int  # bytes
    frames: int
    width: int
    height: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame: Y, then U, then V."""
        return self.width * self.height * 3 // 2


def read_index(folder: Path) -> list[Item]:
    """Return the items of a training set; raise UnreadableInput when it is none."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text())
        if index["version"] != INDEX_VERSION:
            raise ValueError(f"version {index['version']}")
        items = [Item(**item) for item in index["items"]]
        size = (folder / PLANES_FILE).stat().st_size
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}; `neuvid data prepare` makes training sets"
        raise UnreadableInput(folder, reason) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableInput(folder / INDEX_FILE, f"not an index ({error})") from error
    if size != index["bytes"]:
        reason = f"it has {size} bytes, the index says {index['bytes']}"
        raise UnreadableInput(folder / PLANES_FILE, reason)
    return items


def map_planes(folder: Path) -> NDArray[np.uint8]:
    """Return the planes of a training set, read through a memory map."""
    return np.memmap(folder / PLANES_FILE, np.uint8, "r")


def split_frame(
    planes: NDArray[np.uint8], item: Item, number: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return luma [h, w] and chroma [2, h/2, w/2] of one frame of an item, not copied."""
    start = item.offset + number * item.frame_bytes
    luma_end = start + item.width * item.height
    luma = planes[start:luma_end].reshape(item.height, item.width)
    chroma = planes[luma_end : start + item.frame_bytes]
    return luma, chroma.reshape(2, item.height // 2, item.width // 2)
