"""Integer arithmetic on a GPU gives what it gives on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from neuvid.nn import integer
from neuvid.nn.blocks import DepthConvBlock, StepBank

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@torch.inference_mode()
def test_layers_equal_those_of_the_cpu() -> None:
    torch.manual_seed(1)
    layers = nn.Sequential(
        nn.Conv2d(300, 64, 3, 2, 1), DepthConvBlock(64, 72, shortcut=True), nn.Sigmoid()
    )
    on_gpu = copy.deepcopy(layers).cuda()
    maps = 10 * torch.randn(2, 300, 21, 34)
    integer.make_exact(layers)
    integer.make_exact(on_gpu)
    assert torch.equal(on_gpu(maps.cuda()).cpu(), layers(maps))


@torch.inference_mode()
def test_steps_equal_those_of_the_cpu() -> None:
    bank = StepBank(8, 50)
    bank.vectors.data.normal_(0, 3, generator=torch.Generator().manual_seed(1))
    banks = nn.Sequential(bank)
    on_gpu = copy.deepcopy(banks).cuda()
    positions = torch.arange(0, 7, 0.25)
    integer.make_exact(banks)
    integer.make_exact(on_gpu)
    assert torch.equal(on_gpu(positions.cuda()).cpu(), banks(positions))
