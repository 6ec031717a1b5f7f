"""Laws of 16-bit arithmetic: it changes next to nothing, and what is carried stays as exact."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from clips import assert_same, moving_frames, moving_info
from conftest import FAMILIES
from conftest import save_untrained as save_small
from sessions import decode, encode
from test_motion import TINY, save_untrained
from torch import Tensor

from neuvid.choice import FrameChoice, FrameKind
from neuvid.codec.headers import header_of
from neuvid.codec.schedule import Schedule
from neuvid.entropy.coder import SymbolWriter
from neuvid.models.checkpoint import Arithmetic, LoadedModel, load_model, shipped_weights
from neuvid.nn.flow import MotionEstimator
from neuvid.nn.half import HalfLayer, use_16_bits
from neuvid.rate.controller import FixedQuality
from neuvid.video.colour import frame_to_tensor

HALVES = [Arithmetic.FLOAT16, Arithmetic.BFLOAT16]
TRAINED = "rt-small"
INFO = moving_info((64, 48))


@pytest.fixture(scope="module", params=[TRAINED, "motion", *FAMILIES])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint: a trained one, and a tiny one of each family."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    if request.param == TRAINED:
        return shipped_weights(TRAINED) or path
    if request.param == "motion":
        return save_untrained(path, TINY)
    return save_small(path, FAMILIES[request.param], seed=1)


@torch.inference_mode()
def psnr_and_bits(model: LoadedModel) -> tuple[float, float]:
    """Code three frames; return the mean PSNR, and the bits of all."""
    network, state = model.network, model.network.initial_state(48, 64)
    psnr = bits = 0.0
    for number, frame in enumerate(moving_frames(INFO, 3)):
        pixels = frame_to_tensor(frame, INFO.pixel_format)
        choice = FrameChoice(FrameKind.INTER if number else FrameKind.INTRA, 50.0)
        writer = SymbolWriter(model.tables)
        state = network.code_frame(pixels, state, choice, writer)
        carried = [getattr(state, field.name) for field in fields(state)]
        assert {each.dtype for each in carried if isinstance(each, Tensor)} == {torch.float32}
        psnr -= 10 * float((network.render(state) - pixels).square().mean().log10()) / 3
        bits += 8 * len(writer.finish())
    return psnr, bits


@pytest.mark.parametrize("arithmetic", HALVES)
def test_it_changes_next_to_nothing(weights: Path, arithmetic: Arithmetic) -> None:
    half = load_model(weights, arithmetic=arithmetic)
    layers = [each.layer for each in half.network.modules() if isinstance(each, HalfLayer)]
    assert {layer.weight.dtype for layer in layers} == {getattr(torch, arithmetic.value)}
    psnr, bits = psnr_and_bits(half)
    expected = psnr_and_bits(load_model(weights, arithmetic=Arithmetic.FLOAT32))
    assert psnr == pytest.approx(expected[0], abs=0.1)
    assert bits == pytest.approx(expected[1], rel=0.05)


@pytest.mark.parametrize("arithmetic", HALVES)
def test_decoder_shows_what_the_encoder_expects(weights: Path, arithmetic: Arithmetic) -> None:
    model = load_model(weights, arithmetic=arithmetic)
    schedule = Schedule(scene_cuts=False, refresh_period=2)
    packets, expected = encode(model, INFO, moving_frames(INFO, 3), FixedQuality(50), schedule)
    assert header_of(model, INFO).arithmetic == arithmetic.value
    assert_same(decode(model, INFO, packets), expected)


@torch.no_grad()
@pytest.mark.parametrize("arithmetic", HALVES)
def test_a_large_motion_keeps_its_fractions(arithmetic: Arithmetic) -> None:
    """Neither type of 16 bits holds 1600.0625 pixels: levels are added in float32."""
    estimator = MotionEstimator()
    for parameter in estimator.parameters():
        parameter.zero_()
    weights = estimator.state_dict()
    weights["levels.0.8.bias"].copy_(torch.tensor([200.0, 0.0]))  # at 1/8
    weights["levels.3.8.bias"].copy_(torch.tensor([0.0625, 0.0]))
    use_16_bits(estimator, getattr(torch, arithmetic.value))
    motion = estimator(torch.rand(1, 3, 32, 48), torch.rand(1, 3, 32, 48))
    right, down = motion.unbind(1)
    assert (right == 1600.0625).all() and (down == 0).all()
