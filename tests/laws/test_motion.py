"""Laws of the motion family at the paper's scale."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import assert_same, moving_clip, moving_frames, moving_info
from sessions import QUALITY, decode, encode
from torch import Tensor

from neuvid.choice import FrameChoice, FrameKind
from neuvid.cli.main import main
from neuvid.codec.decoder import Decoder
from neuvid.codec.headers import header_of
from neuvid.codec.schedule import Schedule
from neuvid.entropy.coder import LatentCoder, RateEstimator, SymbolReader, SymbolWriter
from neuvid.entropy.distributions import LAW_ROWS
from neuvid.errors import CorruptStream, Desynchronised, InvalidSetting
from neuvid.models.checkpoint import Arithmetic, LoadedModel, load_model, save_model
from neuvid.models.complexity import measure_complexity
from neuvid.models.fm import MotionConfig, MotionModel, MotionState
from neuvid.models.motion_contexts import ScaleRange
from neuvid.models.picture import PictureConfig
from neuvid.models.presets import FM
from neuvid.rate.controller import FixedQuality
from neuvid.training.chains import Chain
from neuvid.training.losses import Objective

TINY = MotionConfig(
    intra=PictureConfig(
        trunk_channels=(8, 8, 16), latent_channels=16, hyper_channels=4, refine_channels=4
    ),
    feature_channels=(12, 12, 16),
    latent_channels=16,
    motion_channels=8,
    hyper_channels=4,
    detail_channels=8,
)


def save_untrained(path: Path, config: MotionConfig) -> Path:
    """Write a checkpoint of random weights whose latents are not all 0."""
    torch.manual_seed(5)
    network = MotionModel(config)
    weights = network.state_dict()
    for layer in (
        "intra.encoder.4",
        "estimator.levels.3.8",
        "motion_transform.encoder.2",
        "transform.encoder.2",
    ):
        weights[f"{layer}.weight"].mul_(20.0)
    for transform in ("motion_transform", "transform"):
        weights[f"{transform}.encoder_scale.logarithms"].copy_(torch.tensor([0.0, 2.0]))
    save_model(path, "tiny", network, {})
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("motion") / "tiny.safetensors", TINY)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> LoadedModel:
    return load_model(checkpoint)


def tensors(state: MotionState) -> list[Tensor]:
    values = (getattr(state, field.name) for field in fields(state))
    return [value for value in values if isinstance(value, Tensor)]


def network_of(model: LoadedModel) -> MotionModel:
    assert isinstance(model.network, MotionModel)
    return model.network


def test_the_preset_is_as_large_as_the_paper_says() -> None:
    complexity = measure_complexity(FM)
    assert complexity.image_parameters == 26_587_561
    assert complexity.video_parameters == 18_336_187
    assert sum(complexity.intra.values()) == pytest.approx(521.3, rel=0.001)
    assert sum(complexity.inter[0].values()) == pytest.approx(1128.62, rel=0.001)


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (17, 33), (2, 63)], ids=str)
def test_decoder_shows_what_the_encoder_expects(model: LoadedModel, size: tuple[int, int]) -> None:
    info = moving_info(size)
    schedule = Schedule(scene_cuts=False, refresh_period=3)
    packets, expected = encode(model, info, moving_frames(info, 6), QUALITY, schedule)
    assert [packet.choice.refresh for packet in packets] == [number == 4 for number in range(6)]
    assert_same(decode(model, info, packets), expected)
    if size == (64, 48):
        assert min(len(packet.payload) for packet in packets) > 50


@pytest.mark.parametrize("quality", [0, 21.25, 63])
def test_all_qualities_decode(model: LoadedModel, quality: float) -> None:
    info = moving_info((32, 32))
    control, schedule = FixedQuality(quality), Schedule(scene_cuts=False)
    packets, expected = encode(model, info, moving_frames(info, 3), control, schedule)
    assert {packet.choice.quality for packet in packets} == {quality}
    assert_same(decode(model, info, packets), expected)


def test_no_payload_is_too_strange(model: LoadedModel) -> None:
    info = moving_info((17, 33))
    schedule = Schedule(scene_cuts=False)
    packets, _ = encode(model, info, moving_frames(info, 3), QUALITY, schedule)
    generator = np.random.default_rng(1)
    for size in range(0, 400, 20):
        payload = generator.integers(0, 256, size, np.uint8).tobytes()
        with Decoder(model, header_of(model, info)) as decoder:
            decoder.decode(packets[0])
            try:
                decoder.decode(replace(packets[1], payload=payload))
            except (CorruptStream, Desynchronised):
                continue
            decoder.decode(packets[2])


def coded_twice(model: LoadedModel) -> tuple[list[Tensor], MotionState]:
    """Return three frames, and the state after the first two."""
    torch.manual_seed(0)
    frames = [torch.rand(1, 3, 32, 48) for _ in range(3)]
    network, state = network_of(model), model.network.initial_state(32, 48)
    with torch.no_grad():
        for frame, kind in zip(frames, (FrameKind.INTRA, FrameKind.INTER), strict=False):
            state = network.code_frame(frame, state, FrameChoice(kind), SymbolWriter(model.tables))
    assert isinstance(state, MotionState)
    return frames, state


@torch.no_grad()
def test_reading_needs_no_motion_estimation(model: LoadedModel) -> None:
    frames, state = coded_twice(model)
    writer = SymbolWriter(model.tables)
    choice = FrameChoice(FrameKind.INTER, 40.5, level=2)
    written = network_of(model).code_frame(frames[2], state, choice, writer)
    without = copy.deepcopy(network_of(model))
    for parameter in without.estimator.parameters():
        parameter.fill_(float("nan"))
    reader = SymbolReader(model.tables, writer.finish(), parallel=writer.streams > 0)
    read = without.code_frame(None, state, choice, reader)
    reader.finish()
    for one, other in zip(tensors(written), tensors(read), strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
def test_a_refresh_drops_the_feature_and_nothing_else(model: LoadedModel) -> None:
    frames, state = coded_twice(model)

    def picture(state: MotionState, *, refresh: bool) -> Tensor:
        choice = FrameChoice(FrameKind.INTER, refresh=refresh)
        coder = RateEstimator(noise=False)
        network = network_of(model)
        return network.render(network.code_frame(frames[2], state, choice, coder))

    assert state.feature is not None and state.latent is not None
    other = replace(state, feature=state.feature + 1)
    assert torch.equal(picture(state, refresh=True), picture(other, refresh=True))
    assert not torch.equal(picture(state, refresh=False), picture(other, refresh=False))
    assert not torch.equal(picture(state, refresh=False), picture(state, refresh=True))
    for field in ("motion_feature", "motion_latent", "latent", "picture"):
        changed = replace(state, **{field: getattr(state, field) + 0.5})
        assert not torch.equal(picture(state, refresh=True), picture(changed, refresh=True))


@torch.no_grad()
def test_levels_have_adaptors_of_their_own(model: LoadedModel) -> None:
    frames, state = coded_twice(model)
    pictures = []
    for level in range(3):
        choice = FrameChoice(FrameKind.INTER, level=level)
        coder = RateEstimator(noise=False)
        after = network_of(model).code_frame(frames[2], state, choice, coder)
        pictures.append(model.network.render(after))
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[1], pictures[2])


@torch.no_grad()
def test_an_intra_frame_forgets_all(model: LoadedModel) -> None:
    frames, state = coded_twice(model)
    choice = FrameChoice(FrameKind.INTRA)
    after = network_of(model).code_frame(frames[2], state, choice, RateEstimator(noise=False))
    fresh = network_of(model).code_frame(
        frames[2], model.network.initial_state(32, 48), choice, RateEstimator(noise=False)
    )
    assert len(tensors(after)) == 1
    assert torch.equal(model.network.render(after), model.network.render(fresh))


def test_scales_are_even_in_logarithms() -> None:
    scale = ScaleRange()
    low, high = 0.3, 7.0
    with torch.no_grad():
        scale.logarithms.copy_(torch.tensor([low, high]).log())
    qualities = (0.0, 21.25, 63.0)
    factors = scale(torch.tensor(qualities))
    assert factors.shape == (3, 1, 1, 1)
    for factor, quality in zip(factors.flatten().tolist(), qualities, strict=True):
        expected = math.exp(math.log(low) + quality / 63 * (math.log(high) - math.log(low)))
        assert factor == pytest.approx(expected, rel=1e-5)


def test_samples_of_a_batch_have_their_own_quality(model: LoadedModel) -> None:
    network = network_of(model)
    frames, _ = coded_twice(model)
    qualities = (3.5, 60.0)

    def chain(batch: Tensor, quality: float | tuple[float, ...]) -> tuple[Tensor, Tensor]:
        state, coder = network.initial_state(32, 48, len(batch)), RateEstimator(noise=False)
        for kind in (FrameKind.INTRA, FrameKind.INTER, FrameKind.INTER):
            state = network.code_frame(batch, state, FrameChoice(kind, quality), coder)
        return network.render(state), coder.total()

    with torch.no_grad():
        pictures, bits = chain(torch.cat(frames[:2]), qualities)
        for sample, quality in enumerate(qualities):
            picture, alone = chain(frames[sample], quality)
            assert torch.allclose(pictures[sample], picture[0], atol=1e-3)
            assert float(bits[sample]) == pytest.approx(float(alone[0]), rel=1e-3)


def test_training_reaches_every_weight(checkpoint: Path) -> None:
    network = copy.deepcopy(network_of(load_model(checkpoint))).train().requires_grad_(True)
    frame, loss = torch.rand(1, 3, 32, 32), torch.zeros(())
    state = network.initial_state(32, 32)
    for level, refresh in ((0, False), (0, False), (0, False), (1, False), (2, False), (0, True)):
        kind = FrameKind.INTER if state.picture is not None else FrameKind.INTRA
        coder = RateEstimator(noise=True)
        choice = FrameChoice(kind, 31.5, level=level, refresh=refresh)
        state = network.code_frame(frame, state, choice, coder)
        loss = loss + coder.total().sum() + 1000 * (network.render(state) - frame).square().sum()
    torch.autograd.backward(loss)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


class Observed(MotionModel):
    """Remembers whether frames were refreshed."""

    refresh_period = 2

    def __init__(self, config: MotionConfig) -> None:
        super().__init__(config)
        self.refreshed: list[bool] = []

    def code_frame(
        self, frame: Tensor | None, state: MotionState, choice: FrameChoice, coder: LatentCoder
    ) -> MotionState:
        self.refreshed.append(choice.refresh)
        return super().code_frame(frame, state, choice, coder)


@pytest.mark.parametrize(("period", "refreshed"), [(None, [3, 5]), (3, [4]), (0, [])])
def test_chains_are_refreshed_in_training_as_in_a_stream(
    period: int | None, refreshed: list[int]
) -> None:
    network = Observed(TINY)
    chain = Chain(
        frames=torch.rand(1, 6, 3, 16, 16),
        quality=(30.0,),
        objective=Objective(rgb_share=0.2),
        noise=True,
        schedule=Schedule(refresh_period=period),
    )
    losses, _ = chain.code(network, chain.start(network), range(1, 6))
    assert [number for number, restarts in enumerate(network.refreshed) if restarts] == refreshed
    assert losses.loss.isfinite().all()


def test_the_family_has_no_integer_arithmetic(checkpoint: Path, model: LoadedModel) -> None:
    assert model.arithmetic is Arithmetic.FLOAT32
    with pytest.raises(InvalidSetting, match="arithmetic is 'integer'; allowed is float32"):
        load_model(checkpoint, arithmetic=Arithmetic.INTEGER)


def test_a_checkpoint_keeps_config_and_tables(checkpoint: Path, model: LoadedModel) -> None:
    assert network_of(model).config == TINY
    first_prior, *others = network_of(model).factorised_priors()
    assert first_prior.first_row == LAW_ROWS
    for prior in others:
        assert prior.first_row == first_prior.first_row + first_prior.row_count
        first_prior = prior


def test_streams_of_the_preset_through_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = moving_clip(tmp_path / "in.mp4", frames=3)
    weights = save_untrained(tmp_path / "fm.safetensors", FM)
    stream, out = tmp_path / "x.nvid", tmp_path / "out.y4m"
    assert main(["encode", str(clip), str(stream), "--model", str(weights), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 3
    assert main(["decode", str(stream), str(out), "--model", str(weights), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written_frames"] == 3
    arguments = ["--model", str(weights), "--arithmetic", "integer"]
    assert main(["encode", str(clip), str(tmp_path / "y.nvid"), *arguments]) == 2
    assert "arithmetic is 'integer'; allowed is float32" in capsys.readouterr().err
