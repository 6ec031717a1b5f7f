"""Layers whose forward and backward passes are computed natively, for training on a CPU.

A chunk of pixels goes through all layers of a block while it is in the cache, and most of what
backward needs is computed again instead of stored. Under autocast, where the processor has tiles
for it (AMX), factors of products are bfloat16, in layers of the signal two for each factor, which
is as exact as float32. Everything else is float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from neuvid import _fused
from neuvid.kernels import BFLOAT16_LEVEL, LEVELS
from neuvid.nn.blocks import DepthConvBlock, SignalConv, SignalPointwise
from neuvid.nn.slimmable import Slimmable

FLOAT_LEVELS = [level for level in LEVELS if level != BFLOAT16_LEVEL]

Native = TypeVar("Native")


class _Updates:
    """Counts the steps of all optimisers: some change weights without a new version of them."""

    def __init__(self) -> None:
        self.count = 0
        register_optimizer_step_post_hook(self._add)

    def _add(self, *_: object) -> None:
        self.count += 1


_UPDATES = _Updates()


def _level() -> str:
    if torch.is_autocast_enabled("cpu") and BFLOAT16_LEVEL in LEVELS:
        return BFLOAT16_LEVEL
    return FLOAT_LEVELS[-1]


class _Packed(Generic[Native]):
    """A native layer, made anew when its weights have changed."""

    def __init__(self, make: Callable[[list[Tensor], str], Native], level: str | None) -> None:
        self.make = make
        self.level = level
        self.native: Native | None = None
        self.tensors: tuple[Tensor, ...] = ()
        self.state: list[object] = []

    def layer(self, *tensors: Tensor) -> Native:
        """Return the layer with the weights as they are now."""
        level = self.level or _level()
        state = [level, _UPDATES.count, *(tensor._version for tensor in tensors)]
        same = self.state == state and all(
            own is other for own, other in zip(self.tensors, tensors, strict=True)
        )
        if self.native is None or not same:
            self.native = self.make([tensor.detach() for tensor in tensors], level)
            self.tensors, self.state = tensors, state
        return self.native

    def __deepcopy__(self, memo: dict[int, Any]) -> _Packed[Native]:
        return _Packed(self.make, self.level)


def _rows(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).contiguous()


class _BlockFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, block: _fused.Block, x: Tensor, *weights: Tensor) -> Tensor:
        rows = _rows(x)
        output = rows.new_empty(*rows.shape[:3], len(weights[-1]))
        saved = None
        if any(ctx.needs_input_grad):
            saved = torch.empty(block.saved_bytes(*rows.shape[:3]), dtype=torch.uint8)
            ctx.block, ctx.shapes = block, [weight.shape for weight in weights]
            ctx.save_for_backward(rows, saved)
        kept = None if saved is None else saved.numpy()
        block.forward(rows.numpy(), output.numpy(), kept, torch.get_num_threads())
        return output.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, saved = ctx.saved_tensors
        of_input = torch.empty_like(rows)
        sizes = [shape.numel() for shape in ctx.shapes]
        of_weights = rows.new_empty(sum(sizes))
        tensors = (rows, saved, _rows(gradients[0]), of_input, of_weights)
        ctx.block.backward(*(tensor.numpy() for tensor in tensors), torch.get_num_threads())
        parts = zip(of_weights.split(sizes), ctx.shapes, strict=True)
        return None, of_input.permute(0, 3, 1, 2), *(part.view(shape) for part, shape in parts)


class _ConvolutionFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, layer: _fused.Convolution, x: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        rows = _rows(x)
        batch, height, width, _ = rows.shape
        output = rows.new_empty(batch, *layer.output_size(height, width), len(bias))
        layer.forward(rows.numpy(), output.numpy(), torch.get_num_threads())
        ctx.layer, ctx.shape = layer, weight.permute(0, 2, 3, 1).shape
        ctx.save_for_backward(rows)
        return output.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (rows,) = ctx.saved_tensors
        of_input = torch.empty_like(rows)
        size = ctx.shape.numel()
        of_weights = rows.new_empty(size + ctx.shape[0])
        tensors = (rows, _rows(gradients[0]), of_input, of_weights)
        ctx.layer.backward(*(tensor.numpy() for tensor in tensors), torch.get_num_threads())
        of_weight = of_weights[:size].view(ctx.shape).permute(0, 3, 1, 2)
        return None, of_input.permute(0, 3, 1, 2), of_weight, of_weights[size:]


class FusedBlock(nn.Module):
    """A DepthConvBlock with the same weights under the same names, computed natively.

    `level` names the kernels; None leaves the choice to autocast and the processor.
    """

    def __init__(self, block: DepthConvBlock, level: str | None = None) -> None:
        super().__init__()
        self.adaptor = block.adaptor
        self.expand = block.expand
        self.depthwise = block.depthwise
        self.project = block.project
        self.widen = block.widen
        self.narrow = block.narrow
        shortcut = block.shortcut

        def make(weights: list[Tensor], level: str) -> _fused.Block:
            return _fused.Block([each.contiguous().numpy() for each in weights], shortcut, level)

        self._packed = _Packed(make, level)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H, W]."""
        layers = (self.adaptor, self.expand, self.depthwise, self.project, self.widen, self.narrow)
        pairs = ((layer.weight, layer.bias) for layer in layers if layer)
        weights = [tensor for pair in pairs for tensor in pair if tensor is not None]
        block = self._packed.layer(*weights)
        output: Tensor = _BlockFunction.apply(block, x.float(), *weights)  # type: ignore[no-untyped-call]
        return output


class FusedConvolution(nn.Module):
    """A convolution of the signal with the same weights under the same names, by native code.

    `level` names the kernels; None leaves the choice to autocast and the processor.
    """

    def __init__(self, layer: SignalConv | SignalPointwise, level: str | None = None) -> None:
        super().__init__()
        if layer.bias is None:
            raise TypeError(f"{layer} has no native version")
        self.weight = layer.weight
        self.bias = layer.bias
        stride, padding = layer.stride[0], int(layer.padding[0])

        def make(weights: list[Tensor], level: str) -> _fused.Convolution:
            weight, bias = weights
            rows = weight.permute(0, 2, 3, 1).contiguous()
            return _fused.Convolution(rows.numpy(), bias.numpy(), stride, padding, level)

        self._packed = _Packed(make, level)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H / stride, W / stride]."""
        layer = self._packed.layer(self.weight, self.bias)
        output: Tensor = _ConvolutionFunction.apply(layer, x.float(), self.weight, self.bias)  # type: ignore[no-untyped-call]
        return output


def fuse(network: nn.Module) -> None:
    """Replace layers inside `network`, which is trained on this CPU, where there are native ones.

    Names of weights, and the weights themselves, stay.
    """
    if not FLOAT_LEVELS:
        return
    if isinstance(network, Slimmable):
        for route in range(network.routes):
            fuse(network.network(route))
    for name, child in network.named_children():
        match child:
            case DepthConvBlock():
                setattr(network, name, FusedBlock(child))
            case SignalConv() | SignalPointwise():
                setattr(network, name, FusedConvolution(child))
            case _:
                fuse(child)
