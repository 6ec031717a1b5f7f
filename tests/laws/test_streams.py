"""Laws of streams as files: nothing of a clip is lost on the way, and damage stays in bounds."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import Coding, moving_clip, moving_frames, moving_info

from neuvid.bitstream.container import PacketWriter, StoredPacket
from neuvid.bitstream.packet import Packet
from neuvid.codec.clips import encode_clip
from neuvid.codec.files import open_stream
from neuvid.codec.schedule import FIRST_FRAME_ONLY, Schedule
from neuvid.codec.statistics import StreamStatistics
from neuvid.codec.streams import decode_stream, verify_stream
from neuvid.errors import CorruptStream, Desynchronised, InvalidSetting, ModelMismatch
from neuvid.models.checkpoint import LoadedModel
from neuvid.rate.controller import FixedQuality
from neuvid.video.clip import create_clip, open_clip
from neuvid.video.frame import Frame

FRAMES = 12
PERIOD = 5


def encode(
    clip: Path, stream: Path, model: LoadedModel, schedule: Schedule = FIRST_FRAME_ONLY
) -> StreamStatistics:
    with open_clip(clip, passthrough=True) as reader:
        return encode_clip(reader, stream, model=model, control=FixedQuality(32), schedule=schedule)


def frames_of(clip: Path) -> list[Frame]:
    with open_clip(clip) as reader:
        return list(reader)


def planes_of(stream: Path, model: LoadedModel, **options: object) -> list[bytes]:
    """Decode to bare planes, a string of bytes for each frame."""
    raw = stream.with_suffix(".yuv")
    decode_stream(stream, raw, model=model, **options)  # type: ignore[arg-type]
    with open_stream(stream) as reader:
        size = reader.header.width * reader.header.height * 3 // 2
    data = raw.read_bytes()
    return [data[start : start + size] for start in range(0, len(data), size)]


@dataclass
class Copied:
    """Packets of a stream that is not video: times in seconds, and content."""

    times: list[Fraction]
    data: list[bytes]


def copied(clip: Path, kind: str) -> Copied:
    with av.open(str(clip)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        packets = [packet for packet in container.demux(stream) if packet.size and packet.duration]
        times = [packet.pts * packet.time_base for packet in packets if packet.pts is not None]
        return Copied(times, [bytes(packet) for packet in packets])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "moving.mp4"
    return moving_clip(
        path, frames=FRAMES, frame_rate=Fraction(6), audio=True, subtitles="mov_text"
    )


@pytest.fixture(scope="module")
def stream(clip: Path, model: LoadedModel) -> Path:
    path = clip.with_suffix(".nvid")
    encode(clip, path, model, Schedule(PERIOD, scene_cuts=False))
    return path


@pytest.fixture(scope="module")
def planes(stream: Path, model: LoadedModel) -> list[bytes]:
    planes = planes_of(stream, model)
    assert len(planes) == FRAMES
    return planes


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_times_sound_and_tags_survive(model: LoadedModel, tmp_path: Path, suffix: str) -> None:
    late = [0, 3, 4, 9, 10, 17, 20, 30]  # of 20 per second
    coding = Coding(colour_range=2, time_base=Fraction(1, 20), pts=late)
    clip = moving_clip(
        tmp_path / f"in{suffix}", frames=8, frame_rate=Fraction(10), audio=True, coding=coding
    )
    encode(clip, tmp_path / "x.nvid", model)
    result = tmp_path / f"out{suffix}"
    report = decode_stream(tmp_path / "x.nvid", result, model=model)
    assert report.written_frames == 8 and report.lost_frames == 0 and report.damage is None
    with open_clip(clip) as before, open_clip(result) as after:
        assert (after.info.size, after.info.colour) == (before.info.size, before.info.colour)
        shown = [frame.pts * after.info.time_base for frame in after]
        expected = [frame.pts * before.info.time_base for frame in before]
    sound, kept = copied(clip, "audio"), copied(result, "audio")
    assert kept.data == sound.data
    shift = shown[0] - expected[0]  # Matroska begins at 0, whatever begins first
    rounding = Fraction(1, 1000) if suffix == ".mkv" else 0
    for one, other in zip(shown + kept.times, expected + sound.times, strict=True):
        assert abs(one - other - shift) <= rounding


@pytest.mark.parametrize(("pts", "end"), [([0], 50), ([0, 2, 4], 54)])
def test_the_last_frame_lasts_as_long_as_it_did(
    model: LoadedModel, tmp_path: Path, pts: list[int], end: int
) -> None:
    coding = Coding(time_base=Fraction(1, 20), pts=pts)
    clip, stream, result = (tmp_path / name for name in ("in.mp4", "x.nvid", "out.mp4"))
    short = moving_clip(tmp_path / "short.mp4", frames=len(pts), coding=coding)
    with open_clip(short) as reader, create_clip(clip, reader.info) as writer:
        for frame in reader:
            writer.write(frame)
        writer.end = round(Fraction(end, 20) / reader.info.time_base)
    with open_clip(clip) as reader:
        written = encode_clip(reader, stream, model=model, control=FixedQuality(20))
    report = decode_stream(stream, result, model=model)
    assert written.seconds == report.statistics.seconds == end / 20
    with av.open(str(result)) as file:
        assert file.duration == 1_000_000 * end // 20
    if len(pts) > 1:
        decode_stream(stream, result, model=model, start=0.1)
        with av.open(str(result)) as file:
            assert file.duration == 1_000_000 * (end - 2) // 20


def test_sizes_add_up_and_progress_is_told(clip: Path, model: LoadedModel, tmp_path: Path) -> None:
    told: list[StreamStatistics] = []
    path = tmp_path / "x.nvid"
    with open_clip(clip, passthrough=True) as reader:
        total = encode_clip(
            reader, path, model=model, control=FixedQuality(20), progress=told.append
        )
    sizes = total.payload_bytes + total.overhead_bytes + total.passthrough_bytes
    assert sizes == path.stat().st_size
    assert (total.frames, total.seconds, total.expected_frames) == (FRAMES, 2.0, FRAMES)
    assert total.bits_per_pixel == 8 * (sizes - total.passthrough_bytes) / (FRAMES * 64 * 48)
    assert [done.frames for done in told] == sorted(done.frames for done in told)
    assert len(told) == FRAMES
    told.clear()
    read = decode_stream(path, tmp_path / "x.yuv", model=model, progress=told.append).statistics
    assert told[-1].frames == read.frames == FRAMES
    for name in ("payload_bytes", "overhead_bytes", "passthrough_bytes", "seconds"):
        assert getattr(read, name) == getattr(total, name)


@pytest.mark.parametrize("start", [0.01, 0.5, 5 / 6, 1.0, 1.8, 11 / 6])
def test_seeking_shows_the_tail_with_its_sound(
    clip: Path, stream: Path, planes: list[bytes], model: LoadedModel, tmp_path: Path, start: float
) -> None:
    first = int(np.ceil(start * 6 - 1e-6))
    assert planes_of(stream, model, start=start) == planes[first:]
    result = tmp_path / "tail.mp4"
    decode_stream(stream, result, model=model, start=start)
    pictures = frames_of(result)
    assert len(pictures) == FRAMES - first and pictures[0].pts == 0
    begin = Fraction(first, 6)
    whole, tail = copied(clip, "audio"), copied(result, "audio")
    assert tail.data == whole.data[-len(tail.data) :]
    assert tail.times == [time - begin for time in whole.times[-len(tail.data) :]]
    assert -0.03 < tail.times[0] <= 0
    lines = [line for line in copied(result, "subtitle").data if b"line" in line]
    ends = [Fraction(8, 10), Fraction(18, 10)]  # of the lines, in seconds
    assert len(lines) == sum(end > begin for end in ends)


def test_sound_lies_where_seeking_reads(model: LoadedModel, tmp_path: Path) -> None:
    """All sound from a seek's frame on lies behind the intra frame where reading begins."""
    clip = moving_clip(tmp_path / "in.mp4", frames=60, frame_rate=Fraction(4), audio=True)
    encode(clip, tmp_path / "x.nvid", model, Schedule(4, scene_cuts=False))
    decode_stream(tmp_path / "x.nvid", tmp_path / "out.mp4", model=model, start=13)
    whole, tail = copied(clip, "audio"), copied(tmp_path / "out.mp4", "audio")
    assert tail.data == whole.data[-len(tail.data) :]
    assert -0.03 < tail.times[0] <= 0


