"""Native layers for training, against autograd of the plain ones."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuvid import _fused
from neuvid.entropy import noise
from neuvid.entropy.distributions import Bernoulli, Laplace
from neuvid.kernels import LEVELS
from neuvid.models.presets import build_model, preset
from neuvid.nn.blocks import DepthConvBlock, SignalConv, SignalPointwise
from neuvid.nn.fused import FusedBlock, FusedConvolution, fuse
from neuvid.training.initialisation import initialise

# Relative errors, in the root mean square: of sums of bfloat16 factors, of sums of float32 ones,
# and of those that two bfloat16 factors each stand for.
BLOCK_TOLERANCE = {"avx2": 1e-5, "avx512": 1e-5, "amx": 1e-2}
SIGNAL_TOLERANCE = {"avx2": 1e-5, "avx512": 1e-5, "amx": 2e-5}
WEIGHT_TOLERANCE = BLOCK_TOLERANCE


@pytest.fixture(params=["avx2", "avx512", "amx"])
def level(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name not in _fused.levels():
        pytest.skip(f"this processor has no level {name}")
    return name


def error(value: Tensor | None, expected: Tensor | None) -> float:
    assert value is not None and expected is not None
    assert value.shape == expected.shape
    return ((value - expected).norm() / expected.norm()).detach().item()  # type: ignore[no-any-return]


def passes(
    layer: nn.Module, x: Tensor, outer: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output, the gradient that came to it, and the input with its gradient."""
    x = x.clone().requires_grad_()
    y = layer(x)
    outer = torch.randn_like(y) if outer is None else outer
    torch.autograd.backward(y, outer)
    return y, outer, x


@pytest.mark.parametrize(
    ("inputs", "outputs", "size", "shortcut", "force_adaptor"),
    [
        (128, 128, (2, 16, 16), False, False),
        (76, 64, (2, 5, 7), True, False),
        (48, 48, (3, 1, 1), True, False),
        (20, 20, (1, 33, 17), False, True),
        (6, 40, (1, 1, 300), False, False),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_have_the_values_and_gradients_of_plain_ones(
    inputs: int,
    outputs: int,
    size: tuple[int, int, int],
    shortcut: bool,
    force_adaptor: bool,
    threads: int,
    level: str,
) -> None:
    torch.manual_seed(0)
    plain = DepthConvBlock(inputs, outputs, shortcut=shortcut, force_adaptor=force_adaptor)
    fused = FusedBlock(copy.deepcopy(plain), level)
    x = torch.randn(size[0], inputs, *size[1:])
    y, outer, x_plain = passes(plain, x)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        z, _, x_fused = passes(fused, x, outer)
    finally:
        torch.set_num_threads(before)
    tolerance = BLOCK_TOLERANCE[level]
    assert error(z, y) < tolerance
    assert error(x_fused.grad, x_plain.grad) < tolerance
    for (name, expected), (same_name, weight) in zip(
        plain.named_parameters(), fused.named_parameters(), strict=True
    ):
        assert name == same_name
        assert error(weight.grad, expected.grad) < tolerance, name


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (lambda: SignalConv(128, 64, 3, stride=2, padding=1), (2, 128, 9, 13)),
        (lambda: SignalConv(20, 66, 2, stride=2), (2, 20, 8, 6)),
        (lambda: SignalConv(16, 24, 3, padding=1), (1, 16, 1, 1)),
        (lambda: SignalPointwise(97, 192), (3, 97, 15, 17)),
    ],
)
def test_convolutions_are_as_exact_as_float32(
    layer: type[SignalConv], size: tuple[int, ...], level: str
) -> None:
    torch.manual_seed(0)
    plain = layer()  # type: ignore[call-arg]
    fused = FusedConvolution(copy.deepcopy(plain), level)
    x = torch.randn(size)
    y, outer, x_plain = passes(plain, x)
    z, _, x_fused = passes(fused, x, outer)
    assert error(z, y) < SIGNAL_TOLERANCE[level]
    assert error(x_fused.grad, x_plain.grad) < SIGNAL_TOLERANCE[level]
    assert error(fused.weight.grad, plain.weight.grad) < WEIGHT_TOLERANCE[level]
    assert error(fused.bias.grad, plain.bias.grad) < SIGNAL_TOLERANCE[level]  # type: ignore[union-attr]


