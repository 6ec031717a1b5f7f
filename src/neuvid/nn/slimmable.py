"""Networks of several widths in one set of weights.

A route is the number of a width, 0 the narrowest. A layer whose inputs have the same width on all
routes goes from fixed to variable width; others go from variable to variable width, or back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call

HALVED = "widen"  # name of the layers whose outputs are two halves, which go to different places


class Slimmable(nn.Module):
    """A network for each route, all of them in the weights of the widest.

    `make(route)` makes the network of a route, 0..routes-1; networks differ in widths alone. Each
    layer takes the first inputs and outputs of the widest one's, so that the weights of a route
    contain those of the routes before it. Where maps are concatenated, fixed widths come first.

    Raises ValueError when some network has another layer, or a wider one.
    """

    def __init__(self, make: Callable[[int], nn.Module], routes: int) -> None:
        super().__init__()
        self.widest = make(routes - 1)
        with torch.device("meta"):
            self._networks = tuple(make(route) for route in range(routes))  # without weights
        if not all(_is_part(*neighbours) for neighbours in pairwise(self._networks)):
            raise ValueError("networks of routes must differ in widths alone, and grow")

    @property
    def routes(self) -> int:
        """How many routes there are."""
        return len(self._networks)

    def forward(self, route: int, *inputs: Tensor) -> Tensor:
        """Return what the network of a route makes of its inputs."""
        output: Tensor = functional_call(self._networks[route], self.weights(route), inputs)
        return output

    def network(self, route: int) -> nn.Module:
        """Return the network of a route without its weights."""
        return self._networks[route]

    def weights(self, route: int) -> dict[str, Tensor]:
        """Return the weights of a route by name; gradients pass to the widest one's."""
        widest = dict(self.widest.named_parameters())
        return {
            name: _part(widest[name], parameter.shape, halved=HALVED in name.split("."))
            for name, parameter in self._networks[route].named_parameters()
        }

    def at(self, route: int) -> nn.Module:
        """Return the network of a route with weights of its own."""
        device = next(self.widest.parameters()).device
        network = copy.deepcopy(self._networks[route]).to_empty(device=device)
        network.load_state_dict(self.weights(route))
        return network.requires_grad_(False)


class Routes(nn.Module):
    """The networks of a slimmable one, each with weights of its own; for inference."""

    def __init__(self, layer: Slimmable) -> None:
        super().__init__()
        self.networks = nn.ModuleList(layer.at(route) for route in range(layer.routes))

    def forward(self, route: int, *inputs: Tensor) -> Tensor:
        """Return what the network of a route makes of its inputs."""
        output: Tensor = self.networks[route](*inputs)
        return output


def _is_part(network: nn.Module, wider: nn.Module) -> bool:
    """Return whether a network has the layers of another one, none of them wider."""
    shapes, wider_shapes = (
        {name: weight.shape for name, weight in each.named_parameters()}
        for each in (network, wider)
    )
    return shapes.keys() == wider_shapes.keys() and all(
        size <= larger
        for name, shape in shapes.items()
        for size, larger in zip(shape, wider_shapes[name], strict=True)
    )


def _part(parameter: Tensor, shape: torch.Size, *, halved: bool) -> Tensor:
    """Return the first `shape` of a parameter, or of either half of its outputs."""
    if parameter.shape == shape:
        return parameter
    if halved:
        half = torch.Size((shape[0] // 2, *shape[1:]))
        return torch.cat([_part(part, half, halved=False) for part in parameter.chunk(2)])
    return parameter[tuple(slice(size) for size in shape)]
