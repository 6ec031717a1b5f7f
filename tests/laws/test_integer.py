"""Laws of integer arithmetic: one result, whatever computes it."""

from __future__ import annotations

import copy
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import moving_clip, moving_frames, moving_info
from torch import Tensor, nn

from neuvid import _integer
from neuvid.bitstream.packet import Packet
from neuvid.choice import FrameChoice, FrameKind
from neuvid.codec.clips import encode_clip
from neuvid.codec.decoder import Decoder
from neuvid.codec.encoder import Encoder
from neuvid.codec.headers import header_of
from neuvid.codec.schedule import Schedule
from neuvid.codec.streams import decode_stream
from neuvid.entropy.coder import RateEstimator
from neuvid.errors import ModelMismatch, UnreadableInput
from neuvid.models.checkpoint import Arithmetic, LoadedModel, load_model, save_model
from neuvid.models.presets import RT_SMALL, build_model
from neuvid.models.rt import ImplicitModel
from neuvid.nn import exact, integer
from neuvid.nn.blocks import DepthConvBlock
from neuvid.nn.exact import IntegerMatrix
from neuvid.rate.controller import FixedQuality
from neuvid.training.initialisation import initialise
from neuvid.video.clip import open_clip
from neuvid.video.frame import Frame

LEVELS = _integer.levels()
THREADS = (1, 2, 3)
FRAMES = 3


