"""Laws of slimmable networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neuvid.nn.blocks import DepthConvBlock, Shuffle, SignalConv
from neuvid.nn.integer import make_exact
from neuvid.nn.slimmable import Slimmable

INPUTS, OUTPUTS, WIDTHS = 8, 4, (6, 10, 12)
ROUTES = range(len(WIDTHS))


class Merging(nn.Module):
    """Fixed to variable width, fixed and variable side by side, and back to fixed width."""

    def __init__(self, route: int) -> None:
        super().__init__()
        width = WIDTHS[route]
        self.down = SignalConv(INPUTS, width, 3, stride=2, padding=1)
        self.block = DepthConvBlock(width, width)
        self.merge = DepthConvBlock(OUTPUTS + width, width)
        self.up = Shuffle(width, OUTPUTS)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        merged = torch.cat((context, self.block(self.down(x))), 1)
        result: Tensor = self.up(self.merge(merged))
        return result


@pytest.fixture
def network() -> Slimmable:
    torch.manual_seed(1)
    return Slimmable(Merging, len(WIDTHS))


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, INPUTS, 8, 6, generator=generator)
    return x, torch.randn(2, OUTPUTS, 4, 3, generator=generator)


def used(network: Slimmable, route: int) -> dict[str, Tensor]:
    """Return which weights of the widest network have a gradient on a route."""
    network.zero_grad()
    torch.autograd.backward(network(route, *inputs()).square().sum())
    return {
        name: torch.zeros_like(weight) != 0 if weight.grad is None else weight.grad != 0
        for name, weight in network.named_parameters()
    }


def test_weights_of_a_route_contain_those_of_narrower_ones(network: Slimmable) -> None:
    narrow, middle, wide = (used(network, route) for route in ROUTES)
    for name, weights in narrow.items():
        assert (middle[name] | ~weights).all() and (wide[name] | ~middle[name]).all()
        assert wide[name].all()
        if "up" not in name or "weight" in name:
            assert weights.sum() < middle[name].sum() < wide[name].sum()


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_never_depends_on_other_weights(network: Slimmable, route: int) -> None:
    inside = used(network, route)
    before = network(route, *inputs())
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight[~inside[name]] = torch.nan
    assert torch.equal(network(route, *inputs()), before)


@pytest.mark.parametrize("route", ROUTES)
@torch.inference_mode()
def test_a_route_is_its_own_network(network: Slimmable, route: int) -> None:
    own = network.at(route)
    assert torch.allclose(own(*inputs()), network(route, *inputs()), atol=1e-6)
    assert sum(weight.numel() for weight in own.parameters()) == sum(
        weight.numel() for weight in Merging(route).parameters()
    )


@pytest.mark.parametrize("route", ROUTES)
@torch.inference_mode()
def test_routes_are_exact_networks_of_their_own(network: Slimmable, route: int) -> None:
    """Their weights are rounded as if there were no others."""
    both = nn.ModuleList([network, network.at(route)])
    make_exact(both)
    assert torch.equal(both[0](route, *inputs()), both[1](*inputs()))
    assert torch.allclose(both[0](route, *inputs()), network(route, *inputs()), atol=1e-2)


@pytest.mark.parametrize("widths", [(8, 4), (4, 8)])
def test_networks_that_differ_otherwise_are_refused(widths: tuple[int, int]) -> None:
    """The second has a shrinking width, or a layer that only some routes need."""
    with pytest.raises(ValueError, match="widths alone"):
        Slimmable(lambda route: DepthConvBlock(INPUTS, widths[route]), 2)
