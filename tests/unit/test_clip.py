"""Clips are read from files, folders and pipes, whatever they are coded in."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import pytest
from clips import Coding, add_video, assert_same, bikes, moving_clip, moving_frames, moving_info
from PIL import Image
from tiles import tiled_picture

from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.video.clip import RawFormat, create_clip, open_clip
from neuvid.video.frame import Frame, FrameSize, PixelFormat, plane_shapes
from neuvid.video.planes import make_picture


def frames_of(path: Path) -> list[Frame]:
    with open_clip(path) as reader:
        return list(reader)


@contextmanager
def piped(data: bytes) -> Iterator[BinaryIO]:
    """An operating system pipe that a thread fills."""
    ending, beginning = os.pipe()

    def feed() -> None:
        with suppress(BrokenPipeError), os.fdopen(beginning, "wb", buffering=0) as file:
            file.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(ending, "rb") as file:
        yield file
    feeder.join()


def test_real_clip_is_read_as_ffmpeg_decodes_it() -> None:
    with open_clip(bikes()) as reader:
        frames = list(reader)
    info = reader.info
    assert (info.size, info.pixel_format) == (FrameSize(640, 272), PixelFormat.YUV420)
    assert info.frame_rate == 25
    assert (info.frame_count, info.start) == (250, 0)
    assert reader.notes == []
    with av.open(str(bikes())) as container:
        for frame, picture in zip(frames, container.decode(video=0), strict=True):
            assert frame.pts * info.time_base == pytest.approx(picture.time)
            rows = picture.to_ndarray()
            np.testing.assert_array_equal(frame.planes[0], rows[:272])
            chroma = np.concatenate([plane.ravel() for plane in frame.planes[1:]])
            np.testing.assert_array_equal(chroma, rows[272:].ravel())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".mov"])
@pytest.mark.parametrize(
    ("start", "first"), [(0.0, 0), (0.5, 13), (0.52, 13), (1.0, 25), (1.57, 40)]
)
def test_start_and_frames_are_exact(tmp_path: Path, suffix: str, start: float, first: int) -> None:
    path = moving_clip(tmp_path / f"clip{suffix}", frames=60)
    whole = frames_of(path)
    assert len(whole) == 60
    with open_clip(path, start=start, frames=12) as reader:
        part = list(reader)
    assert_same(part, whole[first : first + 12])
    assert reader.info.frame_count == 12
    if start:
        assert [frame.pts for frame in part] == [
            frame.pts - whole[first].pts for frame in whole[first : first + 12]
        ]


class CountingFile(io.FileIO):
    """A file that counts the bytes read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes."""
        data = super().read(size) or b""
        self.count += len(data)
        return data


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_late_start_is_exact(tmp_path: Path, suffix: str) -> None:
    path = moving_clip(tmp_path / f"clip{suffix}", frames=400, audio=True)
    with open_clip(path) as reader:
        whole = list(reader)
    for first in (333, 397):
        with open_clip(path, start=first / 25, frames=3, passthrough=True) as reader:
            part = list(reader)
        assert_same(part, whole[first : first + 3])
        assert [f.pts for f in part] == [f.pts - whole[first].pts for f in whole[first : first + 3]]


def test_late_start_in_a_transport_stream_reads_little(tmp_path: Path) -> None:
    stuffed = {"muxrate": "4000000"}  # bits per second, most of them empty
    path = moving_clip(tmp_path / "clip.ts", frames=1000, container_options=stuffed)
    with CountingFile(path) as file, open_clip(file, start=35, frames=1) as reader:
        assert len(list(reader)) == 1
        assert file.count < 0.7 * path.stat().st_size


def test_start_counts_from_the_first_frame(tmp_path: Path) -> None:
    coding = Coding(pts=range(50, 90), time_base=Fraction(1, 25))
    path = moving_clip(tmp_path / "late.mkv", frames=40, coding=coding)
    with open_clip(path) as reader:
        whole = list(reader)
        assert reader.info.start == whole[0].pts == 0
    with open_clip(path, start=1) as reader:
        assert_same(list(reader), whole[25:])
        assert reader.info.start == 0


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0, 33, 67, 100, 150, 400, 430, 500, 501, 900]
    coding = Coding(pts=times, time_base=Fraction(1, 1000))
    for suffix in (".mp4", ".mkv"):
        path = moving_clip(tmp_path / f"variable{suffix}", frames=10, coding=coding)
        with open_clip(path) as reader:
            assert [frame.pts * reader.info.time_base * 1000 for frame in reader] == times


def test_missing_times_are_made_from_the_frame_rate(tmp_path: Path) -> None:
    path = moving_clip(tmp_path / "bare.h264", frames=12, frame_rate=Fraction(25))
    with open_clip(path) as reader:
        pts = [frame.pts for frame in reader]
    steps = np.diff(pts)
    assert len(pts) == 12 and steps.min() > 0
    with open_clip(path, start=0.2) as reader:
        assert_same(list(reader), frames_of(path)[5:])


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix"),
    [("ffv1", "yuv420p", ".mkv"), ("rawvideo", "nv12", ".nut"), ("rawvideo", "nv21", ".nut")],
)
def test_other_layouts_of_420_are_exact(
    tmp_path: Path, codec: str, pixel_format: str, suffix: str
) -> None:
    coding = Coding(codec=codec, pixel_format=pixel_format, colour_range=2)
    path = moving_clip(tmp_path / f"clip{suffix}", size=(33, 35), frames=3, coding=coding)
    with open_clip(path) as reader:
        assert_same(list(reader), list(moving_frames(moving_info((33, 35)), 3)))
    assert reader.notes == []
    assert reader.info.colour.range == (2 if suffix == ".mkv" else 0)  # nut does not tell


@pytest.mark.parametrize(
    ("codec", "pixel_format"), [("utvideo", "gbrp"), ("ffv1", "bgr0"), ("rawvideo", "bgr24")]
)
def test_rgb_is_exact(tmp_path: Path, codec: str, pixel_format: str) -> None:
    coding = Coding(codec=codec, pixel_format=pixel_format)
    path = moving_clip(tmp_path / "clip.nut", size=(33, 35), frames=3, coding=coding)
    with open_clip(path) as reader:
        assert reader.info.pixel_format is PixelFormat.RGB
        expected = moving_frames(moving_info((33, 35), pixel_format=PixelFormat.RGB), 3)
        assert_same(list(reader), list(expected))
    assert reader.notes == []
    assert reader.info.colour.matrix == 0


@pytest.mark.parametrize(
    ("pixel_format", "words"),
    [
        ("yuv420p10le", "10-bit 4:2:0 (yuv420p10le)"),
        ("yuv422p", "8-bit 4:2:2 (yuv422p)"),
        ("yuv444p", "8-bit 4:4:4 (yuv444p)"),
        ("yuv444p12le", "12-bit 4:4:4 (yuv444p12le)"),
    ],
)
@pytest.mark.parametrize("colour_range", [1, 2])
def test_conversion_is_noted_and_keeps_the_range(
    tmp_path: Path, pixel_format: str, words: str, colour_range: int
) -> None:
    coding = Coding(codec="ffv1", pixel_format=pixel_format, colour_range=colour_range)
    path = moving_clip(tmp_path / "clip.mkv", frames=2, coding=coding)
    with open_clip(path) as reader:
        frames = list(reader)
    assert reader.notes == [f"{words} converted to 8-bit 4:2:0"]
    assert reader.info.colour.range == colour_range
    for frame, other in zip(frames, moving_frames(moving_info(), 2), strict=True):
        assert np.abs(frame.planes[0].astype(int) - other.planes[0]).max() <= 1
        for plane, other_plane in zip(frame.planes[1:], other.planes[1:], strict=True):
            # chroma is resampled there and back; a change of range would shift its mean by 3
            assert abs(float(plane.mean()) - float(other_plane.mean())) < 1


@pytest.mark.parametrize("colour_range", [0, 1, 2])
def test_grey_keeps_its_levels(tmp_path: Path, colour_range: int) -> None:
    picture = make_picture(next(moving_frames(moving_info(), 1)).planes[:1], "gray")
    picture.color_range = colour_range
    path = lossless_clip(tmp_path / "grey.mkv", picture)
    with open_clip(path) as reader:
        (frame,) = reader
    assert reader.notes == ["8-bit grey (gray) converted to 8-bit 4:2:0"]
    assert reader.info.colour.range == (colour_range or 2)  # as FFmpeg shows it
    np.testing.assert_array_equal(frame.planes[0], picture.to_ndarray())
    assert {128} == set(frame.planes[1].ravel()) == set(frame.planes[2].ravel())


TRANSPARENT = "transparency is dropped"


@pytest.mark.parametrize(
    ("pixel_format", "transparent", "notes"),
    [
        ("yuva420p", [0, 0], []),
        ("yuva420p", [1, 0], [TRANSPARENT]),
        ("yuva420p", [0, 1, 1], [TRANSPARENT]),
        (
            "yuva444p10le",
            [0, 1],
            ["10-bit 4:4:4 (yuva444p10le) converted to 8-bit 4:2:0", TRANSPARENT],
        ),
    ],
)
def test_transparency_is_noted_where_any_frame_uses_it(
    tmp_path: Path, pixel_format: str, transparent: list[int], notes: list[str]
) -> None:
    planes = next(moving_frames(moving_info(), 1)).planes
    opaque = np.full_like(planes[0], 255)
    pictures = [
        make_picture((*planes, planes[0] if used else opaque), "yuva420p").reformat(
            format=pixel_format
        )
        for used in transparent
    ]
    with open_clip(lossless_clip(tmp_path / "transparent.mkv", *pictures)) as reader:
        frames = list(reader)
    assert reader.notes == notes
    if pixel_format == "yuva420p":
        assert_same(frames, [Frame(planes, 0)] * len(pictures))


def test_transparency_beside_the_frames_is_noted(tmp_path: Path) -> None:
    coding = Coding(codec="libvpx-vp9", pixel_format="yuva420p")
    with open_clip(moving_clip(tmp_path / "sticker.webm", frames=1, coding=coding)) as reader:
        list(reader)
    assert reader.notes == [TRANSPARENT]


@pytest.mark.parametrize(("field", "order"), [(b"It", "top"), (b"Ib", "bottom")])
def test_interlacing_is_noted(tmp_path: Path, field: bytes, order: str) -> None:
    path = moving_clip(tmp_path / "clip.y4m", frames=2, coding=Coding(codec="rawvideo"))
    path.write_bytes(path.read_bytes().replace(b" Ip ", b" " + field + b" "))
    with open_clip(path) as reader:
        list(reader)
    (note,) = reader.notes
    assert note.startswith(f"interlaced, {order} field first")


def test_light_levels_of_hdr_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "hdr.mkv"
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx265", 25, width=64, height=64, pix_fmt="yuv420p")
        levels = f"log-level=none:master-display={display}:max-cll=1000,400"
        video.options = {"preset": "ultrafast", "x265-params": levels}
        output.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(video.encode(None))
    with open_clip(path) as reader:
        list(reader)
    assert reader.notes == ["mastering display, light level of HDR dropped"]


def lossless_clip(path: Path, *pictures: av.VideoFrame) -> Path:
    coding = Coding(codec="ffv1", pixel_format=pictures[0].format.name)
    with av.open(str(path), "w") as output:
        video = add_video(output, moving_info((pictures[0].width, pictures[0].height)), coding)
        video.color_range = pictures[0].color_range
        for number, picture in enumerate(pictures):
            picture.pts = number
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
    return path


def test_pngs_that_move_are_clips_and_told_in_folders(tmp_path: Path) -> None:
    coding = Coding(codec="apng", pixel_format="rgb24")
    moving = moving_clip(tmp_path / "clip.apng", frames=3, frame_rate=Fraction(5), coding=coding)
    folder = tmp_path / "folder"
    folder.mkdir()
    picture = Path(shutil.copy(moving, folder / "1.png"))
    with open_clip(picture) as reader:
        assert len(list(reader)) == 3
    assert (reader.info.frame_rate, reader.notes) == (Fraction(5), list[str]())
    with open_clip(folder) as reader:
        assert len(list(reader)) == 1
    assert reader.notes == ["only the first picture is read of 1.png, which moves"]


def animated_webp(path: Path, durations: list[int], alpha: int = 255) -> list[Frame]:
    """Write a lossless animation of two colours a picture and return its frames."""
    colours = [(40 * number, 90, 200 - 30 * number) for number in range(len(durations))]
    pictures = [Image.new("RGBA", (6, 4), (*colour, 255)) for colour in colours]
    for picture in pictures:
        picture.putpixel((1, 2), (1, 2, 3, alpha))
    pictures[0].save(
        path, "webp", save_all=True, append_images=pictures[1:], duration=durations, lossless=True
    )
    return [Frame((np.asarray(each)[..., :3],), 0) for each in pictures]


def test_animated_webps_are_clips(tmp_path: Path) -> None:
    path = tmp_path / "clip.webp"
    expected = animated_webp(path, [100, 50, 0, 100, 2000])
    with open_clip(path) as reader:
        assert_same(frames := list(reader), expected)
    times = [frame.pts * reader.info.time_base * 1000 for frame in frames]
    assert times == [0, 100, 150, 250, 350]
    assert reader.end * reader.info.time_base * 1000 == 2350
    assert (reader.info.frame_rate, reader.info.frame_count) == (Fraction(10), 5)
    assert reader.notes == []
    with open_clip(path, start=0.15, frames=2) as reader:
        assert_same(list(reader), expected[2:4])
    cut = Path(shutil.copy(path, tmp_path / "picture.gif"))  # the bytes tell, not the name
    cut.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableInput, match=r"picture\.gif"), open_clip(cut) as reader:
        list(reader)
    (tmp_path / "folder").mkdir()
    shutil.copy(path, tmp_path / "folder" / "1.webp")
    with open_clip(tmp_path / "folder") as reader:
        assert_same(list(reader), expected[:1])
    assert reader.notes == ["only the first picture is read of 1.webp, which moves"]
    animated_webp(path, [40, 40], alpha=9)
    with open_clip(path) as reader:
        list(reader)
    assert reader.notes == [TRANSPARENT]


def test_damaged_webps_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.webp"
    animated_webp(path, [40, 40, 40])
    whole, random = path.read_bytes(), np.random.default_rng(1)
    for _ in range(30):
        data = bytearray(whole)
        for place in random.integers(30, len(whole), 3):  # behind the size of the canvas
            data[place] = random.integers(256)
        path.write_bytes(data[: random.integers(30, 2 * len(whole))])
        with suppress(UnreadableInput), open_clip(path) as reader:
            assert len(list(reader)) <= 3


def test_folder_of_pictures_is_exact(tmp_path: Path) -> None:
    info = moving_info((33, 35), pixel_format=PixelFormat.RGB)
    expected = list(moving_frames(info, 4))
    with create_clip(tmp_path / "pictures", info) as writer:
        for frame in expected:
            writer.write(frame)
    with open_clip(tmp_path / "pictures", picture_rate=Fraction(30000, 1001)) as reader:
        assert_same(list(reader), expected)
    assert reader.info.frame_rate == Fraction(30000, 1001)
    assert reader.info.frame_count == 4
    with open_clip(tmp_path / "pictures", start=0.08, frames=1) as reader:
        assert_same(list(reader), expected[2:3])
    with open_clip(tmp_path / "pictures" / "00000001.png") as reader:
        assert_same(list(reader), expected[1:2])


def test_jpeg_pictures_become_rgb(tmp_path: Path) -> None:
    planes = tuple(
        np.full(shape, level, np.uint8)
        for shape, level in zip(
            plane_shapes(FrameSize(16, 16), PixelFormat.YUV420), (150, 100, 140), strict=True
        )
    )
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 16, 16, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    (packet,) = encoder.encode(make_picture(planes, "yuvj420p"))
    path = tmp_path / "picture.JPG"
    path.write_bytes(bytes(packet))
    with open_clip(path) as reader:
        (frame,) = reader
    assert reader.notes == ["8-bit 4:2:0 (yuvj420p) converted to 8-bit RGB"]
    expected = [150 + 1.402 * 12, 150 - 0.344 * -28 - 0.714 * 12, 150 + 1.772 * -28]
    assert np.abs(frame.planes[0] - np.array(expected)).max() < 3


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".y4m"])
def test_streamable_containers_come_through_pipes(tmp_path: Path, suffix: str) -> None:
    codec = "rawvideo" if suffix == ".y4m" else "libx264"
    path = moving_clip(tmp_path / f"clip{suffix}", frames=30, coding=Coding(codec=codec))
    whole = frames_of(path)
    with piped(path.read_bytes()) as file, open_clip(file) as reader:
        assert_same(list(reader), whole)
    with piped(path.read_bytes()) as file, open_clip(file, start=0.4, frames=3) as reader:
        assert_same(list(reader), whole[10:13])


def test_named_pipes_are_read(tmp_path: Path) -> None:
    path = moving_clip(tmp_path / "clip.mkv", frames=30)
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=pipe.write_bytes, args=(path.read_bytes(),))
    feeder.start()
    with open_clip(pipe, start=0.4) as reader:
        assert_same(list(reader), frames_of(path)[10:])
    feeder.join()


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_bare_planes_are_read_from_files_and_pipes(
    tmp_path: Path, pixel_format: PixelFormat
) -> None:
    info = moving_info((33, 35), Fraction(30000, 1001), pixel_format)
    expected = list(moving_frames(info, 4))
    data = b"".join(plane.tobytes() for frame in expected for plane in frame.planes)
    path = tmp_path / "clip.yuv"
    path.write_bytes(data)
    raw = RawFormat(info.size, info.frame_rate, pixel_format)
    with open_clip(path, raw=raw) as reader:
        assert_same(list(reader), expected)
        assert reader.info.frame_rate == info.frame_rate
        assert reader.info.frame_count == 4
    with piped(data) as file, open_clip(file, raw=raw) as reader:
        assert_same(list(reader), expected)
    path.write_bytes(data[:-1])
    with pytest.raises(UnreadableInput, match="no whole number of 33x35"):
        open_clip(path, raw=raw)
    with piped(data[:-1]) as file, open_clip(file, raw=raw) as reader:
        frames = iter(reader)
        assert_same([next(frames) for _ in range(3)], expected[:3])
        with pytest.raises(UnreadableInput, match="cut off"):
            next(frames)


def test_standard_input_and_output(tmp_path: Path) -> None:
    path = moving_clip(tmp_path / "clip.y4m", frames=3, coding=Coding(codec="rawvideo"))
    program = """
