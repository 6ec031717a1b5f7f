"""Turned and mirrored clips are shown as they were, in every kind of output."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import moving_clip, moving_frames, moving_info
from PIL import Image

from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.video.clip import RawFormat, create_clip, open_clip
from neuvid.video.frame import ColourTags, Frame, FrameSize, PixelFormat
from neuvid.video.orientation import ONE, PROJECTIVE_ONE, Orientation
from neuvid.video.planes import PictureConverter, make_picture

EIGHT = [
    Orientation.turned(angle, mirrored=mirrored)
    for angle in (0, 90, 180, -90)
    for mirrored in (False, True)
]
EXIF = {  # orientation of TIFF 6.0: where row 0 and column 0 of the stored picture are shown
    1: Orientation(),
    2: Orientation.turned(0, mirrored=True),
    3: Orientation.turned(180),
    4: Orientation.turned(180, mirrored=True),
    5: Orientation.turned(-90, mirrored=True),
    6: Orientation.turned(-90),
    7: Orientation.turned(90, mirrored=True),
    8: Orientation.turned(90),
}
MOVED = Orientation((0, ONE, 0, -ONE, 0, 0, 48 * ONE, 0, PROJECTIVE_ONE))  # as phones write it


def shown(plane: np.ndarray, orientation: Orientation) -> np.ndarray:
    """Put each sample where the matrix says."""
    a, b, _, c, d = orientation.matrix[:5]
    rows, columns = np.indices(plane.shape)
    across = np.sign(a) * columns + np.sign(c) * rows
    down = np.sign(b) * columns + np.sign(d) * rows
    across, down = across - across.min(), down - down.min()
    result = np.empty((down.max() + 1, across.max() + 1), plane.dtype)
    result[down, across] = plane
    return result


@pytest.mark.parametrize("orientation", EIGHT)
def test_pictures_are_shown_as_the_matrix_says(orientation: Orientation) -> None:
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4)
    (upright,) = orientation.show((plane,))
    np.testing.assert_array_equal(upright, shown(plane, orientation))
    assert Orientation.from_bytes(orientation.to_bytes()) == orientation
    assert orientation.is_upright == (orientation == EIGHT[0])
    assert not orientation.is_askew


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("orientation", [*EIGHT, MOVED, Orientation.turned(7)], ids=str)
def test_containers_keep_how_clips_are_shown(
    tmp_path: Path, suffix: str, orientation: Orientation
) -> None:
    info = replace(moving_info(), orientation=orientation)
    path = tmp_path / f"clip{suffix}"
    with create_clip(path, info) as writer:
        for frame in moving_frames(info, 2):
            writer.write(frame)
    with open_clip(path) as clip:
        assert clip.notes == []
        if suffix != ".mkv":
            assert clip.info.orientation == orientation
        else:  # which has angles
            back = np.array(clip.info.orientation.matrix[:5], float) / ONE
            assert np.abs(back - np.array(orientation.matrix[:5]) / ONE).max() < 0.03
        assert clip.info.size == info.size


@pytest.mark.parametrize("orientation", EIGHT, ids=str)
@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_pictures_and_planes_are_written_upright(
    tmp_path: Path, orientation: Orientation, pixel_format: PixelFormat
) -> None:
    info = replace(
        moving_info((34, 22), pixel_format=pixel_format),
        orientation=orientation,
        sample_aspect=Fraction(4, 3),
        colour=ColourTags(chroma_location=1),
    )
    frames = list(moving_frames(info, 2))
    targets = {"pictures": None, "clip.yuv": RawFormat(info.shown.size, Fraction(25), pixel_format)}
    if pixel_format is PixelFormat.YUV420:
        targets["clip.y4m"] = None
    for name, raw in targets.items():
        with create_clip(tmp_path / name, info) as writer:
            for frame in frames:
                writer.write(frame)
        assert writer.notes == []
        with open_clip(tmp_path / name, raw=raw) as clip:
            assert clip.info.size == info.shown.size
            if name == "clip.y4m":
                swapped = orientation.swaps_sides
                assert clip.info.sample_aspect == Fraction(3, 4) if swapped else Fraction(4, 3)
            if clip.info.pixel_format is pixel_format:
                for frame, stored in zip(clip, frames, strict=True):
                    for plane, expected in zip(frame.planes, stored.planes, strict=True):
                        np.testing.assert_array_equal(plane, orientation.show((expected,))[0])


def test_what_cannot_be_turned_is_told(tmp_path: Path) -> None:
    info = replace(moving_info(), orientation=Orientation.turned(7))
    for name in ("pictures", "clip.y4m"):
        with create_clip(tmp_path / name, info) as writer:
            writer.write(next(moving_frames(info, 1)))
        assert writer.notes == ["not written as shown: turned by 7 degrees"]


def photograph(path: Path, size: tuple[int, int], exif: int) -> Frame:
    """Write a jpg with an orientation in its Exif, and return its picture as it is stored."""
    info = moving_info(size)
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *size, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    (packet,) = encoder.encode(make_picture(next(moving_frames(info, 1)).planes, "yuvj420p"))
    data = bytes(packet)
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, exif, 0, 0)
    block = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])
    with av.open(str(path)) as file:
        return Frame(PictureConverter(PixelFormat.RGB).planes(next(file.decode(video=0))), 0)


@pytest.mark.parametrize(("exif", "orientation"), EXIF.items())
def test_photographs_are_read_upright(tmp_path: Path, exif: int, orientation: Orientation) -> None:
    stored = photograph(tmp_path / "picture.jpg", (48, 32), exif)
    with open_clip(tmp_path / "picture.jpg") as clip:
        (frame,) = clip
        assert clip.info.orientation.is_upright
    for colour in range(3):
        expected = shown(stored.planes[0][..., colour], orientation)
        np.testing.assert_array_equal(frame.planes[0][..., colour], expected)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp"])
def test_pictures_of_all_kinds_are_read(tmp_path: Path, suffix: str) -> None:
    info = moving_info((12, 8), pixel_format=PixelFormat.RGB)
    (stored,) = next(moving_frames(info, 1)).planes
    exif = Image.Exif()
    exif[0x0112] = 6
    told: dict[str, Any] = {} if suffix == ".bmp" else {"exif": exif, "lossless": True}
    for number in (1, 2):
        Image.fromarray(stored).save(tmp_path / f"{number}{suffix}", **told)
    expected = np.rot90(stored, -1) if told else stored
    for place in (tmp_path / f"1{suffix}", tmp_path):
        with open_clip(place) as clip:
            frames = list(clip)
            assert clip.notes == []
        for frame in frames:
            np.testing.assert_array_equal(frame.planes[0], expected)


def test_photographs_in_a_folder_are_turned_each_by_itself(tmp_path: Path) -> None:
    photograph(tmp_path / "1.jpg", (32, 48), 1)
    photograph(tmp_path / "2.jpg", (48, 32), 6)
    with open_clip(tmp_path) as clip:
        assert [frame.planes[0].shape for frame in clip] == [(48, 32, 3)] * 2
        assert clip.info.size == FrameSize(32, 48)
    photograph(tmp_path / "3.jpg", (32, 48), 6)
    with open_clip(tmp_path) as clip, pytest.raises(UnreadableInput, match="size changes"):
        list(clip)


def test_turned_video_keeps_its_stored_frames(tmp_path: Path) -> None:
    plain = moving_clip(tmp_path / "plain.mp4", frames=2)
    info = replace(moving_info(), orientation=EIGHT[3])
    with create_clip(tmp_path / "turned.mp4", info) as writer, open_clip(plain) as clip:
        for frame in clip:
            writer.write(frame)
    with open_clip(tmp_path / "turned.mp4") as clip:
        assert [frame.planes[0].shape for frame in clip] == [(48, 64)] * 2


@pytest.mark.parametrize("matrix", [(1, 2, 3), (0,) * 9, (1 << 31, *EIGHT[0].matrix[1:])])
def test_matrices_that_show_nothing_are_refused(matrix: tuple[int, ...]) -> None:
    with pytest.raises(InvalidSetting, match="display matrix"):
        Orientation(matrix)
