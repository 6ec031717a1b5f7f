"""Outputs take the place of files, and of nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from clips import moving_clip, moving_frames, moving_info

import neuvid
from neuvid.codec.files import create_stream
from neuvid.errors import UnreadableInput, UnwritableOutput
from neuvid.outputs import replacing
from neuvid.video.clip import create_clip, open_clip
from neuvid.video.frame import PixelFormat

INFO = moving_info()
PLANES = 64 * 48 * 3 // 2  # bytes of a frame


def write(target: Path, frames: int = 2) -> None:
    with create_clip(target, INFO) as writer:
        for frame in moving_frames(INFO, frames):
            writer.write(frame)


@pytest.mark.parametrize("name", ["pipe.y4m", "pipe", "pipe.yuv", "pipe.mkv"])
def test_a_named_pipe_is_written_to(tmp_path: Path, name: str) -> None:
    pipe, copy = tmp_path / name, tmp_path / f"copy{Path(name).suffix or '.y4m'}"
    os.mkfifo(pipe)
    reader = Thread(target=lambda: copy.write_bytes(pipe.read_bytes()))
    reader.start()
    write(pipe)
    reader.join()
    assert pipe.is_fifo()
    if copy.suffix == ".yuv":
        assert copy.stat().st_size == 2 * PLANES
    else:
        with open_clip(copy) as clip:
            assert len(list(clip)) == 2


def test_a_container_that_needs_seeking_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    reader = Thread(target=(tmp_path / "pipe.mp4").read_bytes)
    reader.start()
    with pytest.raises(UnwritableOutput, match="mp4 cannot be written to a pipe, mkv can"):
        write(tmp_path / "pipe.mp4")
    reader.join()


def test_a_stream_goes_through_a_named_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    with create_stream(pipe) as file:
        file.write(b"stream")
    reader.join()
    assert got == [b"stream"] and pipe.is_fifo()


def test_devices_and_open_files_are_written_to(tmp_path: Path) -> None:
    write(Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
    with (tmp_path / "clip.y4m").open("wb") as file:
        write(Path(f"/dev/fd/{file.fileno()}"))
    assert (tmp_path / "clip.y4m").read_bytes().count(b"FRAME\n") == 2
    with pytest.raises(UnwritableOutput, match="No space left on device"):
        write(Path("/dev/full"))


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_one(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "disk").mkdir()
    if exists:
        (tmp_path / "disk" / "real.y4m").write_bytes(b"old")
    link = tmp_path / "link.y4m"
    link.symlink_to("disk/real.y4m")
    write(link)
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["real.y4m"]
    assert link.read_bytes().count(b"FRAME\n") == 2


def test_permissions_stay(tmp_path: Path) -> None:
    for name, mode in (("clip.y4m", 0o600), ("pictures", 0o711)):
        path = tmp_path / name
        if path.suffix:
            path.write_bytes(b"old")
        else:
            path.mkdir()
        path.chmod(mode)
        write(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("letter", ["x", "日"])
def test_names_may_be_as_long_as_the_file_system_allows(tmp_path: Path, letter: str) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") - len(".y4m")
    target = tmp_path / (letter * (longest // len(letter.encode())) + ".y4m")
    write(target)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("failure", "raised"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(), UnwritableOutput)]
)
def test_what_is_replaced_is_whole(
    tmp_path: Path, failure: BaseException, raised: type[BaseException]
) -> None:
    path, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to("real")
    with replacing(link) as file:
        file.write(b"whole")
    path.chmod(0o640)
    with pytest.raises(raised), replacing(link) as file:
        file.write(b"half")
        raise failure
    assert set(tmp_path.iterdir()) == {path, link} and path.read_bytes() == b"whole"
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink() and path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.nvid").mkdir()
    with pytest.raises(UnwritableOutput, match="directory"), create_stream(tmp_path / "x.nvid"):
        pytest.fail("it was opened")


def test_pictures_are_in_the_order_of_counting(tmp_path: Path) -> None:
    info = moving_info(pixel_format=PixelFormat.RGB)
    frames = list(moving_frames(info, 4))
    names = ["a1.png", "a2.png", "a10.png", "b1.png"]
    with create_clip(tmp_path / "counted", info) as writer:
        for frame in frames:
            writer.write(frame)
    for number, name in enumerate(names):
        (tmp_path / "counted" / f"{number:08d}.png").rename(tmp_path / "counted" / name)
    (tmp_path / "counted" / "._a1.png").write_bytes(b"of the operating system")
    (tmp_path / "counted" / "Thumbs.db").write_bytes(b"of another one")
    (tmp_path / "counted" / "a3.png").mkdir()
    with open_clip(tmp_path / "counted") as clip:
        for frame, expected in zip(clip, frames, strict=True):
            assert frame.planes[0].tobytes() == expected.planes[0].tobytes()


def test_what_comes_before_damage_can_be_kept(tmp_path: Path) -> None:
    whole = moving_clip(tmp_path / "in.avi", frames=12, audio=True, audio_codec="libmp3lame")
    data = whole.read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    with open_clip(tmp_path / "cut.avi") as clip, pytest.raises(UnreadableInput, match="cut off"):
        list(clip)
    with open_clip(tmp_path / "cut.avi", passthrough=True, keep_going=True) as clip:
        assert 0 < len(list(clip)) < 12
        assert len(clip.passthrough_chunks()) > 1  # the description, and packets
    assert clip.damage and clip.damage.endswith("cut.avi: it is cut off")
    with open_clip(whole, keep_going=True) as clip:
        assert len(list(clip)) == 12 and clip.damage is None


@pytest.mark.parametrize(
    ("closed", "command", "code", "reason"),
    [
        (">&-", "info x.nvid", 2, "Bad file descriptor\n"),
        ("<&-", "info -", 2, "Bad file descriptor\n"),
        ("<&- >&- 2>&-", "decode x.nvid x.yuv", 0, ""),
    ],
)
def test_standard_streams_may_be_closed(
    closed: str, command: str, code: int, reason: str, tmp_path: Path
) -> None:
    neuvid.write(tmp_path / "x.nvid", [np.zeros((16, 16, 3), np.uint8)], fps=25)
    line = f"{sys.executable} -m neuvid {command} {closed}"
    process = subprocess.run(line, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == code
    assert process.stderr.endswith(reason) and process.stderr.count("\n") == bool(reason)
    assert (tmp_path / "x.yuv").exists() == ("decode" in command)