from neuvid.video.clip import create_clip, open_clip
with open_clip("-") as reader, create_clip("-", reader.info) as writer:
    for frame in reader:
        writer.write(frame)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=path.read_bytes(), capture_output=True, check=True
    )
    copy = tmp_path / "copy.y4m"
    copy.write_bytes(done.stdout)
    assert_same(frames_of(copy), frames_of(path))
    assert done.stderr == b""


def test_each_unreadable_input_says_why(tmp_path: Path) -> None:
    whole = moving_clip(tmp_path / "clip.mp4", frames=5).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: whole.index(b"moov")])
    (tmp_path / "text.mp4").write_text("This is not a video.\n" * 99)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    sound_only(tmp_path / "sound.mka")
    tiled_picture(tmp_path / "photo.avif")
    reasons = {
        "missing.mp4": "there is no such file",
        "cut.mp4": "its index is missing",
        "text.mp4": "it is not a video",
        "empty.mp4": "the file is empty",
        "folder": "holds no png, jpg, webp, bmp or tif pictures",
        "broken.png": "it is not a whole picture",
        "sound.mka": "it has no video stream",
        "photo.avif": "it is a picture in 2 tiles, as HEIC is: convert it to png or jpg",
    }
    for name, reason in reasons.items():
        with pytest.raises(UnreadableInput, match=reason) as caught:
            open_clip(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    with piped(b"") as file, pytest.raises(UnreadableInput):
        open_clip(file)
    with piped((tmp_path / "text.mp4").read_bytes()) as file, pytest.raises(UnreadableInput):
        open_clip(file)


def sound_only(path: Path) -> None:
    clip = moving_clip(path.with_suffix(".mkv"), frames=10, audio=True)
    with av.open(str(clip)) as source, av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                output.mux(packet)


def faststart(path: Path, source: Path) -> bytes:
    """Copy a clip to an mp4 whose index comes first."""
    options = {"movflags": "faststart"}
    with av.open(str(source)) as clip, av.open(str(path), "w", container_options=options) as output:
        stream = output.add_stream_from_template(clip.streams.video[0])
        for packet in clip.demux(clip.streams.video[0]):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return path.read_bytes()


def test_file_cut_off_gives_its_whole_frames_then_fails(tmp_path: Path) -> None:
    whole = faststart(tmp_path / "clip.mp4", bikes())
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    frames = []
    with open_clip(cut) as reader, pytest.raises(UnreadableInput, match="cut off"):
        for frame in reader:
            frames.append(frame)
    whole_frames = {frame.pts: frame for frame in frames_of(bikes())}
    assert_same(frames, [whole_frames[frame.pts] for frame in frames])
    assert 50 < len(frames) < 200
    with open_clip(cut, frames=50) as reader:
        assert len(list(reader)) == 50


def test_damage_in_the_middle_is_noted(tmp_path: Path) -> None:
    whole = bytearray(faststart(tmp_path / "clip.mp4", bikes()))
    middle = len(whole) // 2
    whole[middle : middle + 20000] = np.random.default_rng(0).bytes(20000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(whole)
    with open_clip(path) as reader:
        frames = list(reader)
    assert 200 < len(frames) < 251
    assert [note for note in reader.notes if "damaged" in note]
    assert all(before.pts < after.pts for before, after in pairwise(frames))


def test_iteration_ends_when_the_reader_is_closed(tmp_path: Path) -> None:
    path = moving_clip(tmp_path / "clip.mp4", frames=60)
    with open_clip(path) as reader:
        frames = iter(reader)
        kept = [next(frames) for _ in range(3)]
    rest = list(frames)
    assert len(rest) < 57
    assert_same(kept + rest, frames_of(path)[: 3 + len(rest)])


def test_change_of_size_is_refused(tmp_path: Path) -> None:
    small = moving_clip(tmp_path / "small.h264", frames=5)
    large = moving_clip(tmp_path / "large.h264", size=(96, 64), frames=5)
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with (
        open_clip(path) as reader,
        pytest.raises(UnreadableInput, match="frame size changes from 64x48 to 96x64"),
    ):
        list(reader)


def test_start_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = moving_clip(tmp_path / "clip.mp4", frames=5)
    with pytest.raises(UnreadableInput, match="it has no frame at 9 s"):
        open_clip(path, start=9)


def test_limits_out_of_range_are_refused(tmp_path: Path) -> None:
    for start in (-1, float("nan"), float("inf")):
        with pytest.raises(InvalidSetting, match="start"):
            open_clip(tmp_path, start=start)
    with pytest.raises(InvalidSetting, match="frames"):
        open_clip(tmp_path, frames=0)
    with pytest.raises(InvalidSetting, match="picture rate"):
        open_clip(tmp_path, picture_rate=Fraction(0))


def test_names_are_paths_and_nothing_else(tmp_path: Path) -> None:
    path = moving_clip(tmp_path / "clip.mp4", frames=2)
    odd = Path(shutil.copy(path, tmp_path / "concat:a|b %03d [x] ä.mp4"))
    assert len(frames_of(odd)) == 2
