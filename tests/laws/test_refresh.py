"""Laws of adaptive refresh: it is tried at some frames, and taken where it pays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from clips import assert_same, moving_clip, moving_frames, moving_info
from conftest import TINY_HYBRID, save_untrained
from sessions import decode, encode, packet_sizes
from torch import Tensor

from neuvid.bitstream.packet import Packet
from neuvid.choice import FrameChoice, FrameKind
from neuvid.cli.main import main
from neuvid.codec.encoder import PACKETS_UNKNOWN, REFRESH_WORTH, Encoder
from neuvid.codec.headers import header_of
from neuvid.codec.schedule import AUTO, LEVEL_PATTERN, Schedule, read_refresh_period
from neuvid.entropy.coder import SymbolWriter
from neuvid.errors import InvalidSetting
from neuvid.models.base import State
from neuvid.models.checkpoint import LoadedModel, load_model
from neuvid.rate.controller import FixedQuality
from neuvid.video.colour import frame_to_tensor

INFO = moving_info((96, 64))
ADAPTIVE = Schedule(scene_cuts=False, refresh_period=AUTO)
QUALITY = 40.0
COUNT, TRIED = 20, [9, 17]  # frames of a clip, and those of them that may refresh


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("weights")
    return load_model(save_untrained(folder / "tiny.safetensors", TINY_HYBRID, seed=1))


def tried_bits(model: LoadedModel, frame: Tensor, state: State, choice: FrameChoice) -> int:
    """Return the bits of a tried frame."""
    writer = SymbolWriter(model.tables)
    model.network.code_frame(frame, state, choice, writer)
    return 8 * len(writer.finish())


def spent(packets: list[Packet], number: int, model: LoadedModel) -> float:
    """Return the bits of frames since the last restart that are known before a frame."""
    known = packets[: number - PACKETS_UNKNOWN]
    starts = [
        packet.number
        for packet in known
        if packet.choice.refresh or packet.choice.kind is FrameKind.INTRA
    ]
    sizes = packet_sizes(known, header_of(model, INFO))
    return 8.0 * sum(sizes[starts[-1] + 1 :])


@torch.inference_mode()
@pytest.mark.parametrize(("quality", "always"), [(20.0, False), (62.0, True)])
def test_it_is_taken_where_it_pays(hybrid: LoadedModel, quality: float, always: bool) -> None:
    """Near the highest quality a refresh adds least."""
    packets: list[Packet] = []
    added: dict[int, int] = {}
    with Encoder(hybrid, INFO, control=FixedQuality(quality), schedule=ADAPTIVE) as encoder:
        for number, frame in enumerate(moving_frames(INFO, COUNT)):
            if number in TRIED:
                pixels = frame_to_tensor(frame, INFO.pixel_format)
                choice = FrameChoice(FrameKind.INTER, quality, LEVEL_PATTERN[1])
                kept, refreshed = (
                    tried_bits(hybrid, pixels, encoder.state, replace(choice, refresh=refresh))
                    for refresh in (False, True)
                )
                added[number] = refreshed - kept
            packets += encoder.encode(frame)
        packets += encoder.flush()
    period = hybrid.network.refresh_period
    pays = [n for n in TRIED if spent(packets, n, hybrid) >= REFRESH_WORTH * added[n]]
    planned = [n for n in TRIED if (n - 1) % period == 0]
    assert [packet.number for packet in packets if packet.choice.refresh] == sorted(
        {*pays, *planned}
    )
    assert (pays == TRIED) == always


def test_decoders_need_nothing_for_it(model: LoadedModel) -> None:
    frames = moving_frames(INFO, COUNT)
    packets, expected = encode(model, INFO, frames, FixedQuality(QUALITY), ADAPTIVE)
    assert_same(decode(model, INFO, packets), expected)


def test_only_some_frames_are_tried() -> None:
    """Frames after an intra frame have nothing to restart, and counting begins anew."""
    schedule = Schedule(8, refresh_period=AUTO)
    plans = [schedule.plan(number, 0, 32) for number in range(COUNT)]
    assert not any(plan.refresh or schedule.may_refresh(plan) for plan in plans)
    for family_period, planned in ((0, []), (32, []), (16, [17])):
        plans = [ADAPTIVE.plan(number, 0, family_period) for number in range(COUNT)]
        assert [n for n, plan in enumerate(plans) if plan.refresh] == planned
        tried = [n for n, plan in enumerate(plans) if ADAPTIVE.may_refresh(plan)]
        assert sorted(tried + planned) == TRIED


def refreshes(stream: Path, capsys: pytest.CaptureFixture[str]) -> list[bool]:
    """Return what `neuvid info` tells of each frame."""
    capsys.readouterr()
    assert main(["info", str(stream), "--packets", "--json"]) == 0
    return [packet["refresh"] for packet in json.loads(capsys.readouterr().out)["packets"]]


def test_the_command_line_asks_for_it(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, stream = moving_clip(tmp_path / "in.mp4", frames=10), tmp_path / "x.nvid"
    arguments = ["encode", str(clip), str(stream), "--model", str(checkpoint), "--refresh"]
    assert main([*arguments, "1"]) == 0
    assert refreshes(stream, capsys) == [number > 1 for number in range(10)]
    assert main([*arguments, AUTO]) == 0
    assert not any(refreshes(stream, capsys)[:9])
    assert main(["verify", str(stream), "--model", str(checkpoint)]) == 0
    assert main([*arguments, "often"]) == 2
    assert "refresh period is 'often'; allowed is 0 and more, or auto" in capsys.readouterr().err


def test_refresh_periods_are_read() -> None:
    assert [read_refresh_period(text) for text in ("0", "32", "auto")] == [0, 32, AUTO]
    for text in ("", "1.5", "Auto"):
        with pytest.raises(InvalidSetting, match="refresh period"):
            read_refresh_period(text)
