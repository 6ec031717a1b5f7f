"""Converts a network's layers to exact ones, whose results are the same on every machine.

On the CPU they run native kernels, elsewhere the definitions in `exact`. Both give the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from neuvid import _integer
from neuvid.nn import exact
from neuvid.nn.blocks import Bank, DepthConvBlock, StepBank
from neuvid.nn.exact import IntegerMatrix
from neuvid.nn.slimmable import Routes, Slimmable

EXPONENT_MAX = 80.0  # of steps
LEVEL = _integer.levels()[-1]  # the fastest kernels of this processor

Operation = Callable[[Tensor], Tensor]  # float32 [B, H, W, C] -> [B, H', W', C']


class ExactLayer(nn.Module):
    """A layer that runs an operation on channels-last maps."""

    def __init__(self, operation: Operation) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C', H', W'] of [B, C, H, W]."""
        return self.operation(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ExactStepBank(Bank):
    """A step bank with an exact exponential."""

    def __init__(self, bank: StepBank) -> None:
        super().__init__(*bank.vectors.shape)
        self.vectors = bank.vectors

    def forward(self, positions: Tensor) -> Tensor:
        """Return the steps [B, channels, 1, 1] at positions [B] in 0..rows-1."""
        return exact.exp(super().forward(positions).clamp(-EXPONENT_MAX, EXPONENT_MAX))


class ExactSigmoid(nn.Module):
    """An exact sigmoid."""

    def forward(self, x: Tensor) -> Tensor:
        """Return values in 0..1 of the shape of x."""
        return exact.sigmoid(x)


def make_exact(network: nn.Module, level: str = LEVEL) -> None:
    """Replace the layers inside `network`, which is for inference and stays on its device.

    `level` names the native kernels. Raises ValueError for weights that are not finite and
    TypeError for a layer without an exact version.
    """
    for name, child in network.named_children():
        exact_child = _exact(child, level)
        if exact_child is None:
            make_exact(child, level)
        else:
            setattr(network, name, exact_child)


def block_of(layer: DepthConvBlock) -> exact.Block:
    """Return a block with rounded weights."""
    return exact.Block(
        adaptor=None if layer.adaptor is None else _matrix(layer.adaptor),
        expand=_matrix(layer.expand),
        depthwise=layer.depthwise.weight.flatten(1).T.contiguous(),
        depthwise_bias=_bias(layer.depthwise),
        project=_matrix(layer.project),
        widen=_matrix(layer.widen),
        narrow=_matrix(layer.narrow),
        shortcut=layer.shortcut,
    )


def convolution_of(layer: nn.Conv2d) -> exact.Convolution:
    """Return a convolution with rounded weights.

    Raises TypeError for one with groups, with dilation, or that is not the same in both directions.
    """
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
    square = (layer.kernel_size, layer.stride, layer.padding) == (
        (kernel, kernel),
        (stride, stride),
        (padding, padding),
    )
    if not (square and layer.groups == 1 and layer.dilation == (1, 1)):
        raise TypeError(f"{layer} has no exact version")
    return exact.Convolution(_matrix(layer), kernel, stride, int(padding))


def native_block(block: exact.Block, level: str) -> Operation:
    """Return the operation of a block by the native kernels of a level."""
    layer = _integer.Block(
        None if block.adaptor is None else _native(block.adaptor),
        _native(block.expand),
        block.depthwise.numpy(),
        block.depthwise_bias.numpy(),
        _native(block.project),
        _native(block.widen),
        _native(block.narrow),
        block.shortcut,
        level,
    )
    return _operation(layer)


def native_convolution(convolution: exact.Convolution, level: str) -> Operation:
    """Return the operation of a convolution by the native kernels of a level."""
    geometry = (convolution.kernel, convolution.stride, convolution.padding)
    return _operation(_integer.Convolution(_native(convolution.matrix), *geometry, level))


def _operation(layer: _integer.Convolution | _integer.Block) -> Operation:
    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(layer.apply(x.contiguous().numpy(), torch.get_num_threads()))

    return run


def _native(matrix: IntegerMatrix) -> _integer.Matrix:
    return _integer.Matrix(matrix.weights.numpy(), matrix.steps.numpy(), matrix.bias.numpy())


def _matrix(layer: nn.Conv2d) -> IntegerMatrix:
    weights = layer.weight.permute(0, 2, 3, 1).flatten(1)  # [outputs, kernel * kernel * inputs]
    return IntegerMatrix.of(weights, _bias(layer))


def _bias(layer: nn.Conv2d) -> Tensor:
    return torch.zeros(layer.out_channels) if layer.bias is None else layer.bias


def _exact(layer: nn.Module, level: str) -> nn.Module | None:
    """Return the exact version of a layer, None for one that has none of its own."""
    match layer:
        case DepthConvBlock():
            block = block_of(layer)
            on_cpu = block.depthwise.device.type == "cpu"
            return ExactLayer(native_block(block, level) if on_cpu else block.apply)
        case nn.Conv2d():
            convolution = convolution_of(layer)
            on_cpu = convolution.matrix.bias.device.type == "cpu"
            native = native_convolution(convolution, level) if on_cpu else None
            return ExactLayer(native or convolution.apply)
        case Slimmable():
            routes = Routes(layer)  # weights are rounded for each of them
            make_exact(routes, level)
            return routes
        case StepBank():
            return ExactStepBank(layer)
        case nn.Sigmoid():
            return ExactSigmoid()
    return None
