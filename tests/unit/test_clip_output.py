"""Clips are written whole or not at all, with exact times, sizes and tags."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import assert_same, moving_frames, moving_info
from disks import file_size_limit

from neuvid.errors import InvalidSetting, UnwritableOutput
from neuvid.video.clip import RawFormat, create_clip, open_clip
from neuvid.video.frame import ClipInfo, ColourTags, Frame, FrameSize, PixelFormat, plane_shapes
from neuvid.video.orientation import Orientation

SIZES = [(64, 48), (33, 35), (1, 1), (34, 35)]
INFO = moving_info()
RGB_INFO = moving_info(pixel_format=PixelFormat.RGB)


def write(target: Path, info: ClipInfo, frames: list[Frame]) -> list[str]:
    with create_clip(target, info) as writer:
        for frame in frames:
            writer.write(frame)
        assert writer.frames_written == len(frames)
    return writer.notes


def read(path: Path, raw: RawFormat | None = None) -> tuple[ClipInfo, list[Frame]]:
    with open_clip(path, raw=raw) as reader:
        return reader.info, list(reader)


def worst_psnr(frames: list[Frame], expected: list[Frame]) -> float:
    """Return the lowest PSNR of all planes, in dB."""
    assert len(frames) == len(expected)
    worst = 99.0
    for frame, other in zip(frames, expected, strict=True):
        for plane, other_plane in zip(frame.planes, other.planes, strict=True):
            error = np.square(plane.astype(float) - other_plane).mean()
            worst = min(worst, float(10 * np.log10(255**2 / max(error, 1e-4))))
    return worst


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("colour_range", "location"), [(0, 1), (1, 2), (2, 3)])
def test_y4m_is_exact(
    tmp_path: Path, size: tuple[int, int], colour_range: int, location: int
) -> None:
    info = replace(
        moving_info(size, Fraction(30000, 1001)),
        colour=ColourTags(range=colour_range, chroma_location=location),
        sample_aspect=Fraction(128, 117),
    )
    frames = list(moving_frames(info, 4))
    write(tmp_path / "clip.y4m", info, frames)
    back, read_frames = read(tmp_path / "clip.y4m")
    assert_same(read_frames, frames)
    assert (back.size, back.frame_rate) == (info.size, info.frame_rate)
    assert back.sample_aspect == info.sample_aspect
    assert back.colour.range in (colour_range, 0)
    assert colour_range != 2 or back.colour.range == 2
    assert back.colour.chroma_location == location


@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize("size", SIZES)
def test_bare_planes_are_exact(
    tmp_path: Path, size: tuple[int, int], pixel_format: PixelFormat
) -> None:
    info = moving_info(size, pixel_format=pixel_format)
    frames = list(moving_frames(info, 3))
    write(tmp_path / "clip.yuv", info, frames)
    data = (tmp_path / "clip.yuv").read_bytes()
    assert data == b"".join(plane.tobytes() for frame in frames for plane in frame.planes)
    raw = RawFormat(info.size, info.frame_rate, pixel_format)
    assert_same(read(tmp_path / "clip.yuv", raw)[1], frames)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_containers_keep_the_size_and_look_the_same(
    tmp_path: Path, suffix: str, size: tuple[int, int], pixel_format: PixelFormat
) -> None:
    info = moving_info(size, pixel_format=pixel_format)
    frames = list(moving_frames(info, 6))
    notes = write(tmp_path / f"clip{suffix}", info, frames)
    even = pixel_format is PixelFormat.RGB or suffix == ".webm"
    odd = not even and (size[0] % 2 or size[1] % 2)
    assert notes == (["odd size: written as H.264 4:4:4"] if odd else [])
    back, read_frames = read(tmp_path / f"clip{suffix}")
    assert (back.size, back.pixel_format) == (info.size, pixel_format)
    assert (
        worst_psnr(
            [Frame(f.planes[:1], 0) for f in read_frames], [Frame(f.planes[:1], 0) for f in frames]
        )
        > 35
    )
    assert worst_psnr(read_frames, frames) > (25 if odd else 35)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_containers_keep_times_and_tags(tmp_path: Path, suffix: str) -> None:
    info = replace(
        INFO,
        time_base=Fraction(1, 1000 if suffix in (".mkv", ".webm") else 90000),
        start=2090,
        colour=ColourTags(9, 2, primaries=9, transfer=16, chroma_location=3),
        sample_aspect=Fraction(4, 3),
        orientation=Orientation.turned(90),
    )
    times = [2090, 2123, 2190, 2200, 2999, 5000, 5001, 9000]
    frames = [replace(f, pts=t) for f, t in zip(moving_frames(info, 8), times, strict=True)]
    notes = write(tmp_path / f"clip{suffix}", info, frames)
    back, read_frames = read(tmp_path / f"clip{suffix}")
    with av.open(str(tmp_path / f"clip{suffix}")) as file:
        ticks = [f.pts * back.time_base / info.time_base for f in file.decode(video=0) if f.pts]
    assert ticks == times
    read_times = [frame.pts * back.time_base / info.time_base for frame in read_frames]
    assert read_times == [time - times[0] for time in times]
    assert back.colour == info.colour
    assert back.sample_aspect == (info.sample_aspect if suffix != ".webm" else 1)
    assert back.orientation == info.orientation
    assert ["pixel aspect 4/3" in note for note in notes] == [True] * (suffix == ".webm")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize(
    ("times", "end"),
    [
        ([0], 5000),
        ([0, 40], 3000),
        ([0, 100, 200, 300], 3300),
        ([0, 2000, 4000, 4040], 4050),
        ([20 * n for n in range(30)], 1000),
    ],
)
def test_frames_last_as_long_as_they_should(
    tmp_path: Path, suffix: str, times: list[int], end: int
) -> None:
    info = replace(INFO, time_base=Fraction(1, 1000))
    path = tmp_path / f"clip{suffix}"
    with create_clip(path, info) as writer:
        for frame, time in zip(moving_frames(info, len(times)), times, strict=True):
            writer.write(replace(frame, pts=time))
        writer.end = end
    with av.open(str(path)) as file:
        assert file.duration == 1000 * end
    with open_clip(path) as reader:
        assert [frame.pts * 1000 * reader.info.time_base for frame in reader] == times
        if suffix not in (".mkv", ".webm"):  # which tell it of the whole alone
            assert reader.end * 1000 * reader.info.time_base == end


def test_odd_sized_h264_comes_back_as_420(tmp_path: Path) -> None:
    info = moving_info((33, 35))
    flat = tuple(
        np.full(shape, level, np.uint8)
        for shape, level in zip(
            plane_shapes(info.size, info.pixel_format), (90, 60, 200), strict=True
        )
    )
    write(tmp_path / "clip.mp4", info, [Frame(flat, 0)])
    _, (frame,) = read(tmp_path / "clip.mp4")
    for plane, expected in zip(frame.planes, flat, strict=True):
        assert plane.shape == expected.shape
        assert np.abs(plane.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_rgb_pictures_are_exact(tmp_path: Path, size: tuple[int, int]) -> None:
    info = moving_info(size, pixel_format=PixelFormat.RGB)
    frames = list(moving_frames(info, 3))
    write(tmp_path / "pictures", info, frames)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["00000000.png", "00000001.png", "00000002.png"]
    assert_same(read(tmp_path / "pictures")[1], frames)


@pytest.mark.parametrize(("matrix", "red", "blue"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114)])
@pytest.mark.parametrize("colour_range", [1, 2])
def test_pictures_of_yuv_use_its_matrix_and_range(
    tmp_path: Path, matrix: int, red: float, blue: float, colour_range: int
) -> None:
    info = replace(INFO, colour=ColourTags(matrix, colour_range))
    levels = (120, 90, 180)
    shapes = plane_shapes(info.size, info.pixel_format)
    planes = (np.full(shape, level, np.uint8) for shape, level in zip(shapes, levels, strict=True))
    write(tmp_path / "pictures", info, [Frame(tuple(planes), 0)])
    _, (frame,) = read(tmp_path / "pictures")
    luma, chroma = (219, 224) if colour_range == 1 else (255, 255)
    y = (levels[0] - (16 if colour_range == 1 else 0)) / luma
    u, v = ((level - 128) / chroma for level in levels[1:])
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    assert np.abs(frame.planes[0] - 255 * np.array([r, g, b])).max() <= 1


@pytest.mark.parametrize(
    ("height", "name", "red", "blue"), [(48, "601", 0.299, 0.114), (720, "709", 0.2126, 0.0722)]
)
def test_rgb_becomes_444_in_y4m(
    tmp_path: Path, height: int, name: str, red: float, blue: float
) -> None:
    r, g, b = 180, 70, 110
    info = moving_info((height, 16), pixel_format=PixelFormat.RGB)
    upright = replace(info, orientation=Orientation.turned(90))
    frame = Frame((np.full((16, height, 3), (r, g, b), np.uint8),), 0)
    notes = write(tmp_path / "clip.y4m", upright, [frame])
    assert notes == [f"RGB converted to 4:4:4 of BT.{name}"]
    header, _, planes = (tmp_path / "clip.y4m").read_bytes().split(b"\n", 2)
    assert header.startswith(b"YUV4MPEG2 W16 H%d " % height)
    assert header.endswith(b" C444 XCOLORRANGE=LIMITED")
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / 2 / (1 - blue), (r - y) / 2 / (1 - red)
    expected = np.array([16 + 219 * y / 255, 128 + 224 * u / 255, 128 + 224 * v / 255])
    written = np.frombuffer(planes, np.uint8).reshape(3, -1)
    assert np.abs(written - expected[:, None]).max() <= 1
    assert len(read(tmp_path / "clip.y4m")[1]) == 1


def test_binary_files_get_y4m(tmp_path: Path) -> None:
    frames = list(moving_frames(INFO, 3))
    file = io.BytesIO()
    with create_clip(file, INFO) as writer:
        for frame in frames:
            writer.write(frame)
    write(tmp_path / "clip.y4m", INFO, frames)
    assert file.getvalue() == (tmp_path / "clip.y4m").read_bytes()


def test_clip_without_frames_is_a_file(tmp_path: Path) -> None:
    for name in ("clip.mp4", "clip.mkv", "clip.y4m", "clip.yuv", "pictures"):
        write(tmp_path / name, INFO, [])
        assert (tmp_path / name).exists()


def test_lost_times_are_noted(tmp_path: Path) -> None:
    frames = [replace(f, pts=t) for f, t in zip(moving_frames(INFO, 4), (0, 1, 2, 9), strict=True)]
    notes = write(tmp_path / "clip.y4m", INFO, frames)
    assert notes == ["bare planes have no times: written as 25 frames per second"]
    assert write(tmp_path / "even.y4m", INFO, frames[:3]) == []


@pytest.mark.parametrize("name", ["clip.y4m", "clip.mp4", "clip.mkv", "pictures"])
def test_full_disk_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnwritableOutput, match=f"{name}: File too large"), file_size_limit(2000):
        write(tmp_path / name, INFO, list(moving_frames(INFO, 5)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["clip.y4m", "clip.mp4", "clip.yuv", "pictures"])
def test_exception_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyError), create_clip(tmp_path / name, INFO) as writer:
        writer.write(next(moving_frames(INFO, 1)))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(KeyError), create_clip(path, INFO) as writer:
        writer.write(next(moving_frames(INFO, 1)))
        raise KeyError
    assert path.read_bytes() == b"precious"
    write(path, INFO, list(moving_frames(INFO, 2)))
    assert len(read(path)[1]) == 2


def test_each_unwritable_target_says_why(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    for target, reason in (
        (tmp_path / "missing" / "clip.mp4", "its folder does not exist"),
        (tmp_path / "missing" / "folder" / "pictures", "its folder does not exist"),
        (tmp_path / "full", "the folder is not empty"),
        (tmp_path / "file" / "clip.mp4", "Not a directory"),
    ):
        with pytest.raises(UnwritableOutput, match=reason):
            create_clip(target, INFO)
    with pytest.raises(InvalidSetting, match=r"target is .*\.avi'; allowed is \.mp4, \.m4v, \.mov"):
        create_clip(tmp_path / "clip.avi", INFO)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


def test_full_device_and_closed_pipe_are_unwritable() -> None:
    frames = list(moving_frames(INFO, 100))
    with (
        open("/dev/full", "wb", buffering=0) as device,
        pytest.raises(UnwritableOutput, match="No space left"),
        create_clip(device, INFO) as writer,
    ):
        for frame in frames:
            writer.write(frame)
    ending, beginning = os.pipe()
    os.close(ending)
    with (
        os.fdopen(beginning, "wb", buffering=0) as pipe,
        pytest.raises(UnwritableOutput, match="Broken pipe"),
        create_clip(pipe, INFO) as writer,
    ):
        for frame in frames:
            writer.write(frame)


def test_frames_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with create_clip(tmp_path / "clip.y4m", INFO) as writer:
        with pytest.raises(InvalidSetting, match="frame planes"):
            writer.write(next(moving_frames(RGB_INFO, 1)))
        with pytest.raises(InvalidSetting, match="frame planes"):
            writer.write(next(moving_frames(moving_info((64, 50)), 1)))
        writer.write(next(moving_frames(INFO, 1)))


def test_hostile_descriptions_are_refused_or_written(tmp_path: Path) -> None:
    hostile = ClipInfo(
        FrameSize(64, 48),
        PixelFormat.YUV420,
        frame_rate=Fraction((1 << 32) - 1, 1),
        time_base=Fraction(1, (1 << 40) + 1),
        start=1 << 59,
        colour=ColourTags(255, 2, 255, 255),
        sample_aspect=Fraction(1, (1 << 40) + 1),
    )
    frames = [Frame(f.planes, hostile.start + 5 * n) for n, f in enumerate(moving_frames(INFO, 3))]
    for name in ("clip.mp4", "clip.mkv", "clip.y4m"):
        for info in (
            hostile,
            replace(INFO, start=hostile.start),
            replace(INFO, colour=hostile.colour),
        ):
            try:
                write(tmp_path / name, info, frames)
            except UnwritableOutput:
                assert not (tmp_path / name).exists()
            else:
                (tmp_path / name).unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "h264"), (".m4v", "h264"), (".MP4", "h264"), (".webm", "vp9")],
)
def test_suffix_tells_the_codec(tmp_path: Path, suffix: str, codec: str) -> None:
    write(tmp_path / f"clip{suffix}", INFO, list(moving_frames(INFO, 2)))
    with av.open(str(tmp_path / f"clip{suffix}")) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.pix_fmt) == (codec, "yuv420p")