def random_maps(seed: int, shape: tuple[int, int, int, int]) -> Tensor:
    """Maps [B, H, W, C] of all magnitudes, with zeros, tiny and enormous values."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=shape) * 10.0 ** generator.uniform(-4, 4, (*shape[:3], 1))
    values *= generator.choice([1, 1, 1, 0], shape)
    values[0, 0, 0] *= 1e-30
    values.flat[generator.integers(values.size)] = 1e30
    return torch.from_numpy(values.astype(np.float32))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def each_way(operation: integer.Operation, maps: Tensor) -> list[Tensor]:
    results = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        results.append(operation(maps))
    return results


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("shape", "channels", "shortcut"),
    [
        ((1, 1, 1, 4), 4, False),
        ((2, 5, 3, 16), 16, True),
        ((1, 9, 12, 7), 21, False),
        ((1, 11, 10, 70), 24, True),
        ((1, 2, 3, 300), 130, False),
    ],
)
@torch.inference_mode()
def test_native_blocks_equal_their_definition(
    shape: tuple[int, int, int, int], channels: int, shortcut: bool, level: str
) -> None:
    torch.manual_seed(channels)
    block = integer.block_of(DepthConvBlock(shape[3], channels, shortcut=shortcut))
    maps = random_maps(channels, shape)
    expected = block.apply(maps)
    assert expected.isfinite().all()
    for result in each_way(integer.native_block(block, level), maps):
        assert torch.equal(result, expected)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "stride", "padding"),
    [(130, 70, 1, 1, 0), (11, 33, 2, 2, 0), (5, 16, 3, 1, 1), (100, 9, 3, 2, 1), (3, 2, 1, 2, 0)],
)
@torch.inference_mode()
def test_native_convolutions_equal_their_definition(
    inputs: int, outputs: int, kernel: int, stride: int, padding: int, level: str
) -> None:
    torch.manual_seed(inputs)
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding)
    convolution = integer.convolution_of(layer)
    maps = random_maps(inputs, (2, 9, 7, inputs))
    expected = convolution.apply(maps)
    for result in each_way(integer.native_convolution(convolution, level), maps):
        assert torch.equal(result, expected)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("inputs", [1, 2, 255, 256, 257, 700])
@torch.inference_mode()
def test_the_largest_sums_do_not_overflow(inputs: int, level: str) -> None:
    signs = torch.from_numpy(np.random.default_rng(inputs).choice([-1.0, 1.0], (3, inputs)))
    matrix = IntegerMatrix.of(1e3 * signs.float(), torch.zeros(3))
    rows = 2.0**50 * signs[:1].float()  # all saturate
    convolution = exact.Convolution(matrix)
    result = integer.native_convolution(convolution, level)(rows[:, None, None])[0, 0]
    parts = [
        int(part[0].sum()) for part in torch.split(matrix.weights.abs().to(torch.int64), 256, 1)
    ]
    assert max(parts) << exact.ACTIVATION_BITS < 1 << 31
    total = np.float32(0)
    for part in parts:
        total = total + np.float32(part << exact.ACTIVATION_BITS)
    unit = 2.0 ** (exact.EXPONENT_MAX - exact.ACTIVATION_BITS)
    assert float(result[0, 0]) == float(total) * unit * float(matrix.steps[0])
    assert torch.equal(result[0], exact.product(rows, matrix)[0])


@torch.inference_mode()
def test_exact_functions_are_accurate() -> None:
    x = torch.linspace(-39.0, 39.0, 100_001)
    precise = x.double()
    for result, expected in (
        (exact.exp(2 * x), (2 * precise).exp()),
        (exact.sigmoid(x), precise.sigmoid()),
        (exact.silu(x), precise * precise.sigmoid()),
    ):
        error = (result.double() - expected) / expected.where(expected != 0, 1.0)
        assert float(error.abs().max()) < 4 * torch.finfo(torch.float32).eps
    ends = torch.tensor([-3e38, -41.0, 41.0, 3e38])
    assert exact.silu(ends).tolist() == pytest.approx([0.0, 0.0, 41.0, 3e38], abs=1e-15, rel=1e-6)
    assert exact.sigmoid(ends).tolist() == pytest.approx([0.0, 0.0, 1.0, 1.0], abs=1e-15)


@torch.inference_mode()
def test_products_are_precise() -> None:
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(64, 128, generator=generator)
    rows = torch.randn(500, 128, generator=generator)
    expected = rows.double() @ weights.double().T
    result = exact.product(rows, IntegerMatrix.of(weights, torch.zeros(64)))
    assert float((result - expected).norm() / expected.norm()) < 10 ** (-65 / 20)


def test_what_has_no_exact_version_is_refused() -> None:
    with pytest.raises(TypeError, match="no exact version"):
        integer.make_exact(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)))
    layer = nn.Conv2d(4, 4, 1)
    layer.weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        integer.make_exact(nn.Sequential(layer))


@pytest.fixture(scope="module")
def network() -> ImplicitModel:
    """A small transform codec whose blocks do something."""
    torch.manual_seed(3)
    network = build_model(RT_SMALL)
    assert isinstance(network, ImplicitModel)
    initialise(network)
    for module in network.modules():
        if isinstance(module, DepthConvBlock):
            module.narrow.weight.data.mul_(10)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def checkpoint(network: ImplicitModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("integer") / "model.safetensors"
    save_model(path, "rt-small", network, {})
    return path


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> LoadedModel:
    return load_model(checkpoint, arithmetic=Arithmetic.INTEGER)


def encode(model: LoadedModel) -> list[Packet]:
    schedule = Schedule(scene_cuts=False)
    packets = []
    with Encoder(model, moving_info(), control=FixedQuality(40), schedule=schedule) as encoder:
        for frame in moving_frames(moving_info(), FRAMES):
            packets += encoder.encode(frame)
        return packets + encoder.flush()


def decode(model: LoadedModel, packets: list[Packet]) -> list[Frame]:
    frames = []
    with Decoder(model, header_of(model, moving_info())) as decoder:
        for packet in packets:
            frames += decoder.decode(packet)
        return frames + decoder.flush()


def digest(frames: list[Frame]) -> str:
    return hashlib.sha256(b"".join(p.tobytes() for f in frames for p in f.planes)).hexdigest()


def test_threads_change_neither_packets_nor_frames(model: LoadedModel) -> None:
    packets, frames = [], []
    for threads in THREADS:
        torch.set_num_threads(threads)
        packets.append(encode(model))
        frames.append(digest(decode(model, packets[-1])))
    assert packets[0] == packets[1] == packets[2]
    assert len(set(frames)) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_levels_change_neither_packets_nor_frames(
    model: LoadedModel, network: ImplicitModel, level: str
) -> None:
    converted = copy.deepcopy(network)
    converted.load_state_dict({k: v.half().float() for k, v in network.state_dict().items()})
    integer.make_exact(converted, level)
    packets = encode(model)
    other = replace(model, network=converted)
    assert encode(other) == packets
    assert digest(decode(other, packets)) == digest(decode(model, packets))


def test_a_process_with_other_threads_decodes_the_same_frames(
    model: LoadedModel, checkpoint: Path, tmp_path: Path
) -> None:
    source = moving_clip(tmp_path / "clip.mp4", frames=FRAMES)
    stream, here, there = (str(tmp_path / name) for name in ("s.nvid", "here.yuv", "there.yuv"))
    with open_clip(source) as clip:
        encode_clip(clip, stream, model=model, control=FixedQuality(40))
    decode_stream(stream, here, model=model)
    program = "from neuvid.cli.main import run; run()"
    arguments = ["decode", stream, there, "--model", str(checkpoint), "--threads", "3"]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True)
    assert Path(here).read_bytes() == Path(there).read_bytes()


@torch.inference_mode()
def test_the_conversion_costs_little(network: ImplicitModel) -> None:
    exact_network = copy.deepcopy(network)
    integer.make_exact(exact_network)
    frame = smooth_frame()
    for quality in (0.0, 40.0, 63.0):
        (bits, picture), (exact_bits, exact_picture) = (
            code(each, frame, quality) for each in (network, exact_network)
        )
        assert exact_bits == pytest.approx(bits, rel=0.01)
        assert psnr(exact_picture, frame) == pytest.approx(psnr(picture, frame), abs=0.05)


@torch.inference_mode()
def test_equal_latents_give_nearly_equal_pictures(network: ImplicitModel) -> None:
    exact_network = copy.deepcopy(network)
    integer.make_exact(exact_network)
    for quality in (0.0, 40.0, 63.0):
        position = torch.tensor([quality])
        latent = network.intra.analyse(smooth_frame(), position)
        pictures = (each.intra.synthesise(latent, position) for each in (network, exact_network))
        assert psnr(*pictures) > 60


def smooth_frame() -> Tensor:
    noise = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(4))
    return nn.functional.interpolate(noise, size=(96, 128), mode="bicubic").clamp(0, 1)


def code(network: ImplicitModel, frame: Tensor, quality: float) -> tuple[float, Tensor]:
    """Return the bits of an intra and an inter frame, and the second picture."""
    state, bits = network.initial_state(96, 128), 0.0
    for kind in FrameKind:
        estimator = RateEstimator(noise=False)
        state = network.code_frame(frame, state, FrameChoice(kind, quality), estimator)
        bits += float(estimator.total())
    return bits, network.render(state).clamp(0, 1)


def psnr(picture: Tensor, other: Tensor) -> float:
    return -10 * float((picture - other).square().mean().log10())


def test_arithmetics_do_not_mix(model: LoadedModel, checkpoint: Path) -> None:
    floating = load_model(checkpoint, arithmetic=Arithmetic.FLOAT32)
    packets = encode(floating)
    assert digest(decode(floating, packets)) == digest(decode(floating, packets))
    with pytest.raises(ModelMismatch, match="integer arithmetic"):
        Decoder(floating, header_of(model, moving_info()))


def test_a_checkpoint_with_infinite_weights_is_refused(
    network: ImplicitModel, tmp_path: Path
) -> None:
    broken = copy.deepcopy(network)
    broken.head.weight[0] = torch.inf
    save_model(tmp_path / "broken.safetensors", "rt-small", broken, {})
    with pytest.raises(UnreadableInput, match="finite"):
        load_model(tmp_path / "broken.safetensors", arithmetic=Arithmetic.INTEGER)