@pytest.mark.parametrize("skips", [True, False])
def test_laplace_laws_cost_what_they_are_defined_to(
    skips: bool, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    sizes = torch.tensor([0.0, 0.3, 1.0, 5.0, 30.0, 40000.0]).view(6, 1, 1)
    values, scales = sizes * torch.randn(2, 6, 7, 5), 0.055 + 3 * torch.rand(2, 6, 7, 5)
    values[0, 0, 0, :3] = torch.tensor([0.5, -0.5, 1.5])
    outer, weights = torch.randn_like(values), torch.tensor([1.0, 2.0])
    results = []
    for levels in ([], [level]):
        monkeypatch.setattr(noise, "LEVELS", levels)
        x, scale = (tensor.clone().requires_grad_() for tensor in (values, scales))
        torch.manual_seed(1)
        coded, bits = noise.code_with_noise(x, Laplace(scale, skips=skips))
        torch.autograd.backward((coded * outer).sum() + (bits * weights).sum())
        results.append((coded, bits, x.grad, scale.grad))
    (expected, *exact), (coded, *others) = results
    assert torch.equal(coded, expected)
    for value, other in zip(others, exact, strict=True):
        assert error(value, other) < 1e-5


@pytest.mark.skipif(not LEVELS, reason="this processor has no native layers")
def test_flags_cost_what_they_are_defined_to(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits, asked = 6 * torch.randn(2, 1, 9, 7), torch.rand(2, 1, 9, 7) < 0.6
    flags = (asked & (torch.rand(2, 1, 9, 7) < 0.5)).float()
    results = []
    for levels in ([], LEVELS):
        monkeypatch.setattr(noise, "LEVELS", levels)
        given = logits.clone().requires_grad_()
        coded, bits = noise.code_with_noise(flags, Bernoulli(given, asked))
        torch.autograd.backward((bits * torch.tensor([1.0, 2.0])).sum())
        assert torch.equal(coded, flags)
        results.append((bits, given.grad))
    for value, expected in zip(*results, strict=True):
        assert error(value, expected) < 1e-5


@pytest.mark.parametrize("name", ["rt-small", "fm-small", "dynamic-small"])
def test_a_fused_model_has_the_weights_of_the_plain_one(name: str) -> None:
    model = build_model(preset(name))
    fused = copy.deepcopy(model)
    fuse(fused)
    assert list(fused.state_dict()) == list(model.state_dict())
    layers = [layer for layer in fused.modules() if isinstance(layer, DepthConvBlock)]
    assert bool(layers) is not bool(LEVELS)
    again = copy.deepcopy(fused)
    again.load_state_dict(model.state_dict())
    for own, other in zip(again.parameters(), fused.parameters(), strict=True):
        assert own is not other and torch.equal(own, other)


@pytest.mark.parametrize("in_one_kernel", [False, True])
def test_changed_weights_are_seen(in_one_kernel: bool, level: str) -> None:
    torch.manual_seed(0)
    plain = DepthConvBlock(32, 32)
    fused = FusedBlock(copy.deepcopy(plain), level)
    optimiser = torch.optim.AdamW(fused.parameters(), lr=0.1, fused=in_one_kernel)
    x = torch.randn(1, 32, 4, 4)
    torch.autograd.backward(fused(x).square().sum())
    optimiser.step()
    plain.load_state_dict(fused.state_dict())
    assert error(fused(x), plain(x)) < BLOCK_TOLERANCE[level]
    with torch.no_grad():
        for layer in (plain, fused):
            layer.narrow.weight.mul_(2)
    assert error(fused(x), plain(x)) < BLOCK_TOLERANCE[level]


def test_a_chain_learns_the_same_natively() -> None:
    model = build_model(preset("rt-small"))
    initialise(model)
    fused = copy.deepcopy(model)
    fuse(fused)
    frame = torch.rand(1, 3, 64, 48)
    positions = torch.tensor([20.0])
    gradients = []
    for each in (model, fused):
        y = each.intra.analyse(frame, positions)
        torch.autograd.backward(each.intra.synthesise(y, positions).square().mean())
        gradients.append([p.grad for p in each.intra.parameters() if p.grad is not None])
    for expected, gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)


def test_native_layers_refuse_other_shapes(level: str) -> None:
    shapes: list[tuple[int, ...]] = [(16, 16), (16,), (16, 9), (16,), (16, 16), (16,), (64, 16)]
    shapes += [(64,), (16, 32), (16,)]
    weights = [np.zeros(shape, np.float32) for shape in shapes]
    with pytest.raises(ValueError, match="10 or 12"):
        _fused.Block(weights[:-1], False, level)
    with pytest.raises(ValueError, match="belong together"):
        _fused.Block([*weights[:-1], np.zeros(17, np.float32)], False, level)
    with pytest.raises(ValueError, match="no level"):
        _fused.Block(weights, False, "abacus")
    block = _fused.Block(weights, False, level)
    rows = np.zeros((1, 2, 3, 16), np.float32)
    with pytest.raises(ValueError, match="other sizes"):
        block.forward(rows, np.zeros((1, 2, 2, 16), np.float32), None, 1)
    with pytest.raises(ValueError, match="other channels"):
        block.forward(np.zeros((1, 2, 3, 15), np.float32), rows, None, 1)
    with pytest.raises(ValueError, match="too little room"):
        block.forward(rows, rows.copy(), np.zeros(3, np.uint8), 1)


@pytest.mark.parametrize(("most", "expected"), [("none", "[]"), ("avx2", "['avx2']")])
def test_kernels_can_be_held_back(most: str, expected: str) -> None:
    if most not in ("none", *_fused.levels()):
        pytest.skip(f"this processor has no level {most}")
    assert levels_with(most) == expected


def test_kernels_that_do_not_exist_are_named() -> None:
    assert "NEUVID_TRAINING_KERNELS" in levels_with("abacus")
    assert "none, avx2, avx512, amx" in levels_with("abacus")


def levels_with(most: str) -> str:
    code = """
from neuvid.errors import InvalidSetting
try:
    from neuvid.kernels import LEVELS
    print(LEVELS)
except InvalidSetting as error:
    print(error)
"""
    environment = os.environ | {"NEUVID_TRAINING_KERNELS": most}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, capture_output=True, check=True)
    return run.stdout.decode().strip()