@pytest.mark.parametrize("start", [-1, 2.0, 1e300, float("nan"), float("inf")])
def test_seeking_out_of_the_stream_is_refused(
    stream: Path, model: LoadedModel, tmp_path: Path, start: float
) -> None:
    with pytest.raises(InvalidSetting, match="start"):
        decode_stream(stream, tmp_path / "x.yuv", model=model, start=start)
    assert not list(tmp_path.iterdir())


def test_part_of_a_clip_is_coded_from_its_own_start(
    clip: Path, model: LoadedModel, tmp_path: Path
) -> None:
    with open_clip(clip, start=0.5, frames=4, passthrough=True) as reader:
        encode_clip(reader, tmp_path / "x.nvid", model=model, control=FixedQuality(63))
    decode_stream(tmp_path / "x.nvid", tmp_path / "out.mp4", model=model)
    shown, whole = frames_of(tmp_path / "out.mp4"), frames_of(clip)
    assert len(shown) == 4 and shown[0].pts == 0
    likeness = [abs(shown[0].planes[0].astype(int) - other.planes[0]).mean() for other in whole]
    assert int(np.argmin(likeness)) == 3
    assert 0 < copied(tmp_path / "out.mp4", "audio").times[-1] < Fraction(4, 6)


def test_binary_files_do_as_well(stream: Path, planes: list[bytes], model: LoadedModel) -> None:
    info = moving_info()
    source, coded, shown = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with create_clip(source, info) as writer:
        for frame in moving_frames(info, 3):
            writer.write(frame)
    source.seek(0)
    with open_clip(source) as reader:
        encode_clip(reader, coded, model=model, control=FixedQuality(32))
    coded.seek(0)
    assert decode_stream(coded, shown, model=model).written_frames == 3
    assert shown.getvalue().count(b"FRAME\n") == 3


