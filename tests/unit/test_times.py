"""Times come out whole, whatever a container says: rising, from near zero on, sound in step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from av.packet import Packet
from av.stream import Stream
from clips import Coding, assert_same, moving_clip

from neuvid.video.clip import open_clip
from neuvid.video.frame import Frame
from neuvid.video.passthrough import PassthroughUnpacker

FRAME = Fraction(1, 25)
ROUNDING = Fraction(1, 10_000)
HOUR = 3600


def remux(source: Path, target: Path, change: Callable[[Packet[Stream]], None]) -> Path:
    """Copy a clip's packets into another container, each changed before."""
    with av.open(str(source)) as clip, av.open(str(target), "w") as output:
        copies = {s.index: output.add_stream_from_template(s) for s in clip.streams}
        for packet in clip.demux():
            if packet.size:
                change(packet)
                packet.stream = copies[packet.stream_index]
                output.mux(packet)
    return target


def recording(folder: Path, begin: float, frames: int = 15) -> bytes:
    """Return a transport stream with sound whose clock is at `begin` seconds, more or less."""
    clip = moving_clip(folder / "recording.mkv", frames=frames, audio=True, audio_codec="mp2")

    def late(packet: Packet[Stream]) -> None:
        packet.pts = packet.dts = round((packet.pts or 0) + begin / packet.time_base)

    return remux(clip, folder / f"{begin}.ts", late).read_bytes()


def seconds_of(path: Path) -> tuple[list[Fraction], list[Fraction]]:
    """Return the times of frames and of sound packets, in seconds."""
    unpacker = PassthroughUnpacker()
    sound: list[Fraction] = []

    def unpack(chunks: list[bytes]) -> Iterator[Fraction]:
        for chunk in chunks:
            for packet in unpacker.feed(chunk):
                yield packet.pts * unpacker.streams[packet.stream].time_base

    with open_clip(path, passthrough=True) as clip:
        frames = []
        for frame in clip:
            frames.append(frame.pts * clip.info.time_base)
            sound += unpack(clip.passthrough_chunks())
        sound += unpack(clip.passthrough_chunks())
    return frames, sound


@pytest.mark.parametrize("begin", [0, 19 * HOUR])
def test_clip_starts_near_zero_with_sound_in_step(tmp_path: Path, begin: int) -> None:
    path = tmp_path / "clip.ts"
    path.write_bytes(recording(tmp_path, begin))
    with av.open(str(path)) as file:
        first: dict[str, Fraction] = {}
        for packet in file.demux():
            if packet.pts is not None:
                first.setdefault(packet.stream.type, packet.pts * packet.time_base)
    frames, sound = seconds_of(path)
    assert min(frames[0], sound[0]) == 0
    assert frames[0] - sound[0] == first["video"] - first["audio"]


@pytest.mark.parametrize(
    ("begins", "pause"),
    [
        ((0, 0, 0), 0),  # each recording's clock begins alike
        ((5, 0.3), 0),
        ((0, 19 * HOUR), 0),
        ((0, 5), 5 - 15 / 25),  # may be the same clock: what was not received
    ],
)
def test_joined_recordings_play_on(tmp_path: Path, begins: tuple[float, ...], pause: float) -> None:
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(recording(tmp_path, begin) for begin in begins))
    frames, sound = seconds_of(path)
    alone = tmp_path / "alone.ts"
    alone.write_bytes(recording(tmp_path, begins[0]))
    alone_frames, alone_sound = seconds_of(alone)
    assert len(frames) == 15 * len(begins)
    assert len(sound) == len(alone_sound) * len(begins)
    shift = alone_frames[0] - alone_sound[0]
    for times, each in ((frames, FRAME), (sound, Fraction(1152, 48000))):
        steps = [after - before for before, after in pairwise(times)]
        assert min(steps) > each - ROUNDING
        assert max(steps) < each + Fraction(pause) + Fraction(1, 10)
        assert sum(step > each + ROUNDING for step in steps) <= len(begins) - 1
    for number in range(len(begins)):
        in_step = frames[15 * number] - sound[len(alone_sound) * number]
        assert abs(in_step - shift) <= ROUNDING


def test_start_of_joined_recordings_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "joined.ts"
    path.write_bytes(recording(tmp_path, 3, 60) + recording(tmp_path, 1, 60))
    with open_clip(path) as clip:
        whole = list(clip)
    for start in (0.4, 2.0, 4.0):
        first = next(n for n, f in enumerate(whole) if (f.pts - whole[0].pts) >= 90000 * start - 1)
        with open_clip(path, start=start, frames=5) as clip:
            assert_same(list(clip), whole[first : first + 5])


@pytest.mark.parametrize("begins", [(0, 0), (40, 0)])
def test_late_start_of_joined_recordings_is_exact(
    tmp_path: Path, begins: tuple[float, float]
) -> None:
    """The clock tells places as far as it runs, and no farther."""
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(recording(tmp_path, begin, 400) for begin in begins))
    with open_clip(path) as clip:
        whole = list(clip)
    for first in (380, 760):
        start = Fraction(whole[first].pts - whole[0].pts, 90_000)
        with open_clip(path, start=start, frames=2) as clip:
            assert_same(list(clip), whole[first : first + 2])


def reordered(path: Path, frames: int = 18) -> Path:
    """Write a clip whose frames are not stored in the order of showing."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", 25, width=64, height=48, pix_fmt="yuv420p")
        video.codec_context.max_b_frames = 2
        for number in range(frames):
            picture = av.VideoFrame(64, 48, "yuv420p")
            for plane in picture.planes:
                plane.update(bytes([10 * number + 20]) * plane.buffer_size)
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_decoding_times_are_no_times_of_showing(tmp_path: Path, suffix: str) -> None:
    clip = reordered(tmp_path / "clip.mp4")
    with av.open(str(clip)) as file:
        times = [(packet.pts, packet.dts) for packet in file.demux() if packet.size]
    assert any(pts != dts for pts, dts in times)
    with open_clip(clip) as reader:
        expected = list(reader)

    def forget(packet: Packet[Stream]) -> None:
        packet.pts = packet.dts = (packet.dts or 0) - (times[0][1] or 0)

    with open_clip(remux(clip, tmp_path / f"forgotten{suffix}", forget)) as reader:
        frames = list(reader)
        steps = [(b.pts - a.pts) * reader.info.time_base for a, b in pairwise(frames)]
    assert_same([Frame(f.planes, 0) for f in frames], [Frame(f.planes, 0) for f in expected])
    assert all(abs(step - FRAME) < Fraction(1, 500) for step in steps[3:])
    assert min(steps) > 0 and sum(steps) < FRAME * (len(frames) + 2)


def test_empty_frames_of_avi_are_no_pictures(tmp_path: Path) -> None:
    """Its header counts them, which tell that the picture before stands for longer."""
    clip = moving_clip(tmp_path / "clip.mp4", frames=24, coding=Coding(codec="mpeg4"))
    path = tmp_path / "filled.avi"
    with av.open(str(clip)) as file, av.open(str(path), "w") as output:
        copy = output.add_stream_from_template(file.streams.video[0])
        for number, packet in enumerate(packet for packet in file.demux() if packet.size):
            packet.stream, packet.time_base = copy, Fraction(1, 125)
            packet.pts = packet.dts = 5 * number
            packet.duration = 1
            output.mux(packet)
    with av.open(str(path)) as file:
        assert file.streams.video[0].frames > 100
    with open_clip(path) as reader:
        assert reader.info.frame_rate == 25
        assert reader.info.frame_count in (23, 24)
        assert len(list(reader)) == 24
