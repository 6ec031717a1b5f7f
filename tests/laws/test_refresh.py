"""Laws of adaptive refresh: it is tried at some frames, and taken where it is cheaper."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from clips import assert_same, moving_clip, moving_frames, moving_info
from conftest import TINY_HYBRID, save_untrained
from torch import Tensor

from neuvid.bitstream.packet import Packet
from neuvid.choice import FrameChoice, FrameKind
from neuvid.cli.main import main
from neuvid.codec.decoder import Decoder, header_of
from neuvid.codec.encoder import INHERITANCE, Encoder
from neuvid.codec.schedule import AUTO, LEVEL_PATTERN, Schedule, read_refresh_period
from neuvid.entropy.coder import SymbolWriter
from neuvid.errors import InvalidSetting
from neuvid.lagrangian import PLANE_WEIGHTS
from neuvid.models.checkpoint import LoadedModel, load_model
from neuvid.rate.controller import FixedQuality
from neuvid.video.colour import frame_to_tensor, tensor_to_frame
from neuvid.video.frame import Frame

INFO = moving_info((96, 64))
ADAPTIVE = Schedule(scene_cuts=False, refresh_period=AUTO)
QUALITY = 40.0
COUNT, TRIED = 20, [9, 17]  # frames of a clip, and those of them that may refresh


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("weights")
    return load_model(save_untrained(folder / "tiny.safetensors", TINY_HYBRID, seed=1))


def cost(model: LoadedModel, frame: Tensor, state: Any, *, refresh: bool) -> float:
    """Return what a tried frame costs: bits per pixel and the weighted errors that it leaves."""
    writer = SymbolWriter(model.tables)
    choice = FrameChoice(FrameKind.INTER, QUALITY, LEVEL_PATTERN[1], refresh=refresh)
    after = model.network.code_frame(frame, state, choice, writer)
    errors = (model.network.render(after) - frame).square().mean((0, 2, 3))
    weighted = 3 * float((errors * torch.tensor(PLANE_WEIGHTS)).sum())
    value = INHERITANCE * float(model.network.inter_lambdas.at(torch.tensor(QUALITY)))
    return 8 * len(writer.finish()) / frame[0, 0].numel() + value * weighted


@torch.inference_mode()
@pytest.mark.parametrize("noise", [0.0, 10.0])
def test_it_is_taken_where_it_is_cheaper(hybrid: LoadedModel, noise: float) -> None:
    """Noise in the carried feature makes a refresh the cheaper one."""
    torch.manual_seed(0)
    packets: list[Packet] = []
    cheaper = []
    with Encoder(hybrid, INFO, control=FixedQuality(QUALITY), schedule=ADAPTIVE) as encoder:
        for number, frame in enumerate(moving_frames(INFO, COUNT)):
            state: Any = encoder.state
            if number in TRIED:
                feature = state.feature + noise * torch.randn(state.feature.shape)
                encoder.state = state = replace(state, feature=feature)
                pixels = frame_to_tensor(frame, INFO.pixel_format)
                kept, refreshed = (
                    cost(hybrid, pixels, state, refresh=refresh) for refresh in (False, True)
                )
                if refreshed < kept:
                    cheaper.append(number)
            packets += encoder.encode(frame)
        packets += encoder.flush()
    assert [packet.number for packet in packets if packet.choice.refresh] == cheaper
    assert cheaper or not noise


def test_decoders_need_nothing_for_it(model: LoadedModel) -> None:
    packets: list[Packet] = []
    expected: list[Frame] = []
    control = FixedQuality(QUALITY)
    with Encoder(model, INFO, control=control, schedule=ADAPTIVE) as encoder:
        for frame in moving_frames(INFO, COUNT):
            packets += encoder.encode(frame)
            with torch.inference_mode():
                picture = model.network.render(encoder.state)
            expected.append(tensor_to_frame(picture, INFO.size, INFO.pixel_format, frame.pts))
        packets += encoder.flush()
    with Decoder(model, header_of(model, INFO)) as decoder:
        shown = list(chain(*map(decoder.decode, packets), decoder.flush()))
    assert_same(shown, expected)


def test_only_some_frames_are_tried() -> None:
    """Frames after an intra frame have nothing to restart, and counting begins anew."""
    schedule = Schedule(8, refresh_period=AUTO)
    plans = [schedule.plan(number, 0, 32) for number in range(COUNT)]
    assert not any(plan.refresh or schedule.may_refresh(plan) for plan in plans)
    plans = [ADAPTIVE.plan(number, 0, 32) for number in range(COUNT)]
    assert [n for n, plan in enumerate(plans) if ADAPTIVE.may_refresh(plan)] == TRIED


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