Damage = Callable[[bytes, int], bytes]


def truncate(data: bytes, place: int) -> bytes:
    return data[:place]


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]


def places(stream: Path) -> list[StoredPacket]:
    """Where the frames are."""
    with open_stream(stream) as reader:
        return [stored for stored in reader.stored_packets() if isinstance(stored.packet, Packet)]


@pytest.mark.parametrize("number", [1, 4, 5, 8, 11])
@pytest.mark.parametrize("damage", [truncate, flip])
def test_damage_is_noticed_and_all_around_it_is_saved(
    stream: Path,
    planes: list[bytes],
    model: LoadedModel,
    tmp_path: Path,
    damage: Damage,
    number: int,
) -> None:
    hit = places(stream)[number]
    broken = tmp_path / "broken.nvid"
    broken.write_bytes(damage(stream.read_bytes(), hit.offset + hit.size // 2))
    with pytest.raises(CorruptStream, match=r"broken\.nvid"):
        decode_stream(broken, tmp_path / "x.yuv", model=model)
    with pytest.raises(CorruptStream, match=r"broken\.nvid"):
        verify_stream(broken, model=model)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.nvid"]

    report = decode_stream(broken, tmp_path / "x.yuv", model=model, keep_going=True)
    next_intra = min((number // PERIOD + 1) * PERIOD, FRAMES)
    behind = next_intra if damage is flip else FRAMES
    saved = planes[:number] + planes[behind:]
    assert (tmp_path / "x.yuv").read_bytes() == b"".join(saved)
    assert report.lost_frames == FRAMES - len(saved)
    assert report.written_frames == len(saved)
    assert report.damage is not None


def test_frames_that_do_not_decode_are_passed_over(
    stream: Path, planes: list[bytes], model: LoadedModel, tmp_path: Path
) -> None:
    """Payloads can be damaged below the checksums: then the entropy coder notices."""
    broken = tmp_path / "broken.nvid"
    with open_stream(stream) as reader, broken.open("wb") as file:
        writer = PacketWriter(file, reader.header)
        for packet in reader:
            if isinstance(packet, Packet):
                longer = packet.payload + b"\0\0"
                wrong = packet.number == 6
                writer.write(replace(packet, payload=longer) if wrong else packet)
        writer.finish()
    with pytest.raises((CorruptStream, Desynchronised), match="frame 6"):
        decode_stream(broken, tmp_path / "x.yuv", model=model)
    report = decode_stream(broken, tmp_path / "x.yuv", model=model, keep_going=True)
    assert report.lost_frames == 4
    assert (tmp_path / "x.yuv").read_bytes() == b"".join(planes[:6] + planes[10:])


def test_damage_before_the_sought_frame_does_not_matter_to_salvage(
    stream: Path, planes: list[bytes], model: LoadedModel, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.nvid"
    hit = places(stream)[2]
    broken.write_bytes(flip(stream.read_bytes(), hit.offset + hit.size // 2))
    report = decode_stream(broken, tmp_path / "x.yuv", model=model, keep_going=True, start=1)
    assert (tmp_path / "x.yuv").read_bytes() == b"".join(planes[6:])
    assert report.lost_frames == 0


def test_sound_that_is_damaged_ends_but_pictures_go_on(
    stream: Path, model: LoadedModel, tmp_path: Path
) -> None:
    """The description of the streams is hit, so no sound can be written."""
    with open_stream(stream) as reader:
        first = next(reader.stored_packets())
    broken = tmp_path / "broken.nvid"
    broken.write_bytes(flip(stream.read_bytes(), first.offset + first.size // 2))
    report = decode_stream(broken, tmp_path / "x.mp4", model=model, keep_going=True)
    assert report.damage is not None
    assert len(frames_of(tmp_path / "x.mp4")) == FRAMES == report.written_frames


def test_nothing_is_saved_where_nothing_is_left(
    stream: Path, model: LoadedModel, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.nvid"
    first = places(stream)[0]
    broken.write_bytes(stream.read_bytes()[: first.offset + 10])
    with pytest.raises(CorruptStream):
        decode_stream(broken, tmp_path / "x.mp4", model=model, keep_going=True)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.nvid"]


def test_a_stream_of_an_unknown_checkpoint_is_checked_without_decoding(
    stream: Path, tmp_path: Path, model: LoadedModel
) -> None:
    with pytest.raises(ModelMismatch, match="does not come with neuvid"):
        decode_stream(stream, tmp_path / "x.mp4")
    report = verify_stream(stream)
    assert report.undecoded and report.statistics.frames == FRAMES
    assert verify_stream(stream, model=model).undecoded is None
    broken = tmp_path / "broken.nvid"
    broken.write_bytes(flip(stream.read_bytes(), places(stream)[3].offset + 9))
    with pytest.raises(CorruptStream):
        verify_stream(broken)


def interrupt(_: StreamStatistics) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_job_leaves_what_was_there(
    clip: Path, stream: Path, model: LoadedModel, tmp_path: Path
) -> None:
    kept = tmp_path / "x.nvid"
    kept.write_bytes(b"kept")
    with open_clip(clip) as reader, pytest.raises(KeyboardInterrupt):
        encode_clip(reader, kept, model=model, control=FixedQuality(32), progress=interrupt)
    for target in ("x.mp4", "x.y4m", "pictures"):
        with pytest.raises(KeyboardInterrupt):
            decode_stream(stream, tmp_path / target, model=model, progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["x.nvid"]
    assert kept.read_bytes() == b"kept"
