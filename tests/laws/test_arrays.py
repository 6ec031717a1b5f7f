"""Laws of streams as arrays: what is read is what `decode_stream` writes, by any way to it."""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from clips import moving_clip
from conftest import FAMILIES, save_untrained
from numpy.typing import NDArray

import neuvid
from neuvid.codec.schedule import Schedule
from neuvid.models.checkpoint import LoadedModel, load_model

FRAMES, PERIOD = 12, 5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    return load_model(save_untrained(path, FAMILIES["implicit"], seed=1))


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory, tiny: LoadedModel) -> Path:
    """Return a stream of 6 frames per second with three intra frames."""
    path = tmp_path_factory.mktemp("stream") / "x.nvid"
    moving_clip(path.with_suffix(".mp4"), frames=FRAMES, frame_rate=Fraction(6), audio=True)
    with neuvid.open_clip(path.with_suffix(".mp4"), passthrough=True) as clip:
        neuvid.encode_clip(
            clip,
            path,
            model=tiny,
            control=neuvid.FixedQuality(32),
            schedule=Schedule(PERIOD, scene_cuts=False),
        )
    return path


@pytest.fixture(scope="module")
def decoded(stream: Path, tiny: LoadedModel) -> list[neuvid.Frame]:
    """Return the frames that the stream decodes to."""
    neuvid.decode_stream(stream, stream.with_suffix(".y4m"), model=tiny)
    with neuvid.open_clip(stream.with_suffix(".y4m")) as clip:
        return list(clip)


def same(frame: neuvid.Frame, other: neuvid.Frame) -> bool:
    return all(map(np.array_equal, frame.planes, other.planes))


def test_frames_are_those_of_decoding(
    stream: Path, tiny: LoadedModel, decoded: list[neuvid.Frame], tmp_path: Path
) -> None:
    video = neuvid.read(stream, model=tiny)
    assert len(video) == FRAMES
    frames = list(video)
    assert [frame.seconds for frame in frames] == [number / 6 for number in range(FRAMES)]
    assert all(map(same, frames, decoded)) and len(frames) == FRAMES
    neuvid.decode_stream(stream, tmp_path / "pictures", model=tiny)
    with neuvid.open_clip(tmp_path / "pictures") as pictures:
        for frame, picture in zip(video, pictures, strict=True):
            rgb = frame.rgb()
            assert rgb.dtype == np.uint8 and rgb.shape == (48, 64, 3)
            np.testing.assert_array_equal(rgb, picture.planes[0])


@pytest.mark.parametrize("order", [range(FRAMES), (7, 8, 8, 3, 11, 4, 0, -1, -FRAMES)])
def test_frames_may_be_taken_in_any_order(
    stream: Path, tiny: LoadedModel, decoded: list[neuvid.Frame], order: range | tuple[int, ...]
) -> None:
    video = neuvid.read(stream, model=tiny)
    for number in order:
        assert same(video[number], decoded[number])
    for number in (FRAMES, -FRAMES - 1):
        with pytest.raises(IndexError):
            video[number]


@pytest.mark.parametrize("start", [0.4, 5 / 6, 1.0])
def test_reading_may_begin_anywhere(
    stream: Path, tiny: LoadedModel, decoded: list[neuvid.Frame], start: float
) -> None:
    first = int(np.ceil(start * 6 - 1e-6))
    for source in (stream, io.BytesIO(stream.read_bytes())):
        video = neuvid.read(source, start=start, model=tiny)
        assert len(video) == FRAMES - first
        assert all(map(same, video, decoded[first:]))
        assert same(video[1], decoded[first + 1]) and video[-1].seconds == (FRAMES - 1) / 6


def test_a_pipe_is_read_once(
    stream: Path, tiny: LoadedModel, decoded: list[neuvid.Frame], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    feeder = Thread(target=lambda: (tmp_path / "pipe").write_bytes(stream.read_bytes()))
    feeder.start()
    video = neuvid.read(tmp_path / "pipe", model=tiny)
    frames = list(video)
    feeder.join()
    assert all(map(same, frames, decoded)) and len(frames) == FRAMES
    with pytest.raises(TypeError):
        len(video)
    with pytest.raises(neuvid.UnreadableInput, match="once"):
        list(video)


def test_what_cannot_be_read_is_told(stream: Path, tiny: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(neuvid.InvalidSetting, match=r"start is 9; allowed is 0 to below 2 s"):
        neuvid.read(stream, start=9, model=tiny)
    with pytest.raises(neuvid.ModelMismatch):
        neuvid.read(stream)
    (tmp_path / "cut.nvid").write_bytes(stream.read_bytes()[: stream.stat().st_size // 2])
    video = neuvid.read(tmp_path / "cut.nvid", model=tiny)
    assert 0 < len(video) < FRAMES and video[0].pts == 0
    with pytest.raises(neuvid.CorruptStream, match=r"cut\.nvid"):
        list(video)


def pictures(count: int) -> list[NDArray[np.uint8]]:
    """Return gradients that move."""
    ramp = np.add.outer(np.arange(34), np.arange(50)).astype(np.uint8)
    return [np.stack((ramp + 3 * number, ramp, 255 - ramp), -1) for number in range(count)]


@pytest.mark.parametrize("lazy", [False, True])
def test_arrays_come_back(tiny: LoadedModel, tmp_path: Path, lazy: bool) -> None:
    frames = pictures(4)
    source = iter(frames) if lazy else frames
    total = neuvid.write(tmp_path / "x.nvid", source, fps=30000 / 1001, quality=63, model=tiny)
    assert total.frames == 4
    video = neuvid.read(tmp_path / "x.nvid", model=tiny)
    assert video.info.frame_rate == Fraction(30000, 1001)
    for frame, picture in zip(video, frames, strict=True):
        shown = frame.rgb()
        assert shown.shape == picture.shape and shown is not frame.planes[0]
        np.testing.assert_array_equal(shown, frame.planes[0])


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([np.zeros((4, 4, 3), np.float32)], r"frame 0 is 'float32 \[4, 4, 3\]'"),
        ([np.zeros((4, 4), np.uint8)], r"allowed is uint8 \[H, W, 3\]"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)], r"uint8 \[4, 4, 3\]"),
    ],
)
def test_other_arrays_are_refused(
    tiny: LoadedModel, tmp_path: Path, frames: list[NDArray[np.uint8]], reason: str
) -> None:
    with pytest.raises(neuvid.InvalidSetting, match=reason):
        neuvid.write(tmp_path / "x.nvid", frames, fps=25, model=tiny)
    with pytest.raises(neuvid.InvalidSetting, match="fps is 0"):
        neuvid.write(tmp_path / "x.nvid", pictures(1), fps=0, model=tiny)
    with pytest.raises(neuvid.UnreadableInput, match="no whole frame"):
        neuvid.write(tmp_path / "x.nvid", [], fps=25, model=tiny)
    assert not list(tmp_path.iterdir())
