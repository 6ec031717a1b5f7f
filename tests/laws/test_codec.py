"""Laws of the sessions: what is decoded is what was encoded, and choices mean what they say."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from clips import assert_same, moving_frames, moving_info
from sessions import QUALITY, decode, encode

from neuvid.bitstream.container import PacketWriter
from neuvid.bitstream.packet import Packet
from neuvid.choice import ROUTES, FrameChoice, FrameKind
from neuvid.codec.decoder import Decoder
from neuvid.codec.encoder import PACKETS_IN_WORK, Encoder
from neuvid.codec.headers import header_of
from neuvid.codec.schedule import LEVEL_PATTERN, Schedule
from neuvid.errors import CorruptStream, Desynchronised, InvalidSetting, ModelMismatch
from neuvid.models.checkpoint import Arithmetic, LoadedModel, load_model
from neuvid.rate.controller import FixedQuality, FrameStats, FrameView
from neuvid.video.colour import frame_to_tensor
from neuvid.video.frame import ClipInfo, Frame, PixelFormat

SIZES = [(64, 48), (1, 1), (17, 33), (2, 63)]


@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_decoder_shows_what_the_encoder_expects(
    checkpoint: Path, size: tuple[int, int], pixel_format: PixelFormat, arithmetic: Arithmetic
) -> None:
    model = load_model(checkpoint, arithmetic=arithmetic)
    info = replace(moving_info(size, pixel_format=pixel_format), start=-7)
    packets, expected = encode(model, info, moving_frames(info, 5))
    assert_same(decode(model, info, packets), expected)


def test_quality_buys_fidelity_with_bits(model: LoadedModel) -> None:
    info = moving_info()
    frames = list(moving_frames(info, 4))
    sizes, errors = [], []
    for quality in (0, 21.25, 42.5, 63):
        packets, pictures = encode(model, info, frames, FixedQuality(quality))
        assert {packet.choice.quality for packet in packets} == {quality}
        assert_same(decode(model, info, packets), pictures)
        sizes.append(sum(len(packet.payload) for packet in packets))
        pairs = zip(pictures, frames, strict=True)
        errors.append(
            np.mean([np.square(a.planes[0] - b.planes[0].astype(float)).mean() for a, b in pairs])
        )
    assert sizes == sorted(sizes) and len(set(sizes)) == 4
    assert errors == sorted(errors, reverse=True)


class Trying:
    """Fixed quality, but each frame is tried at some qualities first."""

    def __init__(self) -> None:
        self.foretold: list[float] = []
        self.sizes: list[float] = []

    def choose(self, view: FrameView) -> FrameChoice:
        view.trial(FrameChoice(FrameKind.INTRA, 10.0))
        view.trial(view.plan.choice(50.0))
        choice = QUALITY.choose(view)
        self.foretold.append(view.trial(choice).bits)
        return choice

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        self.sizes.append(stats.bits)


def noisy(frame: Frame) -> Frame:
    generator = np.random.default_rng(frame.pts)
    planes = (plane + generator.normal(0, 6, plane.shape) for plane in frame.planes)
    return Frame(tuple(plane.clip(0, 255).astype(np.uint8) for plane in planes), frame.pts)


def test_trials_foretell_the_size_and_leave_no_trace(model: LoadedModel) -> None:
    info = moving_info((176, 144))
    frames = [noisy(frame) for frame in moving_frames(info, 9)]
    trying = Trying()
    packets, pictures = encode(model, info, frames, trying)
    untried, expected = encode(model, info, frames)
    assert packets == untried
    assert_same(pictures, expected)
    assert trying.sizes == trying.foretold


def test_sizes_are_those_of_the_stream(model: LoadedModel) -> None:
    info = moving_info()
    trying = Trying()
    packets, _ = encode(model, info, moving_frames(info, 12), trying, Schedule(5))
    file = BytesIO()
    writer = PacketWriter(file, header_of(model, info))
    for packet, bits in zip(packets, trying.sizes, strict=True):
        before = writer.bytes_written
        writer.write(packet)
        spare = bits / 8 - (writer.bytes_written - before)
        assert 0 <= spare <= 3 if packet.choice.kind is FrameKind.INTRA else spare == 0


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_trials_measure_what_a_viewer_sees(model: LoadedModel, pixel_format: PixelFormat) -> None:
    info = moving_info((50, 38), pixel_format=pixel_format)
    frames = [noisy(frame) for frame in moving_frames(info, 3)]
    measured: list[float] = []

    class Measuring(FixedQuality):
        def choose(self, view: FrameView) -> FrameChoice:
            choice = super().choose(view)
            measured.append(view.trial(choice).psnr())
            return choice

    _, pictures = encode(model, info, frames, Measuring(32))
    for psnr, frame, picture in zip(measured, frames, pictures, strict=True):
        assert psnr == pytest.approx(weighted_psnr(frame, picture, info), abs=0.001)


def weighted_psnr(frame: Frame, picture: Frame, info: ClipInfo) -> float:
    one, other = (
        frame_to_tensor(side, info.pixel_format)[0, :, : info.size.height, : info.size.width]
        for side in (frame, picture)
    )
    y, u, v = (-10 * np.log10(np.square((one - other).numpy()).mean((1, 2)))).tolist()
    return float(6 * y + u + v) / 8


def test_intra_frames_come_at_their_period_and_levels_restart(model: LoadedModel) -> None:
    info = moving_info()
    packets, _ = encode(model, info, moving_frames(info, 12), schedule=Schedule(5))
    intra = [packet.number for packet in packets if packet.choice.kind is FrameKind.INTRA]
    assert intra == [0, 5, 10]
    levels = [packet.choice.level for packet in packets]
    assert levels == [*LEVEL_PATTERN[:5], *LEVEL_PATTERN[:5], *LEVEL_PATTERN[:2]]


@pytest.mark.parametrize(
    ("period", "expected"),
    [(None, []), (0, []), (1, [2, 3, 4, 7, 8, 9]), (2, [3, 8]), (3, [4, 9]), (5, [])],
)
def test_features_restart_at_their_period(
    model: LoadedModel, period: int | None, expected: list[int]
) -> None:
    """Counted from the frame after an intra frame, which has no features to restart."""
    info = moving_info()
    schedule = Schedule(5, scene_cuts=False, refresh_period=period)
    packets, pictures = encode(model, info, moving_frames(info, 10), schedule=schedule)
    assert [packet.number for packet in packets if packet.choice.refresh] == expected
    assert_same(decode(model, info, packets), pictures)


@pytest.mark.parametrize(("scene_cuts", "expected"), [(True, [0, 4]), (False, [0])])
def test_cuts_become_intra_frames(
    model: LoadedModel, scene_cuts: bool, expected: list[int]
) -> None:
    info = moving_info((96, 64))
    frames = list(moving_frames(info, 8))
    for number in range(4, 8):
        planes = tuple(np.ascontiguousarray(255 - plane.T) for plane in frames[number].planes)
        turned = tuple(
            np.resize(plane, twin.shape)
            for plane, twin in zip(planes, frames[0].planes, strict=True)
        )
        frames[number] = Frame(turned, frames[number].pts)
    packets, pictures = encode(model, info, frames, schedule=Schedule(scene_cuts=scene_cuts))
    intra = [packet.number for packet in packets if packet.choice.kind is FrameKind.INTRA]
    assert intra == expected
    assert_same(decode(model, info, packets), pictures)


def test_what_is_in_work_is_bounded(model: LoadedModel) -> None:
    info = moving_info()
    packets: list[Packet] = []
    with Encoder(model, info, control=QUALITY, schedule=Schedule()) as encoder:
        for number, frame in enumerate(moving_frames(info, 8), 1):
            packets += encoder.encode(frame)
            assert number - PACKETS_IN_WORK <= len(packets) <= number
    with Decoder(model, header_of(model, info)) as decoder:
        shown = [len(decoder.decode(packet)) for packet in packets]
    assert all(sum(shown[:number]) >= number - 1 for number in range(len(shown)))


def test_decoding_can_begin_at_every_intra_frame_and_only_there(model: LoadedModel) -> None:
    info = moving_info()
    packets, expected = encode(model, info, moving_frames(info, 9), schedule=Schedule(4))
    for number, packet in enumerate(packets):
        if packet.choice.kind is FrameKind.INTRA:
            assert_same(decode(model, info, packets[number:]), expected[number:])
        else:
            with pytest.raises(Desynchronised, match="intra"):
                decode(model, info, packets[number:])


def test_other_weights_and_arithmetic_are_refused(
    model: LoadedModel, checkpoint: Path, other_checkpoint: Path
) -> None:
    header = header_of(model, moving_info())
    with pytest.raises(ModelMismatch, match="another checkpoint"):
        Decoder(load_model(other_checkpoint), header)
    with pytest.raises(ModelMismatch, match="integer arithmetic"):
        Decoder(load_model(checkpoint, arithmetic=Arithmetic.FLOAT32), header)


def test_a_header_alone_claims_no_memory(model: LoadedModel) -> None:
    header = replace(header_of(model, moving_info()), width=65535, height=65535)
    with pytest.raises(InvalidSetting, match="65535x65535"):
        Decoder(model, header)
    with Decoder(model, replace(header, width=8192, height=4320)) as decoder:
        packet = Packet(FrameChoice(FrameKind.INTRA), bytes(100), False, 0, 0)
        with pytest.raises((CorruptStream, Desynchronised), match="frame 0"):
            decoder.decode(packet)


def damaged(packet: Packet, seed: int) -> Packet:
    generator = np.random.default_rng(seed)
    payload = bytearray(packet.payload)
    payload[generator.integers(len(payload))] ^= 1 << generator.integers(8)
    return replace(packet, payload=bytes(payload))


def test_payloads_that_no_encoder_wrote_are_noticed(model: LoadedModel) -> None:
    info = moving_info()
    packets, expected = encode(model, info, moving_frames(info, 3))
    for number, packet in enumerate(packets):
        longer = replace(packet, payload=packet.payload + b"\0\0")
        for wrong in [longer, *(damaged(packet, seed) for seed in range(12))]:
            with Decoder(model, header_of(model, info)) as decoder:
                shown = list(chain(*map(decoder.decode, packets[:number])))
                with pytest.raises((CorruptStream, Desynchronised), match=f"frame {number}"):
                    decoder.decode(wrong)
                assert_same(shown + decoder.flush(), expected[:number])
                if number < 2:
                    with pytest.raises(Desynchronised, match="intra"):
                        decoder.decode(packets[number + 1])


def test_no_payload_is_too_strange(model: LoadedModel) -> None:
    info = moving_info((17, 33))
    packets, _ = encode(model, info, moving_frames(info, 2))
    generator = np.random.default_rng(1)
    for size in range(40):
        for parallel in (False, True):
            payload = generator.integers(0, 256, size, np.uint8).tobytes()
            strange = [replace(p, payload=payload, parallel=parallel) for p in packets]
            with Decoder(model, header_of(model, info)) as decoder:
                try:
                    frames = list(chain(*map(decoder.decode, strange), decoder.flush()))
                except (CorruptStream, Desynchronised):
                    continue
            assert [frame.planes[0].shape for frame in frames] == [(33, 17)] * 2


def test_choices_that_the_model_lacks_are_noticed(model: LoadedModel) -> None:
    info = moving_info()
    packets, _ = encode(model, info, moving_frames(info, 2))
    wrong = replace(packets[1], choice=replace(packets[1].choice, level=3))
    with pytest.raises(CorruptStream, match="level 3"):
        decode(model, info, [packets[0], wrong])


@pytest.mark.parametrize("quality", [-1, 63.25, float("nan"), float("inf")])
def test_qualities_are_bounded(quality: float) -> None:
    with pytest.raises(InvalidSetting, match="quality"):
        FixedQuality(quality)


@pytest.mark.parametrize("period", [0, -2])
def test_intra_periods_are_bounded(period: int) -> None:
    with pytest.raises(InvalidSetting, match="intra period"):
        Schedule(period)


def test_routes_are_bounded(model: LoadedModel) -> None:
    with pytest.raises(InvalidSetting, match="route is 4"):
        FixedQuality(32, route=4)
    routes, info = model.network.routes, moving_info()
    if routes < ROUTES:
        with pytest.raises(
            InvalidSetting, match=rf"route is {routes}; allowed is 0\.\.{routes - 1}"
        ):
            encode(model, info, moving_frames(info, 2), FixedQuality(32, route=routes))


def test_refresh_periods_are_bounded() -> None:
    with pytest.raises(InvalidSetting, match="refresh period"):
        Schedule(refresh_period=-1)
