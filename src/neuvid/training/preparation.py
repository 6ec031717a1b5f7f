"""Makes training sets of folders of videos, photographs and Vimeo-90k sequences."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.outputs import replacing, writing
from neuvid.training.items import INDEX_FILE, INDEX_VERSION, PLANES_FILE, Item, Split
from neuvid.video.clip import open_clip
from neuvid.video.colour import frame_to_tensor, tensor_to_frame
from neuvid.video.frame import Frame, FrameSize, PixelFormat, Plane

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm", ".wmv", ".y4m")
PHOTO_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SEQUENCE_FRAME = re.compile(r"im\d+\.png")  # Vimeo-90k: sequences/00001/0001/im1.png
PHOTO_SIDE_MAX = 768  # pixels
SHORT_SIDE_MIN = 64  # pixels; smaller sources are skipped
CLIP_FRAMES_MAX = 256  # longer scenes become several clips
VALIDATION_SHARE = 0.05
THUMBNAIL = FrameSize(32, 32)
CUT_DIFFERENCE = 24.0  # mean difference of thumbnails, 0..255, from which it may be a cut
CUT_RATIO = 2.5  # to the difference before; fast motion makes several large ones in a row
STATIC_DIFFERENCE = 0.1  # mean difference below which a clip is static

Planes = tuple[Plane, ...]  # Y [h, w], U and V [h/2, w/2]


@dataclass(frozen=True, slots=True)
class Source:
    """A video file, a photograph, or a folder of numbered pictures."""

    path: Path
    name: str  # relative to the folder that was searched
    is_photo: bool

    @property
    def split_key(self) -> bytes:
        """Return what orders sources for the validation split: as good as random, yet fixed."""
        return hashlib.sha256(self.name.encode()).digest()


def find_sources(folders: list[Path]) -> list[Source]:
    """Return all sources under `folders`; raise UnreadableInput when one is no folder."""
    found: list[Source] = []
    for folder in folders:
        if not folder.is_dir():
            raise UnreadableInput(folder, "not a folder")
        for path, _, files in sorted(os.walk(folder)):
            found += _sources_of(Path(path), sorted(files), folder)
    return found


def _sources_of(path: Path, files: list[str], folder: Path) -> list[Source]:
    if sum(bool(SEQUENCE_FRAME.fullmatch(name)) for name in files) > 1:
        return [Source(path, str(path.relative_to(folder)), False)]
    sources = []
    for name in files:
        suffix = Path(name).suffix.lower()
        if suffix in VIDEO_SUFFIXES + PHOTO_SUFFIXES:
            file = path / name
            sources.append(Source(file, str(file.relative_to(folder)), suffix in PHOTO_SUFFIXES))
    return sources


def prepare(
    folders: list[Path],
    out: Path,
    *,
    height: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Item], dict[str, str]]:
    """Write the training set `out` of everything under `folders`.

    Clips are scaled down until their short side has at most `height` pixels. Returns the items
    and, for each source that gave none, why. `progress` is told sources done and in all.
    Raises UnreadableInput when nothing is usable, UnwritableOutput when `out` cannot be written.
    """
    if height < SHORT_SIDE_MIN:
        raise InvalidSetting("height", got=height, expected=f"at least {SHORT_SIDE_MIN}")
    sources = find_sources(folders)
    validation = _validation_sources(sources)
    items: list[Item] = []
    skipped: dict[str, str] = {}
    with writing(str(out)):
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / PLANES_FILE) as file:
            for done, source in enumerate(sources):
                split: Split = "validation" if source in validation else "train"
                try:
                    items += _store(source, split, file, height)
                except UnreadableInput as error:
                    skipped[source.name] = str(error)
                progress(done + 1, len(sources))
            if not items:
                raise UnreadableInput(", ".join(map(str, folders)), "no usable video or photograph")
            size = file.tell()
            (out / INDEX_FILE).unlink(missing_ok=True)  # it must not describe new planes
        index = {"version": INDEX_VERSION, "bytes": size, "skipped": skipped}
        index["items"] = [asdict(item) for item in items]
        with replacing(out / INDEX_FILE) as file:
            file.write(json.dumps(index, indent=1).encode())
    return items, skipped


def _validation_sources(sources: list[Source]) -> set[Source]:
    chosen: set[Source] = set()
    for is_photo in (False, True):
        kind = [source for source in sources if source.is_photo is is_photo]
        count = max(round(VALIDATION_SHARE * len(kind)), min(1, len(kind) - 1))
        chosen.update(sorted(kind, key=lambda source: source.split_key)[: max(count, 0)])
    return chosen


def _store(source: Source, split: Split, file: BinaryIO, height: int) -> list[Item]:
    """Append a source's planes to the file and return its items."""
    items = []
    start = file.tell()
    try:
        for clip in _clips(source, height):
            rows, width = clip[0][0].shape
            item = Item(
                source=source.name,
                split=split,
                is_photo=source.is_photo,
                offset=file.tell(),
                frames=len(clip),
                width=width,
                height=rows,
            )
            for planes in clip:
                file.writelines(plane.tobytes() for plane in planes)
            items.append(item)
    except UnreadableInput:
        file.seek(start)
        file.truncate()
        raise
    if not items:
        raise UnreadableInput(source.path, "nothing moves in it")
    return items


def _clips(source: Source, height: int) -> Iterator[list[Planes]]:
    """Yield the clips of a source, each a list of frames of one size."""
    if source.is_photo:
        yield list(_read(source.path, None))[:1]
        return
    clip: list[Planes] = []
    thumbnails: list[Plane] = []
    for frame in _read(source.path, height):
        thumbnail = _resize(frame[0], THUMBNAIL)
        if len(clip) == CLIP_FRAMES_MAX or (clip and _is_cut([*thumbnails[-2:], thumbnail])):
            if _moves(thumbnails):
                yield clip
            clip, thumbnails = [], []
        clip.append(frame)
        thumbnails.append(thumbnail)
    if _moves(thumbnails):
        yield clip


def _read(path: Path, height: int | None) -> Iterator[Planes]:
    """Yield frames scaled down to a short side of `height`; None: as photographs are."""
    with open_clip(path) as clip:
        info = clip.info
        short, long = sorted((info.size.width, info.size.height))
        scale = min(1, PHOTO_SIDE_MAX / long if height is None else height / short)
        width, rows = (2 * round(scale * side / 2) for side in (info.size.width, info.size.height))
        if min(width, rows) < SHORT_SIDE_MIN:
            raise UnreadableInput(path, f"{info.size} is too small")
        for frame in clip:
            yield _scale(frame, FrameSize(width, rows), info.pixel_format)


def _scale(frame: Frame, size: FrameSize, pixel_format: PixelFormat) -> Planes:
    if pixel_format is PixelFormat.RGB:
        scaled = Frame((_resize(frame.planes[0], size),), frame.pts)
        tensor = frame_to_tensor(scaled, pixel_format)
        return tensor_to_frame(tensor, size, PixelFormat.YUV420, frame.pts).planes
    sizes = (size, size.chroma, size.chroma)
    return tuple(_resize(*pair) for pair in zip(frame.planes, sizes, strict=True))


def _resize(plane: Plane, size: FrameSize) -> Plane:
    target = (size.width, size.height)
    return np.asarray(cv2.resize(plane, target, interpolation=cv2.INTER_AREA), np.uint8)


def _difference(first: Plane, second: Plane) -> float:
    return float(np.abs(first.astype(np.int16) - second.astype(np.int16)).mean())


def _is_cut(thumbnails: list[Plane]) -> bool:
    """Return whether the last of two or three thumbnails shows another scene."""
    before = _difference(*thumbnails[:2]) if len(thumbnails) > 2 else 0.0
    return _difference(*thumbnails[-2:]) > max(CUT_DIFFERENCE, CUT_RATIO * before)


def _moves(thumbnails: list[Plane]) -> bool:
    differences = [_difference(first, second) for first, second in pairwise(thumbnails)]
    return bool(differences) and sum(differences) / len(differences) >= STATIC_DIFFERENCE
